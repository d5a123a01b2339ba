/** How long spans worked themselves: their duration minus the time that their children covered. */
import type { KeptSpan } from "../../contract/window.ts";
import { coveredTime, type Stretch } from "../../graph/covered-time.ts";

/**
 * Own time in ns of each span whose children are known, that is of traces kept whole: those sampled by trace id, of which at least one
 * span says so. Keyed by `traceId/spanId`.
 */
export function ownTimes(spans: readonly KeptSpan[]): Map<string, number> {
  const whole = new Set(spans.filter((span) => span.keptBecause === "sampled").map((span) => span.traceId));
  const children = new Map<string, KeptSpan[]>();
  for (const span of spans) {
    if (span.parentSpanId === null || !whole.has(span.traceId)) continue;
    const parent = `${span.traceId}/${span.parentSpanId}`;
    const list = children.get(parent);
    if (list === undefined) children.set(parent, [span]);
    else list.push(span);
  }
  const own = new Map<string, number>();
  for (const span of spans) {
    if (!whole.has(span.traceId)) continue;
    const id = `${span.traceId}/${span.spanId}`;
    const calls = (children.get(id) ?? []).map((child) => stretchOf(child, span));
    own.set(id, span.durationNs - coveredTime(stretchOf(span, span), calls));
  }
  return own;
}

/** When a span was, in ns after the start of another. */
function stretchOf(span: KeptSpan, after: KeptSpan): Stretch {
  const from = (span.startAtUs - after.startAtUs) * 1_000;
  return { from, to: from + span.durationNs };
}

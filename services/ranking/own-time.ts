/** How long spans worked themselves: their duration minus the time that their children covered. */
import type { KeptSpan } from "../../contract/window.ts";

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
    own.set(id, span.durationNs - coveredNs(span, children.get(id) ?? []));
  }
  return own;
}

/** Length of the union of the children's times within the parent's. */
function coveredNs(parent: KeptSpan, children: readonly KeptSpan[]): number {
  const endNs = parent.durationNs;
  const stretches = children
    .map((child) => {
      const fromNs = (child.startAtUs - parent.startAtUs) * 1_000;
      return { fromNs: Math.max(0, fromNs), toNs: Math.min(endNs, fromNs + child.durationNs) };
    })
    .filter(({ fromNs, toNs }) => toNs > fromNs)
    .sort((left, right) => left.fromNs - right.fromNs);
  let covered = 0;
  let reachedNs = 0;
  for (const { fromNs, toNs } of stretches) {
    covered += Math.max(0, toNs - Math.max(fromNs, reachedNs));
    reachedNs = Math.max(reachedNs, toNs);
  }
  return covered;
}

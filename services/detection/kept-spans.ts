/**
 * Which spans of a window stay. Ingest keeps the slowest of each flush; only the slowest of the whole window count, so that the choice does
 * not depend on how batches fell into flushes.
 */
import { compareCodeUnits, hash32 } from "../../contract/canonical.ts";
import type { KeptSpan } from "../../contract/window.ts";

/** How ingest chooses; both must be given the same. */
export interface SpanChoice {
  /** Slowest spans per entity, kind and operation. */
  readonly slowestPerOperation: number;
  /** A healthy trace in so many is sampled, by the hash of its id. */
  readonly spanSampleOneIn: number;
}

/** As `ingest` has it unless told. */
export const spanChoiceDefault: SpanChoice = { slowestPerOperation: 3, spanSampleOneIn: 4 };

/** Failed and sampled spans, and the slowest; sorted by start, trace id, span id. */
export function chosenSpans(spans: readonly KeptSpan[], choice: SpanChoice): KeptSpan[] {
  const slowest = new Set<KeptSpan>();
  const counts = new Map<string, number>();
  for (const span of [...spans].sort(compareSlowness)) {
    // What the kernel saw takes no place from what the program told of the same requests.
    const key = `${span.entity}\u0000${span.kind}\u0000${span.operation}\u0000${span.source ?? ""}`;
    const count = counts.get(key) ?? 0;
    if (count >= choice.slowestPerOperation) continue;
    counts.set(key, count + 1);
    slowest.add(span);
  }
  const chosen = spans.flatMap((span): KeptSpan[] => {
    if (span.failed) return [span];
    if (slowest.has(span)) return [{ ...span, keptBecause: "slow" }];
    return hash32(span.traceId) % choice.spanSampleOneIn === 0 ? [{ ...span, keptBecause: "sampled" }] : [];
  });
  return chosen.sort((left, right) => left.startAtUs - right.startAtUs || compareIds(left, right));
}

function compareSlowness(left: KeptSpan, right: KeptSpan): number {
  return right.durationNs - left.durationNs || compareIds(left, right);
}

function compareIds(left: KeptSpan, right: KeptSpan): number {
  return compareCodeUnits(left.traceId, right.traceId) || compareCodeUnits(left.spanId, right.spanId);
}

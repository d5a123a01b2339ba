/** The same incident seen through worse eyes: what other installations lack or get wrong. */
import type { EvidenceSnapshot, SpanStatistics } from "../../contract/evidence.ts";

const views = ["full", "no-own-time", "sampled", "no-callees", "metrics-only", "late", "no-gauges"] as const;
export type View = (typeof views)[number];

/** A snapshot without what the view lacks. */
export function seenThrough(snapshot: EvidenceSnapshot, view: View): EvidenceSnapshot {
  switch (view) {
    case "full":
      return snapshot;
    case "no-own-time":
      return {
        ...snapshot,
        operations: snapshot.operations.map((operation) => ({
          ...operation,
          normal: { ...operation.normal, selfP50Ns: null, selfP95Ns: null },
          abnormal: { ...operation.abnormal, selfP50Ns: null, selfP95Ns: null },
        })),
      };
    case "sampled":
      return {
        ...snapshot,
        operations: snapshot.operations.map((operation) => ({
          ...operation,
          normal: sampled(operation.normal),
          abnormal: sampled(operation.abnormal),
        })),
      };
    case "no-callees":
      return { ...snapshot, operations: snapshot.operations.map((operation) => ({ ...operation, callee: null })) };
    case "metrics-only":
      return { ...snapshot, operations: [], templates: [], invocations: [] };
    case "late": {
      const lateMs = Math.floor((snapshot.fault.toMs - snapshot.fault.fromMs) / 2);
      return {
        ...snapshot,
        fault: { ...snapshot.fault, fromMs: snapshot.fault.fromMs + lateMs },
        normal: { ...snapshot.normal, toMs: snapshot.normal.toMs + lateMs },
      };
    }
    case "no-gauges":
      return { ...snapshot, series: snapshot.series.filter((series) => series.scope !== "internal" || series.kind === "log") };
  }
}

/** Own times are known of one trace in four, and of too few they are not told. */
function sampled(statistics: SpanStatistics): SpanStatistics {
  return statistics.count >= 20 ? statistics : { ...statistics, selfP50Ns: null, selfP95Ns: null };
}

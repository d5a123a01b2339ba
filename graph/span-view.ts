/** Span statistics added up per entity and per dependency: the ground of what began where. */
import type { EvidenceSnapshot, SnapshotOperation, SpanStatistics } from "../contract/evidence.ts";
import type { Edge, Neighbourhood } from "./neighbourhood.ts";
import { sumSorted } from "./robust-statistics.ts";

/** Calls from one entity to another, or to something that sends no spans itself. */
export interface EdgeView {
  readonly edge: Edge;
  readonly operations: readonly SnapshotOperation[];
}

export interface EntityView {
  readonly server: readonly SnapshotOperation[];
  readonly internal: readonly SnapshotOperation[];
  /** Client operations whose callee is not known. */
  readonly unresolved: readonly SnapshotOperation[];
}

export interface SpanView {
  readonly normalSeconds: number;
  readonly faultSeconds: number;
  readonly entities: ReadonlyMap<string, EntityView>;
  /** By edge id. */
  readonly edges: ReadonlyMap<string, EdgeView>;
  /** Dependencies that arrive at an entity and carry client spans. */
  arriving(entity: string): readonly EdgeView[];
  /** Dependencies that leave an entity and carry client spans. */
  leaving(entity: string): readonly EdgeView[];
}

/** Groups a snapshot's operations by folded entity and dependency. */
export function spanViewOf(snapshot: EvidenceSnapshot, neighbourhood: Neighbourhood): SpanView {
  const entities = new Map<string, { server: SnapshotOperation[]; internal: SnapshotOperation[]; unresolved: SnapshotOperation[] }>();
  const edges = new Map<string, { edge: Edge; operations: SnapshotOperation[] }>();
  for (const operation of snapshot.operations) {
    const entity = neighbourhood.fold(operation.entity);
    const view = entities.get(entity) ?? { server: [], internal: [], unresolved: [] };
    entities.set(entity, view);
    if (operation.side !== "client") {
      view[operation.side].push(operation);
      continue;
    }
    const edge = operation.callee === null ? null : neighbourhood.edgeBetween(entity, neighbourhood.fold(operation.callee));
    if (edge === null) {
      view.unresolved.push(operation);
      continue;
    }
    const edgeView = edges.get(edge.id);
    if (edgeView === undefined) edges.set(edge.id, { edge, operations: [operation] });
    else edgeView.operations.push(operation);
  }
  const arriving = grouped([...edges.values()], (view) => view.edge.target);
  const leaving = grouped([...edges.values()], (view) => view.edge.source);
  return {
    normalSeconds: Math.max(snapshot.normal.toMs - snapshot.normal.fromMs, 1) / 1_000,
    faultSeconds: Math.max(snapshot.fault.toMs - snapshot.fault.fromMs, 1) / 1_000,
    entities,
    edges,
    arriving: (entity) => arriving.get(entity) ?? [],
    leaving: (entity) => leaving.get(entity) ?? [],
  };
}

function grouped(views: readonly EdgeView[], key: (view: EdgeView) => string): Map<string, EdgeView[]> {
  const lists = new Map<string, EdgeView[]>();
  for (const view of views) {
    const list = lists.get(key(view));
    if (list === undefined) lists.set(key(view), [view]);
    else list.push(view);
  }
  return lists;
}

export type IntervalName = "normal" | "abnormal";

/** Spans, failed spans or spans that failed at origin of several operations together. */
export function totalOf(
  operations: readonly SnapshotOperation[],
  interval: IntervalName,
  what: "count" | "failed" | "failedAtOrigin",
): number {
  return sumSorted(operations.map((operation) => operation[interval][what]));
}

/**
 * A mean estimated from two quantiles, in ns: with a third of its weight on p95 it also moves when only some requests
 * are slow.
 */
export function typicalNs(p50Ns: number, p95Ns: number): number {
  return (2 * p50Ns + p95Ns) / 3;
}

/** Typical duration over several operations, weighted by how often each ran; null when none ran. */
export function typicalOf(operations: readonly SnapshotOperation[], interval: IntervalName): number | null {
  const count = totalOf(operations, interval, "count");
  if (count === 0) return null;
  return (
    sumSorted(operations.map((operation) => operation[interval].count * typicalNs(operation[interval].p50Ns, operation[interval].p95Ns))) /
    count
  );
}

/** Quantile estimates from few spans stray by about this many spreads over the square root of their number. */
const strayFactor = 3;
/** Durations move by this share without meaning. */
const relativeSlack = 0.15;
/** And by this much, in ns: timers and schedulers are no finer. */
const absoluteSlackNs = 1_000_000;

/** How much longer than normal, beyond what chance and a busy machine would do; ns, at least 0. */
export function excessNs(
  before: { p50Ns: number; p95Ns: number; count: number },
  after: { p50Ns: number; p95Ns: number; count: number },
): number {
  if (before.count === 0 || after.count === 0) return 0;
  const usual = typicalNs(before.p50Ns, before.p95Ns);
  const spread = Math.max(0, before.p95Ns - before.p50Ns) / 1.645;
  const stray = (strayFactor * spread) / Math.sqrt(after.count);
  return Math.max(0, typicalNs(after.p50Ns, after.p95Ns) - usual - stray - Math.max(usual * relativeSlack, absoluteSlackNs));
}

/** The own-time quantiles of an operation where its children are known in both intervals. */
export function ownTimesOf(
  operation: SnapshotOperation,
): { before: { p50Ns: number; p95Ns: number; count: number }; after: { p50Ns: number; p95Ns: number; count: number } } | null {
  const before = ownOf(operation.normal);
  const after = ownOf(operation.abnormal);
  return before === null || after === null ? null : { before, after };
}

function ownOf(statistics: SpanStatistics): { p50Ns: number; p95Ns: number; count: number } | null {
  if (statistics.selfP50Ns === null || statistics.selfP95Ns === null) return null;
  return { p50Ns: statistics.selfP50Ns, p95Ns: statistics.selfP95Ns, count: statistics.count };
}

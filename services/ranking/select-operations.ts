/** How every operation behaved before and during the fault: histograms merged exactly, and what kept spans add to them. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import type { Interval, SnapshotInvocations, SnapshotOperation, SpanStatistics } from "../../contract/evidence.ts";
import type { DurationWindow } from "../../contract/port.ts";
import { derivedMetric } from "../../contract/series.ts";
import type { KeptSpan } from "../../contract/window.ts";
import { addBuckets, type Histogram, histogramQuantile } from "../../graph/duration-histogram.ts";
import { withKernelOperations } from "./kernel-operations.ts";
import { ownTimes } from "./own-time.ts";
import type { SelectedGraph } from "./select-graph.ts";

const examplesMax = 5;
/** Own times below this number say nothing about a p95. */
const ownTimesMin = 5;

type Side = SnapshotOperation["side"];
type Source = "kernel" | undefined;
const tellerOf = new Map<string, { readonly side: Side; readonly source: Source }>([
  [derivedMetric.serverDuration, { side: "server", source: undefined }],
  [derivedMetric.clientDuration, { side: "client", source: undefined }],
  [derivedMetric.internalDuration, { side: "internal", source: undefined }],
  [derivedMetric.kernelServerDuration, { side: "server", source: "kernel" }],
  [derivedMetric.kernelClientDuration, { side: "client", source: "kernel" }],
]);

interface Tally {
  count: number;
  failed: number;
  histogram: Histogram;
  readonly spans: KeptSpan[];
}

interface Operation {
  readonly entity: string;
  readonly side: Side;
  readonly source: Source;
  /** Operation of a server or internal span, address of a client span's peer. */
  readonly name: string;
  readonly normal: Tally;
  readonly abnormal: Tally;
}

export interface OperationInput {
  readonly durations: readonly DurationWindow[];
  readonly spans: readonly KeptSpan[];
  readonly normal: Interval;
  readonly fault: Interval;
  readonly graph: SelectedGraph;
}

export function selectOperations(input: OperationInput): SnapshotOperation[] {
  const operations = tallied(input);
  // What the kernel saw of a request nests in nothing, and what nests in it is not known.
  const told = input.spans.filter(({ source }) => source === undefined);
  const known = { own: ownTimes(told), origins: failedAtOrigin(told) };
  const made = [...operations.values()].map((operation) => snapshotOperation(operation, input.graph, known));
  return sortedBy(withKernelOperations(made), ({ id }) => id);
}

/** Requests served per entity; of one that sends no spans itself, the calls its callers made. */
export function selectInvocations(operations: readonly SnapshotOperation[]): SnapshotInvocations[] {
  const served = new Map<string, SnapshotInvocations>();
  const called = new Map<string, SnapshotInvocations>();
  for (const { side, entity, callee, normal, abnormal } of operations) {
    const [sums, id] = side === "server" ? [served, entity] : [called, callee];
    if (side === "internal" || id === null) continue;
    const before = sums.get(id) ?? { entity: id, normal: 0, abnormal: 0 };
    sums.set(id, { entity: id, normal: before.normal + normal.count, abnormal: before.abnormal + abnormal.count });
  }
  return sortedBy(new Map([...called, ...served]).values(), ({ entity }) => entity);
}

function tallied({ durations, spans, normal, fault }: OperationInput): Map<string, Operation> {
  const operations = new Map<string, Operation>();
  for (const row of durations) {
    const teller = tellerOf.get(row.metric);
    // Rows without attributes are the sum over all operations.
    if (teller === undefined || row.attributes === "") continue;
    const name = nameOf(teller.side, row.attributes);
    const key = operationKey({ ...teller, entity: row.entity, name });
    const operation = operations.get(key) ?? { entity: row.entity, ...teller, name, normal: emptyTally(), abnormal: emptyTally() };
    operations.set(key, operation);
    const tally = tallyAt(operation, row.windowStartMs, { normal, fault });
    if (tally === null) continue;
    tally.count += row.count;
    tally.failed += row.failed;
    addBuckets(tally.histogram, row.buckets);
  }
  for (const span of spans) {
    const side = sideOfSpan(span);
    const own = side === "client" ? (span.peer ?? "unknown") : span.operation.replaceAll(",", ";");
    const of = { entity: span.entity, side, source: span.source };
    const operation = operations.get(operationKey({ ...of, name: own })) ?? operations.get(operationKey({ ...of, name: "other" }));
    if (operation !== undefined) tallyAt(operation, span.windowStartMs, { normal, fault })?.spans.push(span);
  }
  return operations;
}

function operationKey({ entity, side, source, name }: Pick<Operation, "entity" | "side" | "source" | "name">): string {
  return JSON.stringify([entity, side, name, source ?? ""]);
}

function nameOf(side: Side, attributes: string): string {
  const prefix = side === "client" ? "peer=" : "operation=";
  if (attributes === "other=true") return "other";
  return attributes.startsWith(prefix) ? attributes.slice(prefix.length) : attributes;
}

function sideOfSpan(span: KeptSpan): Side {
  if (span.kind === "client" || span.kind === "producer") return "client";
  return span.kind === "internal" ? "internal" : "server";
}

function emptyTally(): Tally {
  return { count: 0, failed: 0, histogram: new Map(), spans: [] };
}

function tallyAt(operation: Operation, windowStartMs: number, intervals: { normal: Interval; fault: Interval }): Tally | null {
  const inside = ({ fromMs, toMs }: Interval): boolean => windowStartMs >= fromMs && windowStartMs < toMs;
  if (inside(intervals.fault)) return operation.abnormal;
  return inside(intervals.normal) ? operation.normal : null;
}

interface SpanKnowledge {
  readonly own: ReadonlyMap<string, number>;
  /** Failed spans below which nothing failed, as `traceId/spanId`. */
  readonly origins: ReadonlySet<string>;
}

function failedAtOrigin(spans: readonly KeptSpan[]): Set<string> {
  const failed = spans.filter((span) => span.failed);
  const above = new Set(failed.map((span) => `${span.traceId}/${span.parentSpanId}`));
  return new Set(failed.map(spanId).filter((id) => !above.has(id)));
}

function spanId(span: KeptSpan): string {
  return `${span.traceId}/${span.spanId}`;
}

function snapshotOperation(
  { entity, side, source, name, normal, abnormal }: Operation,
  graph: SelectedGraph,
  known: SpanKnowledge,
): SnapshotOperation {
  const reached = source === "kernel" ? graph.dependencyReached : graph.dependencyAt;
  const dependency = side === "client" ? reached(entity, name) : null;
  const atOrigin = abnormal.spans.filter((span) => (source === "kernel" ? span.failed : known.origins.has(spanId(span))));
  return {
    id: side === "client" ? `operation:${entity}|client||${name}` : `operation:${entity}|${side}|${name}|`,
    entity,
    operation: name,
    side,
    callee: dependency?.target ?? null,
    normal: statistics(normal, known),
    abnormal: statistics(abnormal, known),
    examples: examplesOf(abnormal.spans, atOrigin),
    exception: commonest(atOrigin.flatMap((span) => exceptionOf(span) ?? [])),
    ...(source === undefined ? {} : { source }),
  };
}

function statistics(tally: Tally, known: SpanKnowledge): SpanStatistics {
  const own = tally.spans.flatMap((span) => known.own.get(spanId(span)) ?? []).sort((left, right) => left - right);
  const enough = own.length >= ownTimesMin;
  return {
    count: tally.count,
    failed: tally.failed,
    failedAtOrigin: Math.min(tally.failed, tally.spans.filter((span) => known.origins.has(spanId(span))).length),
    p50Ns: Math.round(histogramQuantile(tally.histogram, 0.5) ?? 0),
    p95Ns: Math.round(histogramQuantile(tally.histogram, 0.95) ?? 0),
    selfP50Ns: enough ? nearestRank(own, 0.5) : null,
    selfP95Ns: enough ? nearestRank(own, 0.95) : null,
  };
}

function nearestRank(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

/** Failed ones where the error began first, in order of time; else the slowest. */
function examplesOf(spans: readonly KeptSpan[], atOrigin: readonly KeptSpan[]): string[] {
  const byId = (left: KeptSpan, right: KeptSpan): number => compareCodeUnits(spanId(left), spanId(right));
  const chosen =
    atOrigin.length > 0
      ? [...atOrigin].sort((left, right) => left.startAtUs - right.startAtUs || byId(left, right))
      : [...spans].sort((left, right) => right.durationNs - left.durationNs || byId(left, right));
  return chosen.slice(0, examplesMax).map(spanId);
}

function exceptionOf(span: KeptSpan): string | null {
  return span.exception ?? (span.statusMessage === "" ? null : span.statusMessage);
}

function commonest(texts: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const [first] = [...counts].sort(([left, leftCount], [right, rightCount]) => rightCount - leftCount || compareCodeUnits(left, right));
  return first?.[0] ?? null;
}

/** Raw spans of a case, added up to the operations that the ranker reads. Sides are told by who the parent belongs to. */

import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import type { Interval, SnapshotInvocations, SnapshotOperation, SpanStatistics } from "../../contract/evidence.ts";
import { coveredTime, type Stretch } from "../covered-time.ts";

export interface CaseSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly entity: string;
  readonly operation: string;
  readonly startNs: number;
  readonly durationNs: number;
  readonly failed: boolean;
}

/** A childless span is taken for a call when this share of its operation's spans were calls to one callee. */
const calleeShare = 0.9;
const callsMin = 3;
const examplesMax = 5;
/** Beside more calls than this, a span keeps its whole duration: looking at all pairs would take too long. */
const besideMax = 200;

interface Node {
  readonly span: CaseSpan;
  readonly parent: Node | null;
  readonly children: Node[];
}

interface Group {
  readonly entity: string;
  readonly operation: string;
  readonly side: SnapshotOperation["side"];
  readonly callee: string | null;
  readonly normal: Node[];
  readonly abnormal: Node[];
}

export interface SpanSummary {
  readonly operations: SnapshotOperation[];
  readonly invocations: SnapshotInvocations[];
  /** Caller and callee of every call seen. */
  readonly calls: readonly { readonly source: string; readonly target: string }[];
}

/** Statistics per operation in both intervals, by the spans' starts; spans outside of both only serve as parents and children. */
export function summariseSpans(spans: readonly CaseSpan[], intervals: { normal: Interval; fault: Interval }): SpanSummary {
  const nodes = linked(spans);
  const usualCallee = usualCallees(nodes);
  const groups = new Map<string, Group>();
  const calls = new Map<string, { source: string; target: string }>();
  for (const node of nodes) {
    const place = placeOf(node, usualCallee);
    if (place.callee !== null)
      calls.set(JSON.stringify([node.span.entity, place.callee]), { source: node.span.entity, target: place.callee });
    if (node.parent !== null && node.parent.span.entity !== node.span.entity) {
      calls.set(JSON.stringify([node.parent.span.entity, node.span.entity]), { source: node.parent.span.entity, target: node.span.entity });
    }
    const startMs = node.span.startNs / 1e6;
    const interval = within(startMs, intervals.normal) ? "normal" : within(startMs, intervals.fault) ? "abnormal" : null;
    if (interval === null) continue;
    const id = ["operation:", node.span.entity, "|", place.side, "|", node.span.operation, "|", place.callee ?? ""].join("");
    const group = groups.get(id) ?? { entity: node.span.entity, operation: node.span.operation, ...place, normal: [], abnormal: [] };
    groups.set(id, group);
    group[interval].push(node);
  }
  const operations = sortedBy(groups, ([id]) => id).map(([id, group]) => operationOf(id, group));
  return { operations, invocations: invocationsOf(operations), calls: [...calls.values()] };
}

function within(atMs: number, interval: Interval): boolean {
  return atMs >= interval.fromMs && atMs < interval.toMs;
}

function linked(spans: readonly CaseSpan[]): Node[] {
  const byId = new Map<string, CaseSpan>();
  for (const span of spans) byId.set(`${span.traceId}/${span.spanId}`, span);
  const nodes = new Map<CaseSpan, Node>();
  const nodeOf = (span: CaseSpan): Node => {
    const chain: CaseSpan[] = [];
    const seen = new Set<CaseSpan>();
    for (let next: CaseSpan | undefined = span; next !== undefined && !nodes.has(next) && !seen.has(next); ) {
      chain.push(next);
      seen.add(next);
      next = next.parentSpanId === "" ? undefined : byId.get(`${next.traceId}/${next.parentSpanId}`);
    }
    for (const item of chain.reverse()) {
      const parentSpan = item.parentSpanId === "" ? undefined : byId.get(`${item.traceId}/${item.parentSpanId}`);
      const parent = parentSpan === undefined ? null : (nodes.get(parentSpan) ?? null);
      const node: Node = { span: item, parent, children: [] };
      nodes.set(item, node);
      parent?.children.push(node);
    }
    return nodes.get(span) ?? { span, parent: null, children: [] };
  };
  return spans.map(nodeOf);
}

/** The entity to which an operation's spans usually lead, where there is one. */
function usualCallees(nodes: readonly Node[]): Map<string, string> {
  const counts = new Map<string, Map<string, number>>();
  for (const node of nodes) {
    const callee = calleeOf(node);
    const key = JSON.stringify([node.span.entity, node.span.operation]);
    const byCallee = counts.get(key) ?? new Map<string, number>();
    counts.set(key, byCallee);
    byCallee.set(callee ?? "", (byCallee.get(callee ?? "") ?? 0) + 1);
  }
  const usual = new Map<string, string>();
  for (const [key, byCallee] of counts) {
    const named = [...byCallee].filter(([callee]) => callee !== "");
    const total = named.reduce((sum, [, count]) => sum + count, 0);
    const best = named.sort((left, right) => right[1] - left[1] || compareCodeUnits(left[0], right[0]))[0];
    // Spans that ended without a child may be failed calls, so they are not counted against it.
    if (best !== undefined && best[1] >= callsMin && best[1] >= total * calleeShare) usual.set(key, best[0]);
  }
  return usual;
}

function calleeOf(node: Node): string | null {
  const other = node.children.find((child) => child.span.entity !== node.span.entity);
  return other?.span.entity ?? null;
}

function placeOf(node: Node, usualCallee: ReadonlyMap<string, string>): { side: SnapshotOperation["side"]; callee: string | null } {
  if (node.parent === null || node.parent.span.entity !== node.span.entity) return { side: "server", callee: null };
  const callee = calleeOf(node);
  if (callee !== null) return { side: "client", callee };
  const usual = usualCallee.get(JSON.stringify([node.span.entity, node.span.operation]));
  return usual === undefined || node.children.length > 0 ? { side: "internal", callee: null } : { side: "client", callee: usual };
}

function operationOf(id: string, group: Group): SnapshotOperation {
  const shown = [...group.abnormal].sort(
    (left, right) =>
      Number(right.span.failed) - Number(left.span.failed) ||
      right.span.durationNs - left.span.durationNs ||
      compareCodeUnits(left.span.spanId, right.span.spanId),
  );
  return {
    id,
    entity: group.entity,
    operation: group.operation,
    side: group.side,
    callee: group.callee,
    normal: statisticsOf(group.normal),
    abnormal: statisticsOf(group.abnormal),
    examples: shown.slice(0, examplesMax).map((node) => `${node.span.traceId}/${node.span.spanId}`),
    exception: null,
  };
}

function statisticsOf(nodes: readonly Node[]): SpanStatistics {
  const durations = nodes.map((node) => node.span.durationNs).sort((left, right) => left - right);
  const own = nodes.map(ownNs).sort((left, right) => left - right);
  const at = (sorted: readonly number[], share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const failed = nodes.filter((node) => node.span.failed);
  return {
    count: nodes.length,
    failed: failed.length,
    failedAtOrigin: failed.filter((node) => !node.children.some((child) => child.span.failed)).length,
    p50Ns: at(durations, 0.5),
    p95Ns: at(durations, 0.95),
    selfP50Ns: at(own, 0.5),
    selfP95Ns: at(own, 0.95),
  };
}

/**
 * Duration less the time that children cover, overlaps counted once. Asynchronous code puts its calls beside its own spans,
 * so the time of calls to others with the same parent is not an inner span's own either.
 */
function ownNs(node: Node): number {
  const { durationNs } = node.span;
  const beside =
    node.parent === null || node.parent.span.entity !== node.span.entity ? [] : callsOf(node.parent).filter((one) => one !== node);
  const covering = [...node.children, ...(beside.length > besideMax ? [] : beside)];
  const covered = coveredTime(
    stretchOf(node),
    covering.map((other) => stretchOf(other)),
  );
  return Math.max(0, durationNs - covered);
}

function stretchOf({ span }: Node): Stretch {
  return { from: span.startNs, to: span.startNs + span.durationNs };
}

/** Children that call another entity. */
function callsOf(node: Node): Node[] {
  return node.children.filter((child) => child.span.entity === node.span.entity && calleeOf(child) !== null);
}

function invocationsOf(operations: readonly SnapshotOperation[]): SnapshotInvocations[] {
  const totals = new Map<string, { normal: number; abnormal: number }>();
  for (const operation of operations) {
    if (operation.side !== "server") continue;
    const total = totals.get(operation.entity) ?? { normal: 0, abnormal: 0 };
    totals.set(operation.entity, { normal: total.normal + operation.normal.count, abnormal: total.abnormal + operation.abnormal.count });
  }
  return sortedBy(totals, ([entity]) => entity).map(([entity, total]) => ({ entity, ...total }));
}

/**
 * Where failures began: spans that failed while nothing below them failed. A call that failed without a failed answer
 * speaks of the callee, of the way to it or of the caller, by who else can reach the callee. Channel `errors`.
 */
import type { SnapshotOperation } from "../contract/evidence.ts";
import type { FaultKind } from "../contract/verdict.ts";
import type { Contribution } from "./contribution.ts";
import type { SaturationOf } from "./evidence-gap.ts";
import { sumSorted } from "./robust-statistics.ts";
import { type EdgeView, type EntityView, type IntervalName, type SpanView, totalOf, typicalNs, typicalOf } from "./span-view.ts";
import { percentText } from "./wording.ts";

/** Normal calls without which a callee's loss of traffic means nothing. */
const callsMin = 10;
/** From this share of its callers on, a callee fails for all. */
const commonCoverage = 0.75;
const commonReason = 0.95;

export interface ErrorContext {
  /** 0..1: the entity's own process has fallen silent. */
  readonly silenceOf: (entity: string) => number;
  /** Whether the entity's process reported anything at all in normal times. */
  readonly reports: (entity: string) => boolean;
  readonly saturationOf: SaturationOf;
  /** 0..1: how strongly a change of the entity just before speaks against it. */
  readonly changedOf: (entity: string) => number;
}

/** Evidence from failed spans. */
export function errorContributions(view: SpanView, context: ErrorContext): Contribution[] {
  const here = [...view.entities].flatMap(([entity, spans]) => failedHere(entity, spans, view));
  const between = [...view.edges.values()].flatMap((edge) => failedBetween(edge, view, context));
  return [...here, ...between];
}

/** Failed-at-origin spans beyond what normal times lead to expect, with a margin for chance. */
function moreAtOrigin(operations: readonly SnapshotOperation[]): number {
  const before = totalOf(operations, "normal", "count");
  const ratio = before === 0 ? 0 : totalOf(operations, "normal", "failedAtOrigin") / before;
  const expected = ratio * totalOf(operations, "abnormal", "count");
  return Math.max(0, totalOf(operations, "abnormal", "failedAtOrigin") - expected - 2 * Math.sqrt(expected) - 1);
}

function failedHere(entity: string, spans: EntityView, view: SpanView): Contribution[] {
  const own = [...spans.server, ...spans.internal].flatMap((operation) => failedOperation(entity, operation, view));
  return [...own, ...unexplained(entity, spans, view)];
}

function failedOperation(entity: string, operation: SnapshotOperation, view: SpanView): Contribution[] {
  const more = moreAtOrigin([operation]);
  if (more === 0) return [];
  const ratio = (interval: IntervalName): number => operation[interval].failedAtOrigin / Math.max(1, operation[interval].count);
  const exception = operation.exception === null ? "" : ` with ${operation.exception}`;
  return [
    {
      type: "entity",
      id: entity,
      channel: "errors",
      amount: more / view.faultSeconds,
      text: `${percentText(ratio("abnormal"))} of ${operation.operation} failed here (before: ${percentText(ratio("normal"))})${exception}`,
      evidence: [operation.id, ...operation.examples.map((example) => `span:${example}`)],
      onsetMs: null,
      kind: "code-error",
    },
  ];
}

/** Failed requests that neither began here by the spans nor came from a failed call: the children are not all known. */
function unexplained(entity: string, spans: EntityView, view: SpanView): Contribution[] {
  const calls = [...view.leaving(entity).flatMap((edge) => edge.operations), ...spans.unresolved];
  const failed = (interval: IntervalName): number =>
    totalOf(spans.server, interval, "failed") -
    totalOf([...spans.server, ...spans.internal], interval, "failedAtOrigin") -
    totalOf(calls, interval, "failed");
  const before = totalOf(spans.server, "normal", "count");
  const after = totalOf(spans.server, "abnormal", "count");
  const expected = before === 0 ? 0 : (Math.max(0, failed("normal")) / before) * after;
  const more = failed("abnormal") - expected - 2 * Math.sqrt(expected) - 2;
  if (!(more > 0)) return [];
  return [
    {
      type: "entity",
      id: entity,
      channel: "errors",
      amount: (0.5 * more) / view.faultSeconds,
      text: `${percentText(totalOf(spans.server, "abnormal", "failed") / Math.max(1, after))} of its requests failed, which no failed call below explains`,
      evidence: spans.server.map((operation) => operation.id),
      onsetMs: null,
      kind: "code-error",
    },
  ];
}

function failedBetween(view: EdgeView, all: SpanView, context: ErrorContext): Contribution[] {
  const more = moreAtOrigin(view.operations);
  if (more === 0) return [];
  const { edge, operations } = view;
  const amount = more / all.faultSeconds;
  const { coverage, callers } = failureCoverage(view, all);
  // Several callers that fail alike have only the callee in common.
  const reason = Math.max(calleeReason(view, all, context), callers > 1 && coverage >= commonCoverage ? commonReason : 0);
  const own = Math.max(context.saturationOf(edge.source), context.changedOf(edge.source));
  const callee = coverage * (0.3 + 0.7 * reason) * (1 - 0.5 * own * (1 - reason));
  const caller = Math.min(1, 0.7 * (1 - reason) * (1 - coverage * 0.4) + 0.6 * own * (1 - reason));
  const ratio = totalOf(operations, "abnormal", "failedAtOrigin") / Math.max(1, totalOf(operations, "abnormal", "count"));
  const text = `${percentText(ratio)} of the calls from ${edge.source} to ${edge.target} failed without an answer that failed`;
  const examples = operations.flatMap((operation) => operation.examples).slice(0, 5);
  const evidence = [...operations.map((operation) => operation.id), ...examples.map((example) => `span:${example}`)];
  const common = { channel: "errors", text, evidence, onsetMs: null } as const;
  return [
    { ...common, type: "entity", id: edge.target, amount: amount * callee, kind: calleeKind(edge.target, all, context) },
    { ...common, type: "dependency", id: edge.id, amount: amount * 0.75 * Math.max(1 - callee, 0.5), kind: "network" },
    { ...common, type: "entity", id: edge.source, amount: amount * caller, kind: "config" },
  ];
}

function calleeKind(callee: string, view: SpanView, context: ErrorContext): FaultKind {
  if (context.silenceOf(callee) > 0.5) return "crash";
  if (!sendsSpans(callee, view)) return "datastore";
  return goneShare(callee, view) > 0.8 ? "crash" : "network";
}

/** How many of the callee's callers see it fail, as a share of the worst; 1 when it has one caller only. */
function failureCoverage(view: EdgeView, all: SpanView): { coverage: number; callers: number } {
  const ratio = (edge: EdgeView): number => {
    const calls = totalOf(edge.operations, "abnormal", "count");
    return calls === 0 ? 0 : moreAtOrigin(edge.operations) / calls;
  };
  const used = all.arriving(view.edge.target).filter((edge) => totalOf(edge.operations, "abnormal", "count") >= 3 || edge === view);
  const worst = Math.max(...used.map(ratio));
  if (!(worst > 0)) return { coverage: 1, callers: used.length };
  const coverage = sumSorted(used.map((edge) => Math.min(1, (2 * ratio(edge)) / worst))) / used.length;
  return { coverage, callers: used.length };
}

function sendsSpans(entity: string, view: SpanView): boolean {
  return totalOf(view.entities.get(entity)?.server ?? [], "normal", "count") >= callsMin;
}

/** Share of the callee's requests per second that is gone. */
function goneShare(callee: string, view: SpanView): number {
  const server = view.entities.get(callee)?.server ?? [];
  const before = totalOf(server, "normal", "count") / view.normalSeconds;
  const after = totalOf(server, "abnormal", "count") / view.faultSeconds;
  return before === 0 ? 0 : Math.max(0, 1 - after / before);
}

/** 0..1: how much the callee, or the way to it, and not the caller is the reason that calls fail. */
function calleeReason(view: EdgeView, all: SpanView, context: ErrorContext): number {
  const callee = view.edge.target;
  const silent = context.silenceOf(callee);
  if (!sendsSpans(callee, all)) return Math.max(silent, 0.8);
  // A process that goes on reporting while it gets no requests was not reached; it did not end.
  const gone = goneShare(callee, all) * (silent > 0.5 || !context.reports(callee) ? 1 : 0.4);
  const waited = typicalOf(view.operations, "abnormal") ?? 0;
  const usual = typicalOf(view.operations, "normal") ?? 0;
  const waitedLonger = waited > 2 * usual + 5e6 ? 0.9 : 0;
  const slow = slowAnswers(callee, all);
  return Math.max(silent, gone, waitedLonger, slow > 0 && slow >= waited ? 0.9 : 0);
}

/** Slowest usual answer of the callee while all was wrong, ns. */
function slowAnswers(callee: string, view: SpanView): number {
  const server = view.entities.get(callee)?.server ?? [];
  const slower = server.filter(
    ({ normal, abnormal }) => typicalNs(abnormal.p50Ns, abnormal.p95Ns) > 2 * typicalNs(normal.p50Ns, normal.p95Ns),
  );
  return Math.max(0, ...slower.map((operation) => operation.abnormal.p95Ns));
}

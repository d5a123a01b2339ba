/** Time that an entity adds itself: its own work, and calls that it began to make more often. Channel `latency`. */
import { compareCodeUnits } from "../contract/canonical.ts";
import type { SnapshotOperation } from "../contract/evidence.ts";
import type { Contribution } from "./contribution.ts";
import { sumSorted } from "./robust-statistics.ts";
import { type EdgeView, type EntityView, excessNs, type IntervalName, ownTimesOf, type SpanView, totalOf, typicalOf } from "./span-view.ts";
import { nsText, numberText } from "./wording.ts";

/** Calls per request stray with the mix of operations; less than this share more is no change of behaviour. */
const fanOutSlack = 0.5;
/** Part of the own time that is believed although requests less their calls did not become slower. */
const overlapShare = 0.25;
/** Requests without which calls per request mean nothing. */
const requestsMin = 10;

/** What the spans of every entity say about its own time. */
export function ownTimeContributions(view: SpanView): Contribution[] {
  return [...view.entities].flatMap(([entity, spans]) => [
    ...ownWork(entity, spans, view),
    ...view.leaving(entity).flatMap((edge) => fanOut(spans, edge, view)),
  ]);
}

function ownWork(entity: string, spans: EntityView, view: SpanView): Contribution[] {
  const operations = [...spans.server, ...spans.internal].filter(({ normal, abnormal }) => normal.count > 0 && abnormal.count > 0);
  const known = [...operations.flatMap((operation) => ownTime(entity, operation, view)), ...newWork(entity, spans, view)];
  const total = sumSorted(known.map((item) => item.amount));
  const difference = withoutChildren(entity, spans, view);
  const left = sumSorted(difference.map((item) => item.amount));
  // Own times come from sampled traces: a rare operation may have none, and then only the difference tells.
  const complete = operations.every((operation) => ownTimesOf(operation) !== null);
  if (!complete && left > total) return difference;
  // Spans that lie beside a call instead of around it count waiting as work; requests as a whole did not gain that much.
  const kept = total === 0 ? 1 : Math.max(overlapShare, Math.min(1, left / total));
  return known.map((item) => ({ ...item, amount: item.amount * kept }));
}

/** Internal operations that never ran before, less those that no longer run: renaming one adds no time. */
function newWork(entity: string, spans: EntityView, view: SpanView): Contribution[] {
  const began = spans.internal.filter((operation) => operation.normal.count === 0);
  const ended = spans.internal.filter((operation) => operation.abnormal.count === 0);
  const busy = (operations: readonly SnapshotOperation[], interval: IntervalName): number =>
    (totalOf(operations, interval, "count") * (typicalOf(operations, interval) ?? 0)) / 1e9;
  const added = busy(began, "abnormal") / view.faultSeconds - busy(ended, "normal") / view.normalSeconds;
  if (!(added > 0)) return [];
  const names = [...new Set(began.map((operation) => operation.operation))].sort(compareCodeUnits).slice(0, 3).join(", ");
  return [
    {
      type: "entity",
      id: entity,
      channel: "latency",
      amount: added,
      text: `spends ${nsText(typicalOf(began, "abnormal") ?? 0)} each in ${names}, which did not happen before`,
      evidence: began.map((operation) => operation.id),
      onsetMs: null,
      kind: "code-slow",
    },
  ];
}

function ownTime(entity: string, operation: SnapshotOperation, view: SpanView): Contribution[] {
  const own = ownTimesOf(operation);
  if (own === null) return [];
  const excess = excessNs(own.before, own.after);
  if (excess === 0) return [];
  return [
    {
      type: "entity",
      id: entity,
      channel: "latency",
      amount: (((operation.abnormal.count / view.faultSeconds) * excess) / 1e9) * notBecauseOfCalls(operation),
      text: `own time of ${operation.operation} rose from ${nsText(own.before.p50Ns)} to ${nsText(own.after.p50Ns)} (p95 ${nsText(own.before.p95Ns)} to ${nsText(own.after.p95Ns)})`,
      evidence: [operation.id],
      onsetMs: null,
      kind: "code-slow",
    },
  ];
}

/** Requests that failed because a call failed spend their own time on trying again and giving up; that share is not counted. */
function notBecauseOfCalls({ abnormal }: SnapshotOperation): number {
  return 1 - Math.min(1, Math.max(0, abnormal.failed - abnormal.failedAtOrigin) / Math.max(1, abnormal.count));
}

/** Where no child spans are known: server time less what the calls below may have added. */
function withoutChildren(entity: string, spans: EntityView, view: SpanView): Contribution[] {
  const added = spans.server.map((operation) => (operation.abnormal.count * excessNs(operation.normal, operation.abnormal)) / 1e9);
  const calls = [...view.leaving(entity).flatMap((edge) => edge.operations), ...spans.unresolved];
  const below = calls.map((operation) => {
    const slower = excessNs(operation.normal, operation.abnormal);
    return (operation.abnormal.count * slower) / 1e9;
  });
  const total = sumSorted(added) - sumSorted(below);
  if (!(total > 0)) return [];
  const before = typicalOf(spans.server, "normal") ?? 0;
  const after = typicalOf(spans.server, "abnormal") ?? 0;
  return [
    {
      type: "entity",
      id: entity,
      channel: "latency",
      amount: total / view.faultSeconds,
      text: `requests took ${nsText(after)} instead of ${nsText(before)}, which its calls do not explain`,
      evidence: spans.server.map((operation) => operation.id),
      onsetMs: null,
      kind: "code-slow",
    },
  ];
}

/** Successful calls per request that the caller did not make before: a new query, a loop, a cache that is passed by. */
function fanOut(spans: EntityView, view: EdgeView, all: SpanView): Contribution[] {
  const requestsBefore = totalOf(spans.server, "normal", "count");
  const requestsAfter = totalOf(spans.server, "abnormal", "count");
  if (requestsBefore < requestsMin || requestsAfter < requestsMin) return [];
  const before = totalOf(view.operations, "normal", "count") / requestsBefore;
  const succeeded = totalOf(view.operations, "abnormal", "count") - totalOf(view.operations, "abnormal", "failed");
  const after = succeeded / requestsAfter;
  const more = after - before * (1 + fanOutSlack) - 2 / Math.sqrt(requestsAfter);
  const eachNs = typicalOf(view.operations, before > 0 ? "normal" : "abnormal") ?? 0;
  if (!(more > 0)) return [];
  return [
    {
      type: "entity",
      id: view.edge.source,
      channel: "latency",
      amount: ((requestsAfter / all.faultSeconds) * more * eachNs) / 1e9,
      text: `makes ${numberText(after)} calls per request to ${view.edge.target} instead of ${numberText(before)}`,
      evidence: view.operations.map((operation) => operation.id),
      onsetMs: null,
      kind: "code-slow",
    },
  ];
}

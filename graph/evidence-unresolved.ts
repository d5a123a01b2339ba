/**
 * Calls of which only the caller's side is known and not whom they went to: blame is spread over the callees that the map
 * knows, or goes to the one that fell silent. Channels `errors` and `latency`.
 */
import type { SnapshotOperation } from "../contract/evidence.ts";
import type { Contribution } from "./contribution.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { excessNs, type SpanView, typicalOf } from "./span-view.ts";
import { nsText, percentText } from "./wording.ts";

/** What stays with the caller. */
const callerShare = 0.5;
/** Besides a silent callee the caller hardly counts. */
const callerShareBesideSilent = 0.1;

export interface UnresolvedContext {
  readonly view: SpanView;
  readonly neighbourhood: Neighbourhood;
  readonly silenceOf: (entity: string) => number;
}

/** Evidence from client spans without a known callee. */
export function unresolvedContributions(context: UnresolvedContext): Contribution[] {
  return [...context.view.entities].flatMap(([entity, spans]) =>
    spans.unresolved.flatMap((operation) => [...failed(entity, operation, context), ...slower(entity, operation, context)]),
  );
}

function failed(entity: string, operation: SnapshotOperation, context: UnresolvedContext): Contribution[] {
  const { normal, abnormal } = operation;
  const expected = normal.count === 0 ? 0 : (normal.failedAtOrigin / normal.count) * abnormal.count;
  const more = abnormal.failedAtOrigin - expected - 2 * Math.sqrt(expected) - 1;
  if (!(more > 0)) return [];
  const text = `${percentText(abnormal.failedAtOrigin / Math.max(1, abnormal.count))} of the calls ${operation.operation} from ${entity} failed without an answer that failed`;
  return spread(entity, { channel: "errors", amount: more / context.view.faultSeconds, text, operation }, context);
}

function slower(entity: string, operation: SnapshotOperation, context: UnresolvedContext): Contribution[] {
  const { view, neighbourhood } = context;
  const excess = excessNs(operation.normal, operation.abnormal);
  if (excess === 0) return [];
  const explained = neighbourhood.callees(entity).map((callee) => {
    const server = view.entities.get(callee)?.server ?? [];
    return Math.max(0, ...server.map((one) => excessNs(one.normal, one.abnormal)));
  });
  const lost = excess - Math.max(0, ...explained);
  if (!(lost > 0)) return [];
  const text = `calls ${operation.operation} from ${entity} took ${nsText(typicalOf([operation], "abnormal") ?? 0)} instead of ${nsText(typicalOf([operation], "normal") ?? 0)}, which no callee's answers explain`;
  const amount = ((operation.abnormal.count / view.faultSeconds) * lost) / 1e9;
  return spread(entity, { channel: "latency", amount, text, operation }, context);
}

interface Blame {
  readonly channel: "errors" | "latency";
  readonly amount: number;
  readonly text: string;
  readonly operation: SnapshotOperation;
}

function spread(entity: string, blame: Blame, context: UnresolvedContext): Contribution[] {
  const { neighbourhood } = context;
  const callees = neighbourhood.callees(entity);
  const silent = callees.filter((callee) => context.silenceOf(callee) > 0.5);
  const common = {
    channel: blame.channel,
    text: blame.text,
    evidence: [blame.operation.id, ...blame.operation.examples.map((example) => `span:${example}`)],
    onsetMs: null,
  } as const;
  const entityBlame = (id: string, share: number, kind: Contribution["kind"]): Contribution => ({
    ...common,
    type: "entity",
    id,
    amount: blame.amount * share,
    kind,
  });
  if (silent.length > 0) {
    return [...silent.map((callee) => entityBlame(callee, 1 / silent.length, "crash")), entityBlame(entity, callerShareBesideSilent, null)];
  }
  const edges = callees.flatMap((callee) => neighbourhood.edgeBetween(entity, callee) ?? []);
  return [
    entityBlame(entity, callerShare, edges.length === 0 ? "dependency-external" : null),
    ...edges.map(
      (edge): Contribution => ({ ...common, type: "dependency", id: edge.id, amount: blame.amount / edges.length, kind: "network" }),
    ),
    ...edges.map((edge) => entityBlame(edge.target, 0.7 / edges.length, "network")),
  ];
}

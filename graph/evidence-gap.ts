/**
 * Time lost between a caller and its callee: what client spans gained and server spans did not. One slow dependency among
 * healthy ones speaks for that dependency; all dependencies of an entity speak for the entity. Channel `latency`.
 */
import type { Contribution } from "./contribution.ts";
import { sumSorted } from "./robust-statistics.ts";
import { type EdgeView, excessNs, type SpanView, totalOf, typicalNs, typicalOf } from "./span-view.ts";
import { nsText } from "./wording.ts";

/** Operations with less than this share of a callee's requests do not stand for it. */
const shareMin = 0.1;

interface Gap {
  readonly view: EdgeView;
  /** Busy seconds per second. */
  readonly amount: number;
  /** Mean added per call, ns. */
  readonly perCallNs: number;
  readonly callee: "answers" | "sends no spans" | "vanished";
}

/** How much of an entity's waiting for connections or workers is its own, 0..1. */
export type SaturationOf = (entity: string) => number;

/** Evidence from the client-minus-server gap of every dependency. */
export function gapContributions(view: SpanView, saturationOf: SaturationOf): Contribution[] {
  const gaps = new Map<string, Gap>();
  for (const [id, edge] of view.edges) {
    const gap = gapOf(edge, view);
    if (gap.amount > 0) gaps.set(id, gap);
  }
  const perCall = (edge: EdgeView): number => gaps.get(edge.edge.id)?.perCallNs ?? 0;
  return [...gaps.values()].flatMap((gap) => {
    const arriving = view.arriving(gap.view.edge.target);
    const around = [...view.arriving(gap.view.edge.source), ...view.leaving(gap.view.edge.source)];
    const options = {
      arrivingCoverage: coverage(arriving, perCall),
      arrivingCount: arriving.length,
      callerCoverage: coverage(around, perCall) * (around.length > 1 ? 1 : 0.5),
      saturation: saturationOf(gap.view.edge.source),
    };
    return blame(gap, gap.callee === "sends no spans" ? opaqueShares(options) : visibleShares(options, gap.callee));
  });
}

function gapOf(view: EdgeView, all: SpanView): Gap {
  const server = all.entities.get(view.edge.target)?.server ?? [];
  const seen = totalOf(server, "normal", "count") > 0;
  const answers = totalOf(server, "abnormal", "count") > 0;
  const callee = seen ? (answers ? "answers" : "vanished") : "sends no spans";
  const serverShift = callee === "answers" ? serverShiftOf(server) : 0;
  const calls = totalOf(view.operations, "abnormal", "count");
  const lostNs = view.operations.map((operation) => {
    const shift = excessNs(operation.normal, operation.abnormal);
    return operation.abnormal.count * Math.max(0, shift - serverShift);
  });
  const total = sumSorted(lostNs);
  return { view, amount: total / 1e9 / all.faultSeconds, perCallNs: calls === 0 ? 0 : total / calls, callee };
}

/** The largest shift that the callee's own answers can account for, ns. */
function serverShiftOf(server: EdgeView["operations"]): number {
  const total = totalOf(server, "abnormal", "count");
  const overall = (typicalOf(server, "abnormal") ?? 0) - (typicalOf(server, "normal") ?? 0);
  const each = server
    .filter((operation) => operation.abnormal.count >= total * shareMin && operation.normal.count > 0)
    .map(({ normal, abnormal }) =>
      Math.max(typicalNs(abnormal.p50Ns, abnormal.p95Ns) - typicalNs(normal.p50Ns, normal.p95Ns), abnormal.p95Ns - normal.p95Ns),
    );
  return Math.max(0, overall, ...each);
}

/** Mean over dependencies of how far each shares the gap of the worst; 0 for none. */
function coverage(edges: readonly EdgeView[], perCall: (edge: EdgeView) => number): number {
  const used = edges.filter((edge) => totalOf(edge.operations, "abnormal", "count") > 0);
  const worst = Math.max(0, ...used.map(perCall));
  if (worst === 0) return 0;
  return sumSorted(used.map((edge) => Math.min(1, (2 * perCall(edge)) / worst))) / used.length;
}

interface Shares {
  readonly callee: number;
  readonly dependency: number;
  readonly caller: number;
}

interface ShareOptions {
  readonly arrivingCoverage: number;
  readonly arrivingCount: number;
  readonly callerCoverage: number;
  readonly saturation: number;
}

/** Both sides send spans, so that the time was lost between them, or while one side was too busy to look. */
function visibleShares(options: ShareOptions, callee: Gap["callee"]): Shares {
  if (callee === "vanished") return { callee: 0.9, dependency: 0.5, caller: 0 };
  const allSuffer = options.arrivingCoverage >= 0.75;
  const dependency = allSuffer ? (options.arrivingCount > 1 ? 0.65 : 0.85) : 1;
  return { callee: 0.9 * options.arrivingCoverage, dependency, caller: 0.9 * options.callerCoverage };
}

/** The callee sends no spans: slow itself when all its callers wait, else it is the caller's own way to it. */
function opaqueShares(options: ShareOptions): Shares {
  const alone = options.arrivingCount === 1;
  const caller = (alone ? 0.4 : 0.75 * (1 - options.arrivingCoverage)) + 0.6 * options.saturation;
  const own = 1 - 0.6 * options.saturation;
  return {
    callee: 0.85 * options.arrivingCoverage * own,
    dependency: (alone ? 0.65 : 0.6) * own,
    caller: Math.min(1, Math.max(caller, 0.9 * options.callerCoverage)),
  };
}

function blame(gap: Gap, shares: Shares): Contribution[] {
  const { edge, operations } = gap.view;
  const before = typicalOf(operations, "normal") ?? 0;
  const after = typicalOf(operations, "abnormal") ?? 0;
  const reply = gap.callee === "answers" ? ", which its answers do not explain" : "";
  const text = `calls from ${edge.source} to ${edge.target} took ${nsText(after)} instead of ${nsText(before)}${reply}`;
  const common = { channel: "latency", text, evidence: operations.map((operation) => operation.id), onsetMs: null } as const;
  const kind = gap.callee === "sends no spans" ? "datastore" : "network";
  return [
    { ...common, type: "entity", id: edge.target, amount: gap.amount * shares.callee, kind },
    { ...common, type: "dependency", id: edge.id, amount: gap.amount * shares.dependency, kind: "network" },
    { ...common, type: "entity", id: edge.source, amount: gap.amount * shares.caller, kind },
  ];
}

/**
 * Latency and errors from series, where no spans say it better. They move with callees too, so an entity answers only for
 * what its callees do not explain; a callee that fell silent takes over what its callers could not get. Series of a
 * dependency speak for it and its callee in the same way. Channels `latency` and `errors`.
 */
import { derivedMetric, type Statistic } from "../contract/series.ts";
import type { Contribution } from "./contribution.ts";
import { firstHand, gateOf, type Measured, type MetricView } from "./metric-view.ts";
import type { Edge, Neighbourhood } from "./neighbourhood.ts";
import { median, sumSorted } from "./robust-statistics.ts";
import { secondsPer } from "./scale-floor.ts";
import { percentText, secondsText } from "./wording.ts";

interface Shift {
  /** Seconds per request, or failed requests per request, that the deviation added. */
  readonly added: number;
  readonly before: number;
  readonly after: number;
  readonly series: readonly Measured[];
}

export interface ExternalContext {
  readonly neighbourhood: Neighbourhood;
  readonly hasSpans: (entity: string) => boolean;
  readonly hasClientSpans: (edge: string) => boolean;
  /** 0..1: the entity's own process has fallen silent. */
  readonly silenceOf: (entity: string) => number;
}

type ExternalChannel = "latency" | "errors";

interface Shifts {
  readonly channel: ExternalChannel;
  readonly entities: ReadonlyMap<string, Shift>;
  readonly edges: ReadonlyMap<string, Shift>;
  readonly traffic: (entity: string) => number;
}

/** Part of a silent callee's blame that stays with the caller. */
const callerRest = 0.1;

/** Evidence from external series. */
export function externalContributions(view: MetricView, context: ExternalContext): Contribution[] {
  const traffic = trafficOf(view);
  return (["latency", "errors"] as const).flatMap((channel) => {
    const shiftFrom = channel === "latency" ? latencyShift : errorShift;
    const shiftsOf = (map: MetricView["entities"]): Map<string, Shift> => {
      const shifts = [...map].map(([owner, all]) => [owner, shiftFrom(all)] as const);
      return new Map(shifts.filter((entry): entry is readonly [string, Shift] => entry[1] !== null));
    };
    const shifts: Shifts = { channel, entities: shiftsOf(view.entities), edges: shiftsOf(view.edges), traffic };
    const entities = [...shifts.entities].flatMap(([entity, shift]) => ofEntity(entity, shift, { shifts, context }));
    const edges = context.neighbourhood.edges.flatMap((edge) => ofEdge(edge, { shifts, context }));
    return [...entities, ...edges];
  });
}

/** Failed requests per second, or seconds added per request: what can be compared along a call. */
function flowOf(entity: string, shifts: Shifts): number {
  const added = shifts.entities.get(entity)?.added ?? 0;
  return shifts.channel === "latency" ? added : added * shifts.traffic(entity);
}

function edgeFlow(edge: Edge, shifts: Shifts): number {
  const added = shifts.edges.get(edge.id)?.added ?? 0;
  return shifts.channel === "latency" ? added : added * shifts.traffic(edge.target);
}

function ofEntity(entity: string, shift: Shift, options: { shifts: Shifts; context: ExternalContext }): Contribution[] {
  const { shifts, context } = options;
  if (context.hasSpans(entity) || shift.added === 0) return [];
  const callees = context.neighbourhood.callees(entity);
  const explained = callees.map((callee) => {
    const edge = context.neighbourhood.edgeBetween(entity, callee);
    return Math.max(flowOf(callee, shifts), edge === null ? 0 : edgeFlow(edge, shifts));
  });
  const own = Math.max(0, flowOf(entity, shifts) - Math.max(0, ...explained));
  const amount = shifts.channel === "latency" ? own * shifts.traffic(entity) : own;
  if (amount === 0) return [];
  const silent = shifts.channel === "errors" ? callees.filter((callee) => context.silenceOf(callee) > 0.5) : [];
  if (silent.length === 0) return [contributionOf(entity, { shifts, shift, amount })];
  return [
    contributionOf(entity, { shifts, shift, amount: amount * callerRest }),
    ...silent.map(
      (callee): Contribution => ({
        ...contributionOf(callee, { shifts, shift, amount: amount / silent.length }),
        text: `${percentText(shift.after)} of the requests of its caller ${entity} failed while it was silent`,
        kind: "crash",
      }),
    ),
  ];
}

function ofEdge(edge: Edge, options: { shifts: Shifts; context: ExternalContext }): Contribution[] {
  const { shifts, context } = options;
  const shift = shifts.edges.get(edge.id);
  if (shift === undefined || shift.added === 0 || context.hasClientSpans(edge.id)) return [];
  const own = Math.max(0, edgeFlow(edge, shifts) - flowOf(edge.target, shifts));
  const amount = shifts.channel === "latency" ? own * shifts.traffic(edge.target) : own;
  if (amount === 0) return [];
  const told = contributionOf(edge.target, { shifts, shift, amount });
  const arriving = context.neighbourhood
    .callers(edge.target)
    .flatMap((caller) => context.neighbourhood.edgeBetween(caller, edge.target) ?? []);
  const suffering = arriving.filter((other) => edgeFlow(other, shifts) > edgeFlow(edge, shifts) / 2).length / arriving.length;
  const text = `${told.text.replace(", more than its callees explain", "")} on the way from ${edge.source} to ${edge.target}`;
  return [
    { ...told, text, amount: amount * 0.9 * suffering, kind: "network" },
    { ...told, text, type: "dependency", id: edge.id, amount: amount * (suffering < 0.75 ? 1 : 0.8), kind: "network" },
  ];
}

function contributionOf(entity: string, options: { shifts: Shifts; shift: Shift; amount: number }): Contribution {
  const { shift, shifts } = options;
  const onsets = shift.series.flatMap(({ deviation }) => (deviation.onsetMs === null ? [] : [deviation.onsetMs]));
  const slower = `latency rose from ${secondsText(shift.before)} to ${secondsText(shift.after)}, more than its callees explain`;
  const failing = `${percentText(shift.after)} of its requests failed instead of ${percentText(shift.before)}, more than its callees explain`;
  return {
    type: "entity",
    id: entity,
    channel: shifts.channel,
    amount: options.amount,
    text: shifts.channel === "latency" ? slower : failing,
    evidence: shift.series.map(({ series }) => series.id),
    onsetMs: onsets.length === 0 ? null : Math.min(...onsets),
    kind: shifts.channel === "latency" ? "code-slow" : "code-error",
  };
}

/** Requests per second of each entity; the middle one's for entities that report none, 1 where nobody does. */
function trafficOf(view: MetricView): (entity: string) => number {
  const rates = new Map<string, number>();
  for (const [entity, all] of view.entities) {
    const found = firstHand(all.filter(({ series }) => series.kind === "traffic" && series.attributes === ""));
    if (found.length > 0) rates.set(entity, Math.max(...found.map(({ deviation }) => Math.max(deviation.before, deviation.after))));
  }
  const middle = rates.size === 0 ? 1 : median(rates.values());
  return (entity) => rates.get(entity) ?? (middle > 0 ? middle : 1);
}

/** How much of a statistic's shift the mean of all requests has at least, roughly: few requests lie beyond a high quantile. */
const meanShare: Readonly<Partial<Record<Statistic, number>>> = { mean: 1, value: 1, p50: 0.7, p95: 0.2, p99: 0.04 };

/** The largest shift of the mean that any statistic proves, those of the whole before those of single operations. */
function latencyShift(all: readonly Measured[]): Shift | null {
  const latency = wholeOf(ofServing(all).filter(({ series }) => series.kind === "latency" && meanShare[series.statistic] !== undefined));
  const shifts = [...new Set(latency.map(({ series }) => series.statistic))].map((statistic) => {
    const ofStatistic = latency.filter(({ series }) => series.statistic === statistic);
    return { share: meanShare[statistic] ?? 0, shift: shiftOf(ofStatistic, ({ series }) => secondsPer(series.unit) ?? 1) };
  });
  let best: Shift | null = null;
  for (const { share, shift } of shifts) {
    if (shift === null) continue;
    const added = share * shift.added;
    if (best === null || added > best.added) best = { ...shift, added };
  }
  return best;
}

function errorShift(all: readonly Measured[]): Shift | null {
  const errors = ofServing(all).filter(({ series }) => series.kind === "errors");
  const ratios = errors.filter(({ series }) => series.statistic === "error_ratio");
  return shiftOf(wholeOf(ratios.length > 0 ? ratios : errors), () => 1);
}

const otherDurations: ReadonlySet<string> = new Set([
  ...[derivedMetric.clientDuration, derivedMetric.internalDuration, derivedMetric.kernelClientDuration],
]);

/** Series of answers, not of calls: an entity's client durations are its callees' affair; those of a dependency are its own. */
function ofServing(all: readonly Measured[]): readonly Measured[] {
  const serving = all.filter(({ series }) => !otherDurations.has(series.metric));
  return serving.length > 0 ? serving : all.filter(({ measuredAt, series }) => measuredAt === "owner" && series.attributes === "");
}

function wholeOf(all: readonly Measured[]): readonly Measured[] {
  const own = firstHand(all);
  const whole = own.filter(({ series }) => series.attributes === "");
  return whole.length > 0 ? whole : own;
}

function shiftOf(measured: readonly Measured[], perUnit: (item: Measured) => number): Shift | null {
  if (measured.length === 0) return null;
  const rising = measured.filter(({ deviation }) => deviation.z > 0);
  const mean = (values: number[]): number => sumSorted(values) / measured.length;
  const added = mean(rising.map((item) => gateOf(item.deviation.z) * (item.deviation.after - item.deviation.before) * perUnit(item)));
  return {
    added: Math.max(0, added),
    before: mean(measured.map((item) => item.deviation.before * perUnit(item))),
    after: mean(measured.map((item) => item.deviation.after * perUnit(item))),
    series: rising,
  };
}

/**
 * From amounts to scores. Each channel is normalised on its own before anything is added: a candidate gets its share of
 * the channel's total, damped by what would be nothing worth mentioning there, so that a quiet channel has no voice.
 */
import type { EvidenceSnapshot } from "../contract/evidence.ts";
import { amountOf, type Channel, type Contribution, channels } from "./contribution.ts";
import { explainedShare, strongestBelow } from "./explain-away.ts";
import { firstHand, gateOf, type MetricView } from "./metric-view.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { saturate, sumSorted } from "./robust-statistics.ts";
import { secondsPer } from "./scale-floor.ts";
import { excessNs, type SpanView, totalOf, typicalOf } from "./span-view.ts";

const weights: Readonly<Record<Channel, number>> = {
  errors: 1,
  latency: 1,
  internal: 0.5,
  saturation: 0.3,
  logs: 0.3,
  events: 1,
  silence: 0.5,
  load: 0.25,
};

/** Share of the busiest flow of requests whose failure is half of full weight. */
const errorShare = 0.01;
/** Share of the normal busy time that, when added, is half of full weight. */
const latencyShare = 0.1;
/** Strengths of this size in all are half of full weight. */
const strengthHalf: Readonly<Record<Exclude<Channel, "errors" | "latency">, number>> = {
  internal: 0.6,
  saturation: 0.5,
  logs: 0.4,
  events: 1,
  silence: 0.3,
  load: 1,
};

/** What the whole system normally does: the yardstick of what is worth mentioning. */
export interface Scale {
  readonly requestsPerSecond: number;
  /** Requests in flight on average. */
  readonly busy: number;
}

/** How much each of the two channels of damage counts, by what the symptoms themselves show; 1 where they show nothing. */
export interface Damage {
  readonly errors: number;
  readonly latency: number;
}

/** Slowness that no symptom feels, and failures that none passes on, keep this much of their weight. */
const unfeltWeight = 0.3;

/** Whether the symptoms fail or are slow. Both weigh 1 where no symptom has spans or series of its own. */
export function damageOf(
  snapshot: EvidenceSnapshot,
  context: { neighbourhood: Neighbourhood; spans: SpanView; metrics: MetricView; scale: Scale },
): Damage {
  const entities = [...new Set(snapshot.symptoms.map((symptom) => context.neighbourhood.fold(symptom.entity)))];
  const errors = entities.map((entity) => failedMore(entity, context));
  const latency = entities.map((entity) => slowedBy(entity, context));
  const weight = (felt: number, half: number): number => unfeltWeight + (1 - unfeltWeight) * Math.min(1, 2 * saturate(felt, half));
  const feltErrors = Math.max(0, ...errors);
  const feltLatency = Math.max(0, ...latency);
  if (feltErrors === 0 && feltLatency === 0) return { errors: 1, latency: 1 };
  return {
    errors: weight(feltErrors, halfOf("errors", context.scale)),
    latency: weight(feltLatency, halfOf("latency", context.scale)),
  };
}

interface DamageContext {
  readonly spans: SpanView;
  readonly metrics: MetricView;
}

/** Failed requests per second that a symptom did not have before. */
function failedMore(entity: string, { spans, metrics }: DamageContext): number {
  const server = spans.entities.get(entity)?.server ?? [];
  const before = totalOf(server, "normal", "count");
  if (before > 0) {
    const usual = (totalOf(server, "normal", "failed") / before) * totalOf(server, "abnormal", "count");
    return Math.max(0, totalOf(server, "abnormal", "failed") - usual) / spans.faultSeconds;
  }
  const all = firstHand((metrics.entities.get(entity) ?? []).filter(({ series }) => series.statistic === "error_ratio"));
  const added = all
    .filter(({ deviation }) => deviation.z > 0)
    .map(({ deviation }) => gateOf(deviation.z) * (deviation.after - deviation.before));
  return Math.max(0, ...added) * metricFlow(metrics, entity).requestsPerSecond;
}

/** Busy seconds per second that a symptom did not have before. */
function slowedBy(entity: string, { spans, metrics }: DamageContext): number {
  const server = spans.entities.get(entity)?.server ?? [];
  if (totalOf(server, "normal", "count") > 0) {
    return sumSorted(server.map((one) => (one.abnormal.count * excessNs(one.normal, one.abnormal)) / 1e9)) / spans.faultSeconds;
  }
  const all = firstHand((metrics.entities.get(entity) ?? []).filter(({ series }) => series.kind === "latency"));
  const added = all
    .filter(({ deviation }) => deviation.z > 0)
    .map(({ series, deviation }) => gateOf(deviation.z) * (deviation.after - deviation.before) * (secondsPer(series.unit) ?? 1));
  return Math.max(0, ...added) * metricFlow(metrics, entity).requestsPerSecond;
}

/** Flow and busy time at the symptoms, or at the busiest entity where no symptom has any. */
export function scaleOf(
  snapshot: EvidenceSnapshot,
  context: { neighbourhood: Neighbourhood; spans: SpanView; metrics: MetricView },
): Scale {
  const { neighbourhood, spans, metrics } = context;
  const flowOf = (entity: string): Scale => {
    const server = spans.entities.get(entity)?.server ?? [];
    const count = totalOf(server, "normal", "count");
    if (count > 0) {
      const requestsPerSecond = count / spans.normalSeconds;
      return { requestsPerSecond, busy: (requestsPerSecond * (typicalOf(server, "normal") ?? 0)) / 1e9 };
    }
    return metricFlow(metrics, entity);
  };
  const symptoms = snapshot.symptoms.map((symptom) => flowOf(neighbourhood.fold(symptom.entity))).filter((flow) => flow.busy > 0);
  const all = symptoms.length > 0 ? symptoms : neighbourhood.entities.map((entity) => flowOf(entity.id));
  return {
    requestsPerSecond: Math.max(0, ...all.map((flow) => flow.requestsPerSecond)),
    busy: Math.max(0, ...all.map((flow) => flow.busy)),
  };
}

function metricFlow(metrics: MetricView, entity: string): Scale {
  const all = metrics.entities.get(entity) ?? [];
  const rates = firstHand(all.filter(({ series }) => series.kind === "traffic" && series.attributes === "")).map(
    ({ deviation }) => deviation.before,
  );
  const requestsPerSecond = rates.length === 0 ? 1 : Math.max(0, ...rates);
  const durations = firstHand(
    all.filter(({ series }) => series.kind === "latency" && (series.statistic === "mean" || series.statistic === "p50")),
  ).map(({ series, deviation }) => deviation.before * (secondsPer(series.unit) ?? 1));
  return { requestsPerSecond, busy: requestsPerSecond * Math.max(0, ...durations) };
}

export interface Weighed {
  /** Share of each channel, 0..1. */
  readonly shares: Readonly<Record<Channel, number>>;
  readonly relevance: number;
  /** 0..1: what the strongest candidate below explains; entities only. */
  readonly explained: number;
  readonly explainedBy: string | null;
  readonly score: number;
}

/** Channels in which a caller shows what its callees did: lines about failed calls, pools held while waiting. */
const symptoms: ReadonlySet<Channel> = new Set(["logs", "events", "saturation"]);
/** How much of those and of the whole is taken back where something below explains it. */
const explainedOfLogs = 0.9;
const explainedOfAll = 0.4;

/** Scores of all candidates with evidence, by candidate key, before changes. */
export function weigh(
  evidence: ReadonlyMap<string, readonly Contribution[]>,
  context: { neighbourhood: Neighbourhood; scale: Scale; damage: Damage; relevanceOf: (key: string) => number },
): Map<string, Weighed> {
  const shares = sharesOf(evidence, context.scale, context.damage);
  const first = entityScores(
    evidence,
    shares,
    (share) => share.errors * weights.errors + share.latency * weights.latency + share.silence * weights.silence,
  );
  const belowFirst = strongestBelow(first, context.neighbourhood);
  const partial = new Map<string, number>();
  for (const [key, share] of shares) {
    const id = entityOf(evidence, key);
    const explained = id === null ? 0 : explainedShare(first.get(id) ?? 0, belowFirst.get(id));
    const symptomatic = 1 - explainedOfLogs * explained;
    partial.set(key, totalScore(share, symptomatic) * context.relevanceOf(key));
  }
  const scores = entityScores(evidence, shares, (_, key) => partial.get(key) ?? 0);
  const below = strongestBelow(scores, context.neighbourhood);
  const weighed = new Map<string, Weighed>();
  for (const [key, share] of shares) {
    const id = entityOf(evidence, key);
    const own = partial.get(key) ?? 0;
    const explained = id === null ? 0 : explainedShare(own, below.get(id));
    weighed.set(key, {
      shares: share,
      relevance: context.relevanceOf(key),
      explained,
      explainedBy: id === null ? null : (below.get(id)?.entity ?? null),
      score: own * (1 - explainedOfAll * explained),
    });
  }
  return weighed;
}

function totalScore(share: Readonly<Record<Channel, number>>, symptomatic: number): number {
  return sumSorted(channels.map((channel) => weights[channel] * share[channel] * (symptoms.has(channel) ? symptomatic : 1)));
}

function entityOf(evidence: ReadonlyMap<string, readonly Contribution[]>, key: string): string | null {
  const first = evidence.get(key)?.[0];
  return first === undefined || first.type !== "entity" ? null : first.id;
}

function entityScores(
  evidence: ReadonlyMap<string, readonly Contribution[]>,
  shares: ReadonlyMap<string, Readonly<Record<Channel, number>>>,
  score: (share: Readonly<Record<Channel, number>>, key: string) => number,
): Map<string, number> {
  const scores = new Map<string, number>();
  for (const [key, share] of shares) {
    const id = entityOf(evidence, key);
    if (id !== null) scores.set(id, score(share, key));
  }
  return scores;
}

function feltOf(channel: Channel, damage: Damage): number {
  return channel === "errors" || channel === "latency" ? damage[channel] : 1;
}

function halfOf(channel: Channel, scale: Scale): number {
  if (channel === "errors") return Math.max(errorShare * scale.requestsPerSecond, 1e-9);
  if (channel === "latency") return Math.max(latencyShare * scale.busy, 1e-9);
  return strengthHalf[channel];
}

function sharesOf(
  evidence: ReadonlyMap<string, readonly Contribution[]>,
  scale: Scale,
  damage: Damage,
): Map<string, Record<Channel, number>> {
  const shares = new Map<string, Record<Channel, number>>();
  for (const key of evidence.keys())
    shares.set(key, { errors: 0, latency: 0, internal: 0, saturation: 0, logs: 0, events: 0, silence: 0, load: 0 });
  for (const channel of channels) {
    const amounts = [...evidence].map(([key, contributions]) => ({ key, amount: amountOf(contributions, channel) }));
    const total = sumSorted(amounts.map((item) => item.amount));
    if (total === 0) continue;
    for (const { key, amount } of amounts) {
      const share = shares.get(key);
      if (share !== undefined) share[channel] = (amount / (total + halfOf(channel, scale))) * feltOf(channel, damage);
    }
  }
  return shares;
}

/** The candidates of a snapshot with score, role, kind, claims and features. */
import { roundScore } from "../contract/canonical.ts";
import type { RankedCandidate } from "../contract/verdict.ts";
import { arranged, claimOf, claimsAgainst, claimsFor } from "./claims.ts";
import { amountOf, type Contribution, candidateKey, channels } from "./contribution.ts";
import type { WeighedChange } from "./evidence-change.ts";
import { kindOfCandidate, kindOfChangeCandidate } from "./fault-kind.ts";
import { gateOf, type Measured, type MetricView } from "./metric-view.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import { saturate } from "./robust-statistics.ts";
import { type SpanView, totalOf } from "./span-view.ts";
import type { Weighed } from "./weigh.ts";
import { secondsText } from "./wording.ts";

/** What the ranker concluded from all evidence, before it is put into candidates. */
export interface Judgement {
  readonly neighbourhood: Neighbourhood;
  readonly metrics: MetricView;
  readonly spans: SpanView;
  readonly evidence: ReadonlyMap<string, readonly Contribution[]>;
  readonly weighed: ReadonlyMap<string, Weighed>;
  readonly changes: readonly WeighedChange[];
  /** The most telling change of an entity or dependency. */
  changeOf(id: string): WeighedChange | undefined;
  saturationOf(entity: string): number;
  /** Who told all of this evidence, where that is the kernel. */
  sourceOf(evidence: readonly string[]): "kernel" | undefined;
}

/** A change just before makes its entity's own deviation this much more telling, at most. */
const changeBoost = 0.35;
/** A change comes close behind its entity, never before it: what deviated was seen, that the change did it is inferred. */
const changeShare = 0.95;
/** Weight of deviations that are no evidence. */
const faintShare = 0.001;
/** Of the first score: from here a candidate is a cause beside the first. */
const causeShare = 0.75;

/** All candidates, in no particular order. */
export function candidatesOf(judgement: Judgement): RankedCandidate[] {
  const owners = [
    ...judgement.neighbourhood.entities.map((entity) => ({ type: "entity" as const, id: entity.id })),
    ...judgement.neighbourhood.edges.map((edge) => ({ type: "dependency" as const, id: edge.id })),
  ];
  const scores = new Map(owners.map((owner) => [candidateKey(owner.type, owner.id), boostedScore(owner, judgement)]));
  const changeScores = judgement.changes.map(
    (item) => changeShare * item.weight * (scores.get(candidateKey(item.target.type, item.target.id)) ?? 0),
  );
  const best = Math.max(0, ...scores.values(), ...changeScores);
  const firstOnset = firstOnsetOf(judgement, scores, best);
  const ranked = owners.map((owner) =>
    ownerCandidate(owner, judgement, { score: scores.get(candidateKey(owner.type, owner.id)) ?? 0, best, firstOnset }),
  );
  const changes = judgement.changes.map((item, index) => changeCandidate(item, { score: changeScores[index] ?? 0, best }));
  return [...ranked, ...changes];
}

function boostedScore(owner: { type: "entity" | "dependency"; id: string }, judgement: Judgement): number {
  const own = judgement.weighed.get(candidateKey(owner.type, owner.id))?.score ?? 0;
  const change = judgement.changeOf(owner.id);
  return own * (1 + changeBoost * (change?.weight ?? 0)) + faintShare * faintStrength(owner, judgement);
}

/** What deviates too little to be evidence still orders candidates that have none, so that a ranking is always there. */
function faintStrength(owner: { type: "entity" | "dependency"; id: string }, judgement: Judgement): number {
  const { metrics, neighbourhood } = judgement;
  const largest = (all: readonly Measured[] | undefined): number =>
    Math.max(
      0,
      ...(all ?? [])
        .filter(({ series }) => series.kind !== "traffic" && series.kind !== "log")
        .map(({ deviation }) => Math.abs(deviation.z)),
    );
  if (owner.type === "dependency") return saturate(largest(metrics.edges.get(owner.id)), 3);
  const callees = neighbourhood.callees(owner.id).map((callee) => largest(metrics.entities.get(callee)));
  return saturate(Math.max(0, largest(metrics.entities.get(owner.id)) - Math.max(0, ...callees)), 3);
}

/** The earliest onset among the candidates that matter. */
function firstOnsetOf(judgement: Judgement, scores: ReadonlyMap<string, number>, best: number): number | null {
  const onsets: number[] = [];
  for (const [key, score] of scores) {
    if (score < best * 0.25 || score === 0) continue;
    const onset = onsetOf(judgement.evidence.get(key) ?? [], key, judgement);
    if (onset !== null) onsets.push(onset);
  }
  return onsets.length === 0 ? null : Math.min(...onsets);
}

/** Firm series decide when it began; claims that know better (silence, a new line) come first where they are earlier. */
function onsetOf(contributions: readonly Contribution[], key: string, judgement: Judgement): number | null {
  const [type, id] = key.split("\n");
  const measured = (type === "entity" ? judgement.metrics.entities : judgement.metrics.edges).get(id ?? "") ?? [];
  const onsets = measured
    .filter(({ series, deviation }) => series.kind !== "traffic" && series.kind !== "other" && gateOf(deviation.z) > 0.6)
    .flatMap(({ deviation }) => (deviation.onsetMs === null ? [] : [deviation.onsetMs]));
  for (const item of contributions)
    if (item.onsetMs !== null && item.channel !== "internal" && item.channel !== "saturation") onsets.push(item.onsetMs);
  return onsets.length === 0 ? null : Math.min(...onsets);
}

function ownerCandidate(
  owner: { type: "entity" | "dependency"; id: string },
  judgement: Judgement,
  context: { score: number; best: number; firstOnset: number | null },
): RankedCandidate {
  const key = candidateKey(owner.type, owner.id);
  const contributions = judgement.evidence.get(key) ?? [];
  const weighed = judgement.weighed.get(key) ?? null;
  const change = judgement.changeOf(owner.id) ?? null;
  const onset = onsetOf(contributions, key, judgement);
  const weightOf = claimWeights(contributions, weighed);
  const claims = claimsFor(contributions, { weightOf, sourceOf: judgement.sourceOf });
  if (change !== null && context.score > 0) claims.push(changeClaim(change, context.score));
  if (contributions.length > 0) claims.push(...counterClaims(owner, judgement, { weighed, onset, firstOnset: context.firstOnset }));
  return {
    type: owner.type,
    id: owner.id,
    score: roundScore(context.score),
    kind: kindOf(owner, judgement, { contributions, change, weightOf }),
    role: roleOf(owner, judgement, context),
    onsetMs: onset,
    features: featuresOf(weighed, change),
    claims: arranged(claims),
  };
}

/** A contribution's part of the candidate's score: its part of the channel's share. */
function claimWeights(contributions: readonly Contribution[], weighed: Weighed | null): (item: Contribution) => number {
  const totals = new Map(channels.map((channel) => [channel, amountOf(contributions, channel)]));
  return (item) => {
    const total = totals.get(item.channel) ?? 0;
    return total === 0 || weighed === null ? 0 : (weighed.shares[item.channel] * item.amount) / total;
  };
}

function changeClaim(item: WeighedChange, score: number): ReturnType<typeof claimOf> {
  const when = item.lagMs <= 0 ? "as it began" : `${secondsText(item.lagMs / 1_000)} before it began`;
  return claimOf({
    text: `${item.change.kind} "${item.change.summary}" ${when}`,
    stance: "for",
    weight: changeBoost * item.weight * score,
    evidence: [`change:${item.change.id}`],
    onsetMs: item.change.atMs,
  });
}

function counterClaims(
  owner: { type: "entity" | "dependency"; id: string },
  judgement: Judgement,
  context: { weighed: Weighed | null; onset: number | null; firstOnset: number | null },
): ReturnType<typeof claimsAgainst> {
  const measured = owner.type === "entity" ? (judgement.metrics.entities.get(owner.id) ?? []) : [];
  const quiet = measured.filter(
    ({ series, deviation }) => series.scope === "internal" && series.kind !== "other" && gateOf(deviation.z) === 0,
  );
  return claimsAgainst({
    explained: context.weighed?.explained ?? 0,
    explainedBy: context.weighed?.explainedBy ?? null,
    relevance: context.weighed?.relevance ?? 1,
    quietInternal: quiet.map(({ series }) => series.id),
    laterByMs: context.onset === null || context.firstOnset === null ? null : context.onset - context.firstOnset,
  });
}

function kindOf(
  owner: { type: "entity" | "dependency"; id: string },
  judgement: Judgement,
  context: { contributions: readonly Contribution[]; change: WeighedChange | null; weightOf: (item: Contribution) => number },
): RankedCandidate["kind"] {
  const { neighbourhood } = judgement;
  if (context.contributions.length === 0) return null;
  return kindOfCandidate(context.contributions, {
    entity: owner.type === "entity" ? neighbourhood.entityOf(owner.id) : null,
    change: context.change,
    weightOf: context.weightOf,
    callsDatastore: neighbourhood.callees(owner.id).some((callee) => neighbourhood.entityOf(callee)?.type === "datastore"),
    saturation: owner.type === "entity" ? judgement.saturationOf(owner.id) : 0,
  });
}

function roleOf(
  owner: { type: "entity" | "dependency"; id: string },
  judgement: Judgement,
  context: { score: number; best: number },
): RankedCandidate["role"] {
  if (context.score > 0 && context.score >= context.best * causeShare) return "cause";
  if (owner.type === "dependency") return context.score > 0 ? "impact" : "none";
  const server = judgement.spans.entities.get(owner.id)?.server ?? [];
  const failed = totalOf(server, "abnormal", "failed") / Math.max(1, totalOf(server, "abnormal", "count"));
  const before = totalOf(server, "normal", "failed") / Math.max(1, totalOf(server, "normal", "count"));
  const measured = judgement.metrics.entities.get(owner.id) ?? [];
  const firm = measured.filter(({ deviation }) => gateOf(deviation.z) > 0.6);
  if (failed > before + 0.05 || firm.some(({ series, deviation }) => series.kind === "errors" && deviation.z > 0))
    return "critical-failure";
  if (context.score > context.best * 0.05 || firm.some(({ series }) => series.kind === "latency" || series.kind === "traffic"))
    return "impact";
  return "none";
}

function featuresOf(weighed: Weighed | null, change: WeighedChange | null): Record<string, number> {
  const features: Record<string, number> = { change: roundScore(change?.weight ?? 0) };
  for (const channel of channels) features[channel] = roundScore(weighed?.shares[channel] ?? 0);
  features.explained = roundScore(weighed?.explained ?? 0);
  features.relevance = roundScore(weighed?.relevance ?? 1);
  return features;
}

function changeCandidate(item: WeighedChange, context: { score: number; best: number }): RankedCandidate {
  const cause = context.score > 0 && context.score >= context.best * 0.5;
  return {
    type: "change",
    id: item.change.id,
    score: roundScore(context.score),
    kind: kindOfChangeCandidate(item.change.kind),
    role: cause ? "cause" : "none",
    onsetMs: item.change.atMs,
    features: { change: roundScore(item.weight) },
    claims: context.score > 0 ? [changeClaim(item, context.score)] : [],
  };
}

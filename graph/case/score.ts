/**
 * The one scorer, for benchmarks and the drill; no file of the ranker imports it. Instances and stand-ins are folded into
 * what they stand for before anything is counted.
 */
import type { EvidenceSnapshot } from "../../contract/evidence.ts";

/** One acceptable answer of a case; `kind` may be any string. */
export interface TruthItem {
  readonly type: "entity" | "dependency" | "change";
  readonly id: string;
  readonly kind: string | null;
}

export interface ScoredCandidate {
  readonly type: "entity" | "dependency" | "change";
  readonly id: string;
  readonly score: number;
  readonly kind: string | null;
}

export interface RankedTruth {
  /** Place of the first acceptable answer in the printed list, from 1; one past its end when it is not in it. */
  readonly rankStrict: number;
  /** Candidates with a score at least that of the best acceptable answer; as above when there is none. */
  readonly rankPessimistic: number;
  /** 1 when the first of the ranking is acceptable, else 0. */
  readonly hit: 0 | 1;
}

/** Entity id → the entity it counts for. */
export function foldOf(snapshot: EvidenceSnapshot): (id: string) => string {
  const aliases = new Map(snapshot.entities.flatMap((entity) => (entity.alias === null ? [] : [[entity.id, entity.alias] as const])));
  return (id) => {
    let end = id;
    for (let step = 0; step < aliases.size; step += 1) {
      const next = aliases.get(end);
      if (next === undefined || next === end) break;
      end = next;
    }
    return end;
  };
}

/** Where the truth stands in a ranking; `ranking` is in its printed order. */
export function rankTruth(ranking: readonly ScoredCandidate[], truth: readonly TruthItem[], fold: (id: string) => string): RankedTruth {
  const keyOf = (item: { type: string; id: string }): string => `${item.type}\n${item.type === "entity" ? fold(item.id) : item.id}`;
  const folded = new Map<string, number>();
  for (const candidate of ranking) {
    const key = keyOf(candidate);
    folded.set(key, Math.max(folded.get(key) ?? Number.NEGATIVE_INFINITY, candidate.score));
  }
  const accepted = new Set(truth.map(keyOf));
  const places = [...folded.keys()];
  const place = places.findIndex((key) => accepted.has(key));
  if (place < 0) return { rankStrict: places.length + 1, rankPessimistic: places.length + 1, hit: 0 };
  const best = Math.max(...places.filter((key) => accepted.has(key)).map((key) => folded.get(key) ?? 0));
  const atLeast = [...folded.values()].filter((score) => score >= best).length;
  return { rankStrict: place + 1, rankPessimistic: atLeast, hit: place === 0 ? 1 : 0 };
}

export interface Estimate {
  readonly value: number;
  readonly lower: number;
  readonly upper: number;
}

/** 97.5 % quantile of the normal distribution. */
const z95 = 1.959963984540054;

/** A share of successes with Wilson's 95 % interval; 0 of 0 is 0 with the whole range. */
export function wilson(successes: number, count: number): Estimate {
  if (count === 0) return { value: 0, lower: 0, upper: 1 };
  const share = successes / count;
  const square = z95 * z95;
  const centre = (share + square / (2 * count)) / (1 + square / count);
  const half = (z95 / (1 + square / count)) * Math.sqrt((share * (1 - share)) / count + square / (4 * count * count));
  return { value: share, lower: Math.max(0, centre - half), upper: Math.min(1, centre + half) };
}

const resamples = 1_000;

/** The mean of values with a 95 % interval from resampling the cases with a fixed seed. */
export function bootstrapMean(values: readonly number[]): Estimate {
  if (values.length === 0) return { value: 0, lower: 0, upper: 0 };
  const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length;
  let state = 0x9e3779b9;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4_294_967_296;
  };
  const means = Array.from({ length: resamples }, () => mean(values.map(() => values[Math.floor(next() * values.length)] ?? 0)));
  means.sort((left, right) => left - right);
  return { value: mean(values), lower: means[Math.floor(resamples * 0.025)] ?? 0, upper: means[Math.ceil(resamples * 0.975) - 1] ?? 0 };
}

export interface RankSummary {
  readonly count: number;
  readonly top1: Estimate;
  readonly top3: Estimate;
  /** Mean of top-1 … top-5. */
  readonly averageAt5: Estimate;
  readonly reciprocal: Estimate;
}

/** Figures over the ranks of many cases. */
export function summariseRanks(ranks: readonly number[]): RankSummary {
  const within = (k: number): number => ranks.filter((rank) => rank <= k).length;
  return {
    count: ranks.length,
    top1: wilson(within(1), ranks.length),
    top3: wilson(within(3), ranks.length),
    averageAt5: bootstrapMean(ranks.map((rank) => Math.max(0, 6 - rank) / 5)),
    reciprocal: bootstrapMean(ranks.map((rank) => 1 / rank)),
  };
}

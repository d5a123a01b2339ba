/** One piece of evidence about one candidate, in the unit of its channel, before anything is weighed or added. */
import type { FaultKind } from "../contract/verdict.ts";
import { sumSorted } from "./robust-statistics.ts";

/**
 * What amounts can be added with each other:
 * `errors` failed requests per second that began here · `latency` busy seconds per second added here ·
 * `internal`, `saturation`, `logs`, `events`, `silence`, `load` strengths of 0..1 per item.
 */
export const channels = ["errors", "latency", "internal", "saturation", "logs", "events", "silence", "load"] as const;
export type Channel = (typeof channels)[number];

export interface Contribution {
  readonly type: "entity" | "dependency";
  readonly id: string;
  readonly channel: Channel;
  readonly amount: number;
  /** The statement for people. */
  readonly text: string;
  readonly evidence: readonly string[];
  readonly onsetMs: number | null;
  /** What kind of fault this points to, where it does. */
  readonly kind: FaultKind | null;
}

/** Identity of a candidate as one string; no entity id contains a line feed by accident of joining. */
export function candidateKey(type: "entity" | "dependency" | "change", id: string): string {
  return `${type}\n${id}`;
}

/** Contributions by candidate key. */
export function byCandidate(contributions: readonly Contribution[]): Map<string, Contribution[]> {
  const lists = new Map<string, Contribution[]>();
  for (const contribution of contributions) {
    if (!(contribution.amount > 0)) continue;
    const key = candidateKey(contribution.type, contribution.id);
    const list = lists.get(key);
    if (list === undefined) lists.set(key, [contribution]);
    else list.push(contribution);
  }
  return lists;
}

/** The sum of one channel over a candidate's contributions. */
export function amountOf(contributions: readonly Contribution[], channel: Channel): number {
  return sumSorted(contributions.filter((item) => item.channel === channel).map((item) => item.amount));
}

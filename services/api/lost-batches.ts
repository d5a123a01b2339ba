/** Acknowledged batches that are missing: what is known of them from one reading to the next, and the trouble that tells of them. */
import { type LostGroup, lostBatchesPartition, lostKeptMs, severalGateways } from "../../contract/lost-batches.ts";
import type { SeenProcess } from "../../contract/port.ts";
import type { Trouble } from "../../contract/route.ts";
import type { TroubleFacts } from "./trouble-facts.ts";

/** Whoever takes up the account has read it again up to now within this time, and that is announced within 2 s more. */
const readAgainWithinMs = 10_000;
const detailsMax = 20;

/** Fewer may be missing because late ones came, or because somebody who takes up the account has not read all of the log again. */
export class LostBatchesMemory {
  #known: readonly LostGroup[] = [];
  #fewerSinceMs: number | null = null;

  /** What is missing now, by who keeps the account; as before while nobody does. `nowMs`: the clock of the API. */
  follow(seen: readonly SeenProcess[], nowMs: number): readonly LostGroup[] {
    const isKept = ({ foundAtMs }: LostGroup): boolean => foundAtMs > nowMs - lostKeptMs;
    this.#known = this.#known.filter(isKept);
    const told = keeperOf(seen)?.lostBatches.filter(isKept) ?? this.#known;
    if (countOf(told) >= countOf(this.#known)) this.#fewerSinceMs = null;
    else {
      this.#fewerSinceMs ??= nowMs;
      if (nowMs - this.#fewerSinceMs < readAgainWithinMs) return this.#known;
      this.#fewerSinceMs = null;
    }
    this.#known = told;
    return told;
  }
}

/** Changes only when something more is missing, or was found. */
export function lostBatches(facts: TroubleFacts): Trouble[] {
  const groups = facts.lostBatches;
  const count = countOf(groups);
  if (count === 0) return [];
  return [
    {
      id: "lost-batches",
      weight: "weakened",
      sentence: `${batchesOf(count)} ${count === 1 ? "was" : "were"} lost.`,
      meaning:
        "Figures of that time are too low. Redis with appendfsync everysec loses up to its last second when it is killed or the power fails, with appendfsync always nothing. One that is set aside as a dead letter counts until it is put back.",
      details: groups.slice(-detailsMax).map((group) => `${batchesOf(group.batches)} of ${gatewayOf(group, facts)}, ${foundAt(group)}`),
      command: null,
      commandHost: null,
      sinceMs: groups[0]?.foundAtMs ?? null,
    },
  ];
}

/** A partition that changes hands may be announced by both for a moment: the one that was heard of last has it. */
function keeperOf(seen: readonly SeenProcess[]): SeenProcess | null {
  const keepers = seen.filter(({ partitions }) => partitions.window?.includes(lostBatchesPartition) ?? false);
  return keepers.reduce<SeenProcess | null>((newest, one) => (newest === null || one.atMs > newest.atMs ? one : newest), null);
}

function countOf(groups: readonly LostGroup[]): number {
  return groups.reduce((sum, { batches }) => sum + batches, 0);
}

function batchesOf(count: number): string {
  return count === 1 ? "1 acknowledged batch" : `${count} acknowledged batches`;
}

function gatewayOf({ gateway }: LostGroup, { processes }: TroubleFacts): string {
  if (gateway === severalGateways) return gateway;
  const process = processes.find(({ id }) => id === gateway);
  return process === undefined ? `the gateway ${gateway}` : `the gateway on ${process.host} (pid ${process.pid})`;
}

function foundAt({ foundAtMs }: LostGroup): string {
  return `found at ${new Date(foundAtMs).toISOString().slice(11, 19)} UTC`;
}

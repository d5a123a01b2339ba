/** How many of an entity's server halves had a caller of ours, over the last minute; one table per partition. */
import { sortedBy } from "../../contract/canonical.ts";

const minuteMs = 60_000;
/** An entity is an entry when so many of its last minute's server halves had no caller, and so large a share. */
const unmatchedMin = 20;
const unmatchedShareMin = 0.9;
const entitiesMax = 20_000;

interface Slice {
  readonly atMs: number;
  total: number;
  unmatched: number;
}

export type StoredEntryStatistics = readonly (readonly [string, readonly Slice[]])[];

export class EntryStatistics {
  readonly #slices = new Map<string, Slice[]>();

  count(entity: string, what: "matched" | "unmatched", atMs: number): void {
    let slices = this.#slices.get(entity);
    if (slices === undefined) {
      // Beyond the bound an entity is judged by its root requests alone.
      if (this.#slices.size >= entitiesMax) return;
      slices = [];
      this.#slices.set(entity, slices);
    }
    let slice = slices.at(-1);
    if (slice === undefined || slice.atMs !== atMs) {
      slice = { atMs, total: 0, unmatched: 0 };
      slices.push(slice);
    }
    slice.total += 1;
    if (what === "unmatched") slice.unmatched += 1;
  }

  /** Forgets what is older than a minute. */
  forgetOld(nowMs: number): void {
    for (const [entity, slices] of this.#slices) {
      const kept = slices.filter(({ atMs }) => atMs > nowMs - minuteMs);
      if (kept.length === 0) this.#slices.delete(entity);
      else if (kept.length < slices.length) this.#slices.set(entity, kept);
    }
  }

  of(entity: string, nowMs: number): { total: number; unmatched: number } {
    let total = 0;
    let unmatched = 0;
    for (const slice of this.#slices.get(entity) ?? []) {
      if (slice.atMs <= nowMs - minuteMs || slice.atMs > nowMs) continue;
      total += slice.total;
      unmatched += slice.unmatched;
    }
    return { total, unmatched };
  }

  toJSON(): StoredEntryStatistics {
    return sortedBy(this.#slices, ([entity]) => entity);
  }

  restore(stored: StoredEntryStatistics): void {
    for (const [entity, slices] of stored) this.#slices.set(entity, [...slices]);
  }
}

/** Whether the entity is called by outsiders, by the tables of all partitions. */
export function isCalledFromOutside(tables: Iterable<EntryStatistics>, entity: string, nowMs: number): boolean {
  let total = 0;
  let unmatched = 0;
  for (const table of tables) {
    const counted = table.of(entity, nowMs);
    total += counted.total;
    unmatched += counted.unmatched;
  }
  return unmatched >= unmatchedMin && unmatched >= unmatchedShareMin * total;
}

/** How many of an entity's server halves had a caller of ours, over the last minute; one table per partition. */
import { sortedBy } from "../../contract/canonical.ts";

const minuteMs = 60_000;
/** An entity is an entry when so many of its last minute's server halves had no caller, and so large a share. */
const unmatchedMin = 20;
const unmatchedShareMin = 0.9;
/** The kernel's halves are a few of many connections, chosen alike at both ends; so many without a caller are enough. */
const kernelUnmatchedMin = 4;
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

/** Whether the entity is called by outsiders, by the spans of all partitions. */
export function isCalledFromOutside(tables: Iterable<EntryStatistics>, entity: string, nowMs: number): boolean {
  const { total, unmatched } = counted(tables, entity, nowMs);
  return unmatched >= unmatchedMin && unmatched >= unmatchedShareMin * total;
}

/**
 * Whether the kernel sees callers that nobody knows, of an entity of which no spans say who calls it: a caller on a host without an agent
 * looks like an outsider to the kernel, and only to the kernel.
 */
export function isSeenFromOutside(
  of: { readonly tables: Iterable<EntryStatistics>; readonly kernelTables: Iterable<EntryStatistics> },
  entity: string,
  nowMs: number,
): boolean {
  if (counted(of.tables, entity, nowMs).total > 0) return false;
  const { total, unmatched } = counted(of.kernelTables, entity, nowMs);
  return unmatched >= kernelUnmatchedMin && unmatched >= unmatchedShareMin * total;
}

function counted(tables: Iterable<EntryStatistics>, entity: string, nowMs: number): { total: number; unmatched: number } {
  let total = 0;
  let unmatched = 0;
  for (const table of tables) {
    const here = table.of(entity, nowMs);
    total += here.total;
    unmatched += here.unmatched;
  }
  return { total, unmatched };
}

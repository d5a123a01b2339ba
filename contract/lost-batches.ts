/**
 * Which acknowledged batches never came (design §4, Acknowledged): numbers of sources that were given up, until they come after all.
 * Every partition sees the same numbers, so one of them keeps the account for all.
 */
import { z } from "zod";
import { compareCodeUnits } from "./canonical.ts";

/** The partition of the window log whose reader keeps the account. */
export const lostBatchesPartition = 0;
/** For so long after it was found, a loss is told. */
export const lostKeptMs = 3_600_000;
/** Losses of a gateway that are told; the oldest two become one beyond that. */
export const lostGroupsMax = 100;
/** Stands for the gateways of losses that became one. */
export const severalGateways = "several gateways";
/** What is found within so long after the first belongs to the same loss. */
const groupMs = 60_000;
/** Gaps that a late batch can still take out of the account; one beyond that is final as soon as it is found. */
const gapsMax = 10_000;
/** Whoever sends at all has sent once in this time: a source that is new after it has begun to count since. */
const sourcesKnownAfterMs = 600_000;

/** Batches of one gateway that were found to be lost at about the same time. */
export const LostGroup = z.object({
  gateway: z.string().max(64),
  /** When the first of them was given up, by the clock of the gateways. */
  foundAtMs: z.number().int(),
  batches: z.number().int().positive(),
});
export type LostGroup = z.infer<typeof LostGroup>;

/** Numbers of a source that were given up. */
export interface GivenUp {
  readonly source: string;
  readonly gateway: string;
  readonly from: number;
  /** The last one. */
  readonly to: number;
  /** `first`: nothing of the source had been seen before them. */
  readonly place: "first" | "between";
}

interface Group {
  readonly gateway: string;
  readonly foundAtMs: number;
  batches: number;
}

interface Gap {
  readonly from: number;
  readonly to: number;
  readonly group: Group;
}

/** The checkpoint's form; gaps are `[source, from, to, place of their group]`. */
export interface LostBatchesState {
  readonly sinceMs: number | null;
  readonly nowMs: number;
  readonly sourcesForgotten: number;
  readonly groups: readonly LostGroup[];
  readonly gaps: readonly (readonly [string, number, number, number])[];
}

/** A pure function of what it was told, in the order it was told, so that whoever reads the log again finds the same. */
export class LostBatches {
  readonly #onBound: () => void;
  /** Oldest first. */
  #groups: Group[] = [];
  /** By source, in the order in which they were found. */
  readonly #gaps = new Map<string, Gap[]>();
  #gapCount = 0;
  #sinceMs: number | null = null;
  #nowMs = 0;
  #sourcesForgotten = 0;

  /** `onBound`: a gap was final at once, or two losses became one, because there were too many. */
  constructor(options: { readonly onBound: () => void }) {
    this.#onBound = options.onBound;
  }

  /** A batch that the gateway received then has come. */
  observe(receivedAtMs: number): void {
    this.#sinceMs ??= receivedAtMs;
    this.#nowMs = Math.max(this.#nowMs, receivedAtMs);
    const oldest = this.#groups[0];
    if (oldest !== undefined && oldest.foundAtMs < this.#nowMs - lostKeptMs) this.#forget(oldest);
  }

  /** A source that comes back after it was forgotten looks as if it were new and its first numbers missing. */
  sourceForgotten(source: string): void {
    this.#sourcesForgotten += 1;
    this.#gapCount -= this.#gaps.get(source)?.length ?? 0;
    this.#gaps.delete(source);
  }

  /** Numbers are given up. Those before the first that was seen of a source are lost only where it is known that the source is new. */
  givenUp({ source, gateway, from, to, place }: GivenUp): void {
    const isKnown = this.#sourcesForgotten === 0 && this.#nowMs - (this.#sinceMs ?? this.#nowMs) >= sourcesKnownAfterMs;
    if (place === "first" && !isKnown) return;
    const group = this.#groupOf(gateway);
    group.batches += to - from + 1;
    if (this.#gapCount < gapsMax) this.#replace(source, [...(this.#gaps.get(source) ?? []), { from, to, group }]);
    else this.#onBound();
  }

  /** A number came that is below those that its source is at. */
  arrived(source: string, sequence: number): void {
    const gaps = this.#gaps.get(source);
    const gap = gaps?.find(({ from, to }) => from <= sequence && sequence <= to);
    if (gaps === undefined || gap === undefined) return;
    gap.group.batches -= 1;
    const { from, to, group } = gap;
    const parts = [
      { from, to: sequence - 1, group },
      { from: sequence + 1, to, group },
    ].filter((part) => part.from <= part.to);
    this.#replace(source, [...gaps.filter((other) => other !== gap), ...parts]);
    if (group.batches === 0) this.#groups = this.#groups.filter((other) => other !== group);
  }

  /** What is missing now, oldest first, at most 100. */
  groups(): LostGroup[] {
    return this.#groups.map(({ gateway, foundAtMs, batches }) => ({ gateway, foundAtMs, batches }));
  }

  toJSON(): LostBatchesState {
    const places = new Map(this.#groups.map((group, place) => [group, place]));
    const gaps = [...this.#gaps]
      .sort(([left], [right]) => compareCodeUnits(left, right))
      .flatMap(([source, list]) => list.map(({ from, to, group }) => [source, from, to, places.get(group) ?? 0] as const));
    return { sinceMs: this.#sinceMs, nowMs: this.#nowMs, sourcesForgotten: this.#sourcesForgotten, groups: this.groups(), gaps };
  }

  restore(state: LostBatchesState): void {
    this.#sinceMs = state.sinceMs;
    this.#nowMs = state.nowMs;
    this.#sourcesForgotten = state.sourcesForgotten;
    this.#groups = state.groups.map((group) => ({ ...group }));
    this.#gaps.clear();
    this.#gapCount = state.gaps.length;
    for (const [source, from, to, place] of state.gaps) {
      const group = this.#groups[place];
      if (group !== undefined) this.#gaps.set(source, [...(this.#gaps.get(source) ?? []), { from, to, group }]);
    }
  }

  #groupOf(gateway: string): Group {
    const found = this.#groups.find((group) => group.gateway === gateway && this.#nowMs - group.foundAtMs < groupMs);
    if (found !== undefined) return found;
    const group = { gateway, foundAtMs: this.#nowMs, batches: 0 };
    this.#groups.push(group);
    if (this.#groups.length > lostGroupsMax) this.#joinOldest();
    return group;
  }

  #joinOldest(): void {
    this.#onBound();
    const [oldest, next] = this.#groups;
    if (oldest === undefined || next === undefined) return;
    const gateway = oldest.gateway === next.gateway ? next.gateway : severalGateways;
    const joined = { gateway, foundAtMs: oldest.foundAtMs, batches: oldest.batches + next.batches };
    this.#groups.splice(0, 2, joined);
    for (const [source, gaps] of this.#gaps) {
      const moved = gaps.map((gap) => (gap.group === oldest || gap.group === next ? { ...gap, group: joined } : gap));
      this.#gaps.set(source, moved);
    }
  }

  #forget(group: Group): void {
    this.#groups = this.#groups.filter((other) => other !== group);
    for (const [source, gaps] of this.#gaps) {
      const kept = gaps.filter((gap) => gap.group !== group);
      this.#replace(source, kept);
    }
  }

  #replace(source: string, gaps: Gap[]): void {
    this.#gapCount += gaps.length - (this.#gaps.get(source)?.length ?? 0);
    if (gaps.length === 0) this.#gaps.delete(source);
    else this.#gaps.set(source, gaps);
  }
}

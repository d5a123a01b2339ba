/** Dependencies as relationships: one for each stretch of time in which a dependency was valid, holding what every partition knows of it. */
import type { Integer } from "neo4j-driver";
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { Dependency } from "../../contract/entity.ts";
import { dependencyAt, dependencyWithEnd, intervalKey, type KeptInterval, mergeInterval, stretchesOf, union } from "../merge/interval.ts";
import type { Row } from "./neo4j-connection.ts";
import { changedProperties, openEndMs, whole } from "./whole.ts";

/** Intervals of partitions in one stretch; those seen longest ago are forgotten first. */
const intervalsPerStretchMax = 1_000;

/** What the relationships of a dependency that a report touches hold, by their `validFromMs`. */
export type KeptStretches = ReadonlyMap<number, string>;

/** By which a relationship is found. */
interface StretchKey {
  readonly id: string;
  readonly validFromMs: Integer;
}

export interface DependencyChanges {
  readonly created: readonly { readonly source: string; readonly target: string; readonly properties: Row }[];
  readonly updated: readonly (StretchKey & { readonly properties: Row })[];
  readonly removed: readonly StretchKey[];
  /** Intervals of partitions, more or fewer. */
  readonly intervals: number;
  readonly forgotten: number;
}

/** What has to be written so that the relationships of one dependency also hold these reports. */
export function changesOf(kept: KeptStretches, reports: readonly KeptInterval[]): DependencyChanges {
  const intervals = new Map<string, KeptInterval>();
  for (const text of kept.values()) for (const interval of intervalsOf(text)) intervals.set(keyOf(interval), interval);
  const before = intervals.size;
  for (const report of reports) intervals.set(keyOf(report), mergeInterval(intervals.get(keyOf(report)), report));
  const created: DependencyChanges["created"][number][] = [];
  const updated: DependencyChanges["updated"][number][] = [];
  const gone = new Set(kept.keys());
  let after = 0;
  let forgotten = 0;
  for (const everything of stretchesOf([...intervals.values()])) {
    const stretch = newestOf(everything);
    forgotten += everything.length - stretch.length;
    after += stretch.length;
    const { id, source, target, validFromMs } = union(stretch.map(({ dependency }) => dependency));
    const known = kept.get(validFromMs);
    gone.delete(validFromMs);
    const properties = propertiesOf(stretch);
    if (known === undefined) created.push({ source, target, properties });
    else if (known !== properties.intervals) {
      const changed = changedProperties(propertiesOf(intervalsOf(known)), properties);
      updated.push({ id, validFromMs: whole(validFromMs), properties: changed });
    }
  }
  const [first] = reports;
  const removed = first === undefined ? [] : [...gone].map((fromMs) => ({ id: first.dependency.id, validFromMs: whole(fromMs) }));
  return { created, updated, removed, intervals: after - before, forgotten };
}

/** A row of a query that reads dependencies as of a moment. */
export function dependencyOf(row: Row, atMs: number): Dependency | null {
  const { intervals } = row;
  // Not everything that is known of it by now was known then.
  if (typeof intervals === "string") return dependencyAt(intervalsOf(intervals), atMs);
  return {
    id: String(row.id),
    source: String(row.source),
    target: String(row.target),
    protocol: String(row.protocol),
    validFromMs: Number(row.validFromMs),
    validToMs: null,
    lastSeenMs: Math.min(Number(row.lastSeenMs), atMs),
    learnedFrom: row.learnedFrom as Dependency["learnedFrom"],
    confidence: Number(row.confidence),
    addresses: row.addresses as string[],
  };
}

/** A row of a query that reads dependencies that covered `fromMs`, as known at `toMs`, with their end. */
export function endedDependencyOf(row: Row, fromMs: number, toMs: number): Dependency | null {
  const intervals = intervalsOf(String(row.intervals));
  return dependencyWithEnd(intervals, fromMs, toMs) ?? dependencyAt(intervals, fromMs);
}

function keyOf({ partition, dependency }: KeptInterval): string {
  return intervalKey(partition, dependency);
}

/** What a relationship holds of its partitions. */
export function intervalsOf(text: string): KeptInterval[] {
  return JSON.parse(text) as KeptInterval[];
}

/** The same intervals give the same text, so that what did not change is not written. */
function intervalsText(stretch: readonly KeptInterval[]): string {
  return JSON.stringify(
    [...stretch]
      .sort((left, right) => left.dependency.validFromMs - right.dependency.validFromMs || left.partition - right.partition)
      .map(({ partition, dependency: { id, source, target, protocol, validFromMs, validToMs, ...rest } }) => {
        const { lastSeenMs, learnedFrom, confidence, addresses } = rest;
        const times = { validFromMs, validToMs, lastSeenMs };
        return { partition, dependency: { id, source, target, protocol, ...times, learnedFrom, confidence, addresses } };
      }),
  );
}

function newestOf(stretch: readonly KeptInterval[]): readonly KeptInterval[] {
  if (stretch.length <= intervalsPerStretchMax) return stretch;
  const newestFirst = [...stretch].sort(
    ({ dependency: left }, { dependency: right }) =>
      right.lastSeenMs - left.lastSeenMs || right.validFromMs - left.validFromMs || compareCodeUnits(left.id, right.id),
  );
  return newestFirst.slice(0, intervalsPerStretchMax);
}

function propertiesOf(stretch: readonly KeptInterval[]): Row {
  const joined = union(stretch.map(({ dependency }) => dependency));
  const newestFromMs = Math.max(...stretch.map(({ dependency }) => dependency.validFromMs));
  return {
    id: joined.id,
    protocol: joined.protocol,
    validFromMs: whole(joined.validFromMs),
    validToMs: whole(joined.validToMs ?? openEndMs),
    lastSeenMs: whole(joined.lastSeenMs),
    learnedFrom: joined.learnedFrom,
    confidence: joined.confidence,
    addresses: joined.addresses,
    changedMs: stretch.length === 1 ? null : whole(newestFromMs),
    intervals: intervalsText(stretch),
    intervalCount: whole(stretch.length),
  };
}

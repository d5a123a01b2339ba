/** Values as Neo4j keeps them: whole numbers above all, since a plain number of JavaScript would be kept as a float. */
import neo4j, { type Integer } from "neo4j-driver";

/** `validToMs` of a dependency that is still in use: the largest number that is exact everywhere. */
export const openEndMs = Number.MAX_SAFE_INTEGER;

export function whole(value: number): Integer {
  return neo4j.int(Math.floor(value));
}

export function wholeOrNull(value: number | null): Integer | null {
  return value === null ? null : whole(value);
}

/** A moment of event time, within what an index holds exactly. */
export function wholeMoment(atMs: number): Integer {
  return whole(Math.max(-openEndMs, Math.min(atMs, openEndMs - 1)));
}

/** The properties that differ; most of the time only when something was seen last, and a property that stays costs as much as one that changes. */
export function changedProperties(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(after).filter(([name, value]) => JSON.stringify(before[name]) !== JSON.stringify(value)));
}

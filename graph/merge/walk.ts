/** Walks over dependencies, the same for every adapter: what can be reached, nearest first, and the ways from one entity to another. */
import { compareCodeUnits } from "../../contract/canonical.ts";

/** A call from one entity to another. */
export interface Call {
  readonly source: string;
  readonly target: string;
}

/** Hops of a way at most, whatever was asked for. */
export const pathHopsMax = 8;
/** Ways answered at most, whatever was asked for. */
export const pathsMaxMax = 1_000;
/** Steps of one search at most; in a dense graph there are more ways than anybody can read. */
const stepsMax = 200_000;

/** Gathers ids by hops from the starts, then by id, one ring after another. */
export class Rings {
  readonly #reached: Set<string>;
  #ring: readonly string[];

  constructor(starts: readonly string[]) {
    this.#ring = [...new Set(starts)].sort(compareCodeUnits);
    this.#reached = new Set(this.#ring);
  }

  /** The newest ring; empty when everything is reached. */
  get ring(): readonly string[] {
    return this.#ring;
  }

  /** All ids so far, nearest first, then by id within a ring. */
  get reached(): readonly string[] {
    return [...this.#reached];
  }

  /** Makes the next ring of the neighbours of the newest one. */
  grow(neighbours: Iterable<string>): void {
    const fresh = new Set<string>();
    for (const id of neighbours) if (!this.#reached.has(id)) fresh.add(id);
    this.#ring = [...fresh].sort(compareCodeUnits);
    for (const id of this.#ring) this.#reached.add(id);
  }
}

/** Hops from an id to each that can be reached by `next` in at most `hopsMax`. */
export function hopsFrom(start: string, options: { hopsMax: number; next: (id: string) => Iterable<string> }): Map<string, number> {
  const hops = new Map([[start, 0]]);
  let ring = [start];
  for (let hop = 1; hop <= options.hopsMax && ring.length > 0; hop += 1) {
    const fresh: string[] = [];
    for (const id of ring) {
      for (const other of options.next(id)) {
        if (hops.has(other)) continue;
        hops.set(other, hop);
        fresh.push(other);
      }
    }
    ring = fresh;
  }
  return hops;
}

interface PathSearch {
  readonly from: string;
  readonly to: string;
  readonly hopsMax: number;
  readonly pathsMax: number;
}

/**
 * Ways along calls that visit nothing twice: shortest first, then by ids in order. `complete` is "no" when the search was cut at its bound
 * of steps, so that longer ways may be missing.
 */
export function findPaths(calls: readonly Call[], search: PathSearch): { paths: string[][]; complete: "yes" | "no" } {
  const callees = grouped(
    calls,
    ({ source }) => source,
    ({ target }) => target,
  );
  const callers = grouped(
    calls,
    ({ target }) => target,
    ({ source }) => source,
  );
  const hopsMax = Math.min(search.hopsMax, pathHopsMax);
  const pathsMax = Math.min(search.pathsMax, pathsMaxMax);
  const left = hopsFrom(search.to, { hopsMax, next: (id) => callers.get(id) ?? [] });
  const paths: string[][] = [];
  let steps = 0;
  const isOver = (): boolean => paths.length >= pathsMax || steps > stepsMax;
  const visit = (path: string[], remaining: number): void => {
    const at = path.at(-1) ?? search.from;
    if (remaining === 0) paths.push([...path]);
    if (remaining === 0 || at === search.to) return;
    for (const id of callees.get(at) ?? []) {
      if (isOver()) return;
      steps += 1;
      if ((left.get(id) ?? hopsMax + 1) > remaining - 1 || path.includes(id)) continue;
      path.push(id);
      visit(path, remaining - 1);
      path.pop();
    }
  };
  // Of each length in turn, callees in order: that is the order asked for.
  for (let length = left.get(search.from) ?? hopsMax + 1; length <= hopsMax && !isOver(); length += 1) visit([search.from], length);
  return { paths, complete: steps > stepsMax ? "no" : "yes" };
}

function grouped(calls: readonly Call[], key: (call: Call) => string, value: (call: Call) => string): Map<string, string[]> {
  const groups = new Map<string, Set<string>>();
  for (const call of calls) {
    const group = groups.get(key(call));
    if (group === undefined) groups.set(key(call), new Set([value(call)]));
    else group.add(value(call));
  }
  return new Map([...groups].map(([id, values]) => [id, [...values].sort(compareCodeUnits)]));
}

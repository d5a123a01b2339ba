/**
 * Dependencies as intervals. Each partition of the dependency log sees some of the traces only, so its intervals are kept apart and joined
 * when asked: a dependency is valid as long as any partition says so, and one that ended and came back has two intervals.
 */
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { Dependency } from "../../contract/entity.ts";

const addressesMax = 16;

/** One interval as one partition knows it. */
export interface KeptInterval {
  readonly partition: number;
  readonly dependency: Dependency;
}

export class DependencyTable {
  /** Id → `<partition>/<validFromMs>` → interval. */
  #intervals = new Map<string, Map<string, KeptInterval>>();
  #size = 0;
  #dependenciesMax: number;
  #onCounted: (name: string, amount: number) => void;

  /** Intervals kept at most, over all partitions; at the bound the least recently seen hundredth is forgotten. */
  constructor(options: { dependenciesMax: number; onCounted: (name: string, amount: number) => void }) {
    this.#dependenciesMax = options.dependenciesMax;
    this.#onCounted = options.onCounted;
  }

  merge(partition: number, dependency: Dependency): void {
    const key = `${partition}/${dependency.validFromMs}`;
    let intervals = this.#intervals.get(dependency.id);
    const known = intervals?.get(key);
    if (known === undefined && this.#size >= this.#dependenciesMax) {
      this.#forgetOldest();
      intervals = this.#intervals.get(dependency.id);
    }
    if (intervals === undefined) {
      intervals = new Map();
      this.#intervals.set(dependency.id, intervals);
    }
    if (known === undefined) this.#size += 1;
    intervals.set(key, { partition, dependency: known === undefined ? dependency : sameInterval(known.dependency, dependency) });
  }

  *all(): Iterable<KeptInterval> {
    for (const intervals of this.#intervals.values()) yield* intervals.values();
  }

  /** Dependencies valid at a moment, as they were known to be then, sorted by id. */
  asOf(atMs: number): Dependency[] {
    const valid: Dependency[] = [];
    for (const intervals of this.#intervals.values()) {
      const found = joinedAround(intervals.values(), atMs);
      if (found !== null) valid.push(found);
    }
    return valid.sort((left, right) => compareCodeUnits(left.id, right.id));
  }

  /** The interval of `id` that covered `fromMs`, as it was known at `toMs`, with its end; null when there is none. */
  endOf(id: string, fromMs: number, toMs: number): Dependency | null {
    const known = [...(this.#intervals.get(id)?.values() ?? [])].filter((interval) => interval.dependency.validFromMs <= toMs);
    const covering = known.filter(({ dependency }) => covers(dependency, fromMs));
    return covering.length === 0 ? null : union(connected(known, covering));
  }

  #forgetOldest(): void {
    const oldest = [...this.all()]
      .sort(({ dependency: left }, { dependency: right }) => left.lastSeenMs - right.lastSeenMs || compareCodeUnits(left.id, right.id))
      .slice(0, Math.ceil(this.#dependenciesMax / 100));
    for (const { partition, dependency } of oldest) {
      const intervals = this.#intervals.get(dependency.id);
      intervals?.delete(`${partition}/${dependency.validFromMs}`);
      if (intervals?.size === 0) this.#intervals.delete(dependency.id);
    }
    this.#size -= oldest.length;
    this.#onCounted("graph_dependencies_forgotten", oldest.length);
  }
}

function covers(dependency: Dependency, atMs: number): boolean {
  return dependency.validFromMs <= atMs && (dependency.validToMs === null || dependency.validToMs > atMs);
}

function joinedAround(intervals: Iterable<KeptInterval>, atMs: number): Dependency | null {
  const known = [...intervals].filter(({ dependency }) => dependency.validFromMs <= atMs);
  const covering = known.filter(({ dependency }) => covers(dependency, atMs));
  if (covering.length === 0) return null;
  const whole = union(connected(known, covering));
  // That it ended later, or was seen later, is not known as of then.
  return { ...whole, validToMs: null, lastSeenMs: Math.min(whole.lastSeenMs, atMs) };
}

/** All intervals that overlap or touch the given ones, also through others. */
function connected(all: readonly KeptInterval[], seed: readonly KeptInterval[]): Dependency[] {
  let fromMs = Math.min(...seed.map(({ dependency }) => dependency.validFromMs));
  let toMs = Math.max(...seed.map(({ dependency }) => dependency.validToMs ?? Number.POSITIVE_INFINITY));
  let size = 0;
  let inside: KeptInterval[] = [];
  do {
    size = inside.length;
    inside = all.filter(({ dependency }) => dependency.validFromMs <= toMs && (dependency.validToMs ?? Number.POSITIVE_INFINITY) >= fromMs);
    for (const { dependency } of inside) {
      fromMs = Math.min(fromMs, dependency.validFromMs);
      toMs = Math.max(toMs, dependency.validToMs ?? Number.POSITIVE_INFINITY);
    }
  } while (inside.length > size);
  return inside.map(({ dependency }) => dependency);
}

function union(dependencies: readonly Dependency[]): Dependency {
  return dependencies.reduce((left, right) => {
    const newer = newest(left, right);
    const ended = left.validToMs !== null && right.validToMs !== null ? Math.max(left.validToMs, right.validToMs) : null;
    return {
      ...newer,
      validFromMs: Math.min(left.validFromMs, right.validFromMs),
      validToMs: ended,
      addresses: joinedAddresses(left.addresses, right.addresses),
    };
  });
}

/** Two reports of one partition on one interval: the newer one knows whether it ended. */
function sameInterval(left: Dependency, right: Dependency): Dependency {
  const newer = newest(left, right);
  const validToMs =
    left.lastSeenMs === right.lastSeenMs && left.validToMs !== null && right.validToMs !== null
      ? Math.max(left.validToMs, right.validToMs)
      : left.lastSeenMs === right.lastSeenMs
        ? (left.validToMs ?? right.validToMs)
        : newer.validToMs;
  return { ...newer, validToMs, addresses: joinedAddresses(left.addresses, right.addresses) };
}

/** The one seen last; of two seen at once the more confident, then by protocol and source, so that the order they came in is of no matter. */
function newest(left: Dependency, right: Dependency): Dependency {
  const order =
    left.lastSeenMs - right.lastSeenMs ||
    left.confidence - right.confidence ||
    compareCodeUnits(left.protocol, right.protocol) ||
    compareCodeUnits(left.learnedFrom, right.learnedFrom);
  return order >= 0 ? left : right;
}

function joinedAddresses(left: readonly string[], right: readonly string[]): string[] {
  if (left.length === right.length && left.every((address, index) => address === right[index])) return [...left];
  return [...new Set([...left, ...right])].sort(compareCodeUnits).slice(0, addressesMax);
}

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

/** What tells the intervals of one dependency apart. */
export function intervalKey(partition: number, dependency: Dependency): string {
  return `${partition}/${dependency.validFromMs}`;
}

/** What a partition knows of an interval after another report on it. The order in which reports come is of no matter. */
export function mergeInterval(known: KeptInterval | undefined, reported: KeptInterval): KeptInterval {
  if (known === undefined) return reported;
  return { partition: reported.partition, dependency: sameInterval(known.dependency, reported.dependency) };
}

/** Whether the interval is valid at a moment; its end is not part of it. */
export function covers(dependency: Dependency, atMs: number): boolean {
  return dependency.validFromMs <= atMs && (dependency.validToMs === null || dependency.validToMs > atMs);
}

/** Those of which no end is known, sorted by dependency, partition and begin. */
export function unendedOf(intervals: Iterable<KeptInterval>): KeptInterval[] {
  const unended = [...intervals].filter(({ dependency }) => dependency.validToMs === null);
  return unended.sort(
    (left, right) =>
      compareCodeUnits(left.dependency.id, right.dependency.id) ||
      left.partition - right.partition ||
      left.dependency.validFromMs - right.dependency.validFromMs,
  );
}

/** A dependency as it was known to be at a moment, joined from what all partitions know of it; null when it was not valid then. */
export function dependencyAt(intervals: Iterable<KeptInterval>, atMs: number): Dependency | null {
  const known = [...intervals].filter(({ dependency }) => dependency.validFromMs <= atMs);
  const covering = known.filter(({ dependency }) => covers(dependency, atMs));
  if (covering.length === 0) return null;
  const whole = union(connected(known, covering));
  // That it ended later, or was seen later, is not known as of then.
  return { ...whole, validToMs: null, lastSeenMs: Math.min(whole.lastSeenMs, atMs) };
}

/** The dependency that covered `fromMs`, as it was known at `toMs`, with its end; null when there is none. */
export function dependencyWithEnd(intervals: Iterable<KeptInterval>, fromMs: number, toMs: number): Dependency | null {
  const known = [...intervals].filter((interval) => interval.dependency.validFromMs <= toMs);
  const covering = known.filter(({ dependency }) => covers(dependency, fromMs));
  return covering.length === 0 ? null : union(connected(known, covering));
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

/** One dependency of several that overlap or touch. */
export function union(dependencies: readonly Dependency[]): Dependency {
  return dependencies.reduce((left, right) => {
    const newer = newest(left, right);
    const ended = left.validToMs !== null && right.validToMs !== null ? Math.max(left.validToMs, right.validToMs) : null;
    return {
      ...newer,
      validFromMs: Math.min(left.validFromMs, right.validFromMs),
      validToMs: ended,
      learnedFrom: firstHand(left.learnedFrom, right.learnedFrom),
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
  const learnedFrom = firstHand(left.learnedFrom, right.learnedFrom);
  return { ...newer, validToMs, learnedFrom, addresses: joinedAddresses(left.addresses, right.addresses) };
}

const bySource: readonly Dependency["learnedFrom"][] = ["spans", "kernel", "declared"];

/** What programs tell of their calls counts more than what the kernel sees, and that more than what somebody declared. */
function firstHand(left: Dependency["learnedFrom"], right: Dependency["learnedFrom"]): Dependency["learnedFrom"] {
  return bySource.indexOf(left) <= bySource.indexOf(right) ? left : right;
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

/** Intervals of one dependency, sorted into stretches without a gap; those of a stretch overlap or touch, if need be through others. */
export function stretchesOf(intervals: readonly KeptInterval[]): KeptInterval[][] {
  const byBegin = [...intervals].sort(({ dependency: left }, { dependency: right }) => left.validFromMs - right.validFromMs);
  const stretches: KeptInterval[][] = [];
  let toMs = Number.NEGATIVE_INFINITY;
  for (const interval of byBegin) {
    const { validFromMs, validToMs } = interval.dependency;
    const newest = stretches.at(-1);
    if (newest === undefined || validFromMs > toMs) stretches.push([interval]);
    else newest.push(interval);
    toMs = Math.max(toMs, validToMs ?? Number.POSITIVE_INFINITY);
  }
  return stretches;
}

/**
 * Durations as OTLP histograms whose explicit bounds are boundaries of our log-linear buckets, so that one turns into the other without
 * loss. OTLP counts a bound into the bucket below it and we count it into the one above; no integer of nanoseconds that was measured is
 * moved by that, because a bucket's bound stands for everything just below it.
 */
import type { Buckets } from "../contract/window.ts";
import { bucketIndex, bucketLowerBound, bucketUpperBound, sortedBuckets } from "./histogram.ts";

const nsPerSecond = 1e9;
/** A bound in seconds is off by less than this share of itself after the way through a double; a bucket is 1/32 wide or more. */
const roundingShare = 1e-9;

/** `counts` has one entry more than `bounds`; bounds in seconds, rising. */
export interface BoundedCounts {
  readonly bounds: number[];
  readonly counts: number[];
}

/**
 * Only bounds of buckets that are used. What needs more than `boundsMax` bounds (at least 2) becomes several histograms, which add up to
 * the whole. None of an empty histogram.
 */
export function boundedDurations(buckets: Buckets, boundsMax: number): BoundedCounts[] {
  const answer: BoundedCounts[] = [];
  let current: BoundedCounts | null = null;
  let endsAt = -1;
  for (const [index, count] of buckets) {
    if (count === 0) continue;
    const needed = index === 0 || (index === endsAt && current !== null) ? 1 : 2;
    if (current === null || current.bounds.length + needed > boundsMax) {
      current = { bounds: [], counts: [] };
      answer.push(current);
      endsAt = -1;
    }
    if (index > 0 && index !== endsAt) {
      current.bounds.push(bucketLowerBound(index) / nsPerSecond);
      current.counts.push(0);
    }
    current.bounds.push(bucketUpperBound(index) / nsPerSecond);
    current.counts.push(count);
    // Nothing lies between the first bucket, of 0 and 1, and the one that begins with 2.
    endsAt = index === 0 ? 16 : index + 1;
  }
  for (const { counts } of answer) counts.push(0);
  return answer;
}

/** The bucket that ends at a bound in seconds. */
export function bucketBelow(boundSeconds: number): number {
  return bucketIndex(Math.max(0, boundSeconds * nsPerSecond * (1 - roundingShare)));
}

/** The histogram that `boundedDurations` made this of. Of foreign bounds: each count in the bucket just below its bound. */
export function durationBuckets({ bounds, counts }: { readonly bounds: readonly number[]; readonly counts: readonly number[] }): Buckets {
  const found = new Map<number, number>();
  counts.forEach((count, place) => {
    if (count === 0) return;
    const bound = bounds[place];
    // What lies above the last bound is at least that long.
    const index = bound === undefined ? bucketBelow(bounds.at(-1) ?? 0) + 1 : bucketBelow(bound);
    found.set(index, (found.get(index) ?? 0) + count);
  });
  return sortedBuckets(found);
}

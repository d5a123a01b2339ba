/**
 * Log-linear histograms of durations (see `Buckets` in contract/window.ts): merged exactly, read off by bucket maths.
 * Only integers are added, so the order in which windows arrive cannot change a result.
 */
import type { Buckets } from "../contract/window.ts";

const stepsPerOctave = 16;

/** Counts by bucket index. */
export type Histogram = Map<number, number>;

/** Adds sparse buckets to a histogram in place; `sign` −1 takes out again what was added before. */
export function addBuckets(histogram: Histogram, buckets: Iterable<readonly [number, number]>, sign: 1 | -1 = 1): void {
  for (const [index, count] of buckets) {
    const sum = (histogram.get(index) ?? 0) + sign * count;
    if (sum > 0) histogram.set(index, sum);
    else histogram.delete(index);
  }
}

/** Sparse pairs, sorted by index. */
export function toBuckets(histogram: Histogram): Buckets {
  return [...histogram].sort(([left], [right]) => left - right);
}

/** Smallest value of a bucket, in the histogram's unit. */
export function bucketLower(index: number): number {
  const octave = Math.floor(index / stepsPerOctave);
  const step = index % stepsPerOctave;
  let base = 1;
  for (let doubled = 0; doubled < octave; doubled += 1) base *= 2;
  return index === 0 ? 0 : (base * (stepsPerOctave + step)) / stepsPerOctave;
}

/** The value below which a share of the observations lies: the middle of its bucket, so at most 1/32 off; null when empty. */
export function histogramQuantile(histogram: Histogram, share: number): number | null {
  let total = 0;
  for (const count of histogram.values()) total += count;
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(share * total));
  let seen = 0;
  for (const [index, count] of toBuckets(histogram)) {
    seen += count;
    if (seen >= rank) return (bucketLower(index) + bucketLower(index + 1)) / 2;
  }
  return null;
}

/** Observations in buckets that lie wholly at or above `limit`: never counts one below it, misses at most 1/16 above it. */
export function countAtLeast(buckets: Iterable<readonly [number, number]>, limit: number): number {
  let sum = 0;
  for (const [index, count] of buckets) if (bucketLower(index) >= limit) sum += count;
  return sum;
}

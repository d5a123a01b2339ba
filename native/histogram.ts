/** Log-linear histograms with fixed boundaries (see `Buckets`): they merge exactly and their relative width is at most 1/16. */

import type { Buckets } from "../contract/window.ts";
import { compareNumbers, saturatingSum } from "./exact.ts";

const two32 = 4_294_967_296;

/** 2^0 to 2^63, by doubling, because powers differ between engines. */
const powers: readonly number[] = Array.from({ length: 64 }).reduce<number[]>((list) => {
  list.push(list.length === 0 ? 1 : (list.at(-1) as number) * 2);
  return list;
}, []);

function powerOfTwo(exponent: number): number {
  return powers[Math.min(exponent, 63)] as number;
}

/** The bucket of a non-negative integer up to 2^53. */
export function bucketIndex(value: number): number {
  if (value < 2) return 0;
  const exponent = value < two32 ? 31 - Math.clz32(value) : 63 - Math.clz32(Math.floor(value / two32));
  return 16 * exponent + Math.floor(16 * (value / powerOfTwo(exponent) - 1));
}

/** The smallest value that falls into a bucket, as a real number; 0 for the first. */
export function bucketLowerBound(index: number): number {
  if (index <= 0) return 0;
  return powerOfTwo(Math.floor(index / 16)) * (1 + (index % 16) / 16);
}

/** Where the bucket ends, exclusive. Bucket 0 holds 0 and 1. */
export function bucketUpperBound(index: number): number {
  return index <= 0 ? 2 : bucketLowerBound(index + 1);
}

/** Adds two sparse histograms; counts end at 2^53 − 1. */
export function mergeBuckets(left: Buckets, right: Buckets): Buckets {
  const merged = new Map<number, number>(left);
  for (const [index, count] of right) merged.set(index, saturatingSum(merged.get(index) ?? 0, count));
  return sortedBuckets(merged);
}

/** Counts by index as sorted pairs. */
export function sortedBuckets(counts: ReadonlyMap<number, number>): Buckets {
  return [...counts].sort(([left], [right]) => compareNumbers(left, right));
}

/** The `quantile` (0 to 1) by linear interpolation inside its bucket; null of an empty histogram. */
export function bucketsQuantile(buckets: Buckets, quantile: number): number | null {
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  const rank = Math.min(Math.max(quantile, 0), 1) * total;
  let before = 0;
  let last = 0;
  for (const [index, count] of buckets) {
    if (count === 0) continue;
    const lower = bucketLowerBound(index);
    last = bucketUpperBound(index);
    if (before + count >= rank) return lower + (last - lower) * ((rank - before) / count);
    before += count;
  }
  return last;
}

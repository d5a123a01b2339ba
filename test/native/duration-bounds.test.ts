import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Buckets } from "../../contract/window.ts";
import { boundedDurations, bucketBelow, durationBuckets } from "../../native/duration-bounds.ts";
import { bucketIndex, bucketUpperBound, mergeBuckets, sortedBuckets } from "../../native/histogram.ts";

/** One longer than 2^53 ns is no duration of ours. */
const indexMax = bucketIndex(Number.MAX_SAFE_INTEGER);

function histogram(values: readonly number[]): Buckets {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(bucketIndex(value), (counts.get(bucketIndex(value)) ?? 0) + 1);
  return sortedBuckets(counts);
}

const noBuckets: Buckets = [];

describe("bounds of durations", () => {
  it("name their bucket again after the way through seconds, every one of them", () => {
    for (let index = 0; index <= indexMax; index += 1) {
      const reached = index === 0 || index >= 16 ? index : 0;
      expect(bucketBelow(bucketUpperBound(reached) / 1e9)).toBe(reached);
    }
  });

  it("turn a histogram into bounds and back without loss, whatever was measured", () => {
    const duration = fc.oneof(fc.nat(100), fc.nat(2_000_000_000), fc.maxSafeNat());
    fc.assert(
      fc.property(fc.array(duration, { maxLength: 400 }), fc.integer({ min: 2, max: 256 }), (values, boundsMax) => {
        const buckets = histogram(values);
        const parts = boundedDurations(buckets, boundsMax);
        for (const { bounds, counts } of parts) {
          expect(bounds.length).toBeLessThanOrEqual(boundsMax);
          expect(counts.length).toBe(bounds.length + 1);
          expect(bounds.every((bound, at) => at === 0 || bound > (bounds[at - 1] as number))).toBe(true);
        }
        expect(parts.map(durationBuckets).reduce(mergeBuckets, noBuckets)).toEqual(buckets);
      }),
      { numRuns: 1_000, examples: [[[0, 2], 3]] },
    );
  });

  it("put what lies above the last bound of somebody else's histogram into the bucket above it", () => {
    expect(durationBuckets({ bounds: [0.001], counts: [2, 1] })).toEqual([
      [bucketIndex(999_999), 2],
      [bucketIndex(999_999) + 1, 1],
    ]);
  });
});

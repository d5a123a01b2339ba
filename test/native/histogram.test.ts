import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Buckets } from "../../contract/window.ts";
import { bucketIndex, bucketLowerBound, bucketsQuantile, bucketUpperBound, mergeBuckets } from "../../native/histogram.ts";

const duration = fc.oneof(fc.nat(100), fc.maxSafeInteger().map(Math.abs));

function bucketsOf(values: readonly number[]): Buckets {
  return values.reduce<Buckets>((buckets, value) => mergeBuckets(buckets, [[bucketIndex(value), 1]]), []);
}

describe("histogram buckets", () => {
  it.each([
    [0, 0],
    [1, 0],
    [2, 16],
    [3, 24],
    [4, 32],
    [1_000_000, 318],
    [2 ** 32 - 1, 511],
    [2 ** 32, 512],
    [Number.MAX_SAFE_INTEGER, 847],
  ])("puts %d into bucket %d", (value, index) => {
    expect(bucketIndex(value)).toBe(index);
  });

  it("holds each value within its bounds, at most a sixteenth apart", () => {
    fc.assert(
      fc.property(duration, (value) => {
        const index = bucketIndex(value);
        expect(value).toBeGreaterThanOrEqual(bucketLowerBound(index));
        expect(value).toBeLessThan(bucketUpperBound(index));
        if (index > 0) expect(bucketUpperBound(index) / bucketLowerBound(index)).toBeLessThanOrEqual(1 + 1 / 16);
      }),
    );
  });

  it("merges the same in any order", () => {
    fc.assert(
      fc.property(fc.array(duration), fc.array(duration), (left, right) => {
        const both = bucketsOf([...left, ...right]);
        expect(mergeBuckets(bucketsOf(right), bucketsOf(left))).toEqual(both);
      }),
    );
  });

  it("ends counting at the largest exact integer", () => {
    const full: Buckets = [[5, Number.MAX_SAFE_INTEGER]];
    expect(mergeBuckets(full, [[5, 3]])).toEqual(full);
  });

  it("finds quantiles within the width of a bucket of the true ones", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1_000, max: 1e12 }), { minLength: 1 }),
        fc.constantFrom(0, 0.5, 0.95, 0.99, 1),
        (values, quantile) => {
          const sorted = [...values].sort((left, right) => left - right);
          const rank = Math.max(0, Math.ceil(quantile * sorted.length) - 1);
          const truth = sorted[rank] as number;
          const found = bucketsQuantile(bucketsOf(values), quantile) as number;
          expect(Math.abs(found / truth - 1)).toBeLessThanOrEqual(1 / 15);
        },
      ),
    );
  });

  it("interpolates inside a bucket and answers null of nothing", () => {
    expect(bucketsQuantile([[bucketIndex(1_024), 4]], 0.5)).toBe(1_024 + 32);
    expect(bucketsQuantile([], 0.5)).toBeNull();
    expect(bucketsQuantile([[7, 0]], 0.5)).toBeNull();
  });
});

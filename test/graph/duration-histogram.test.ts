import fc from "fast-check";
import { expect, test } from "vitest";
import { addBuckets, bucketLower, countAtLeast, histogramQuantile, toBuckets } from "../../graph/duration-histogram.ts";

/** By the definition in contract/window.ts. */
function indexOf(value: number): number {
  if (value <= 1) return 0;
  const octave = Math.floor(Math.log2(value));
  return 16 * octave + Math.floor(16 * (value / 2 ** octave - 1));
}

const durations = fc.array(fc.integer({ min: 16, max: 2 ** 40 }), { minLength: 1, maxLength: 200 });

test("every value lies in its bucket", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 2 ** 45 }), (value) => {
      expect(bucketLower(indexOf(value))).toBeLessThanOrEqual(value);
      expect(bucketLower(indexOf(value) + 1)).toBeGreaterThan(value);
    }),
  );
});

test("merging in any order, and taking out again, is exact", () => {
  fc.assert(
    fc.property(durations, durations, (left, right) => {
      const of = (values: number[]) => values.map((value) => [indexOf(value), 1] as const);
      const one = new Map<number, number>();
      addBuckets(one, of(left));
      addBuckets(one, of(right));
      const other = new Map<number, number>();
      addBuckets(other, of([...right].reverse()));
      addBuckets(other, of(left));
      expect(toBuckets(one)).toEqual(toBuckets(other));
      addBuckets(one, of(right), -1);
      const alone = new Map<number, number>();
      addBuckets(alone, of(left));
      expect(toBuckets(one)).toEqual(toBuckets(alone));
    }),
  );
});

test("a quantile is within a bucket of the exact one; an empty histogram has none", () => {
  expect(histogramQuantile(new Map(), 0.5)).toBeNull();
  fc.assert(
    fc.property(durations, fc.constantFrom(0.5, 0.95, 0.99), (values, share) => {
      const histogram = new Map<number, number>();
      addBuckets(
        histogram,
        values.map((value) => [indexOf(value), 1] as const),
      );
      const exact = [...values].sort((left, right) => left - right)[Math.max(1, Math.ceil(share * values.length)) - 1]!;
      expect(Math.abs(histogramQuantile(histogram, share)! - exact)).toBeLessThanOrEqual(exact / 16);
    }),
  );
});

test("counting above a limit counts none below it and misses only what shares the limit's bucket", () => {
  fc.assert(
    fc.property(durations, fc.integer({ min: 16, max: 2 ** 40 }), (values, limit) => {
      const counted = countAtLeast(
        values.map((value) => [indexOf(value), 1] as const),
        limit,
      );
      expect(counted).toBeLessThanOrEqual(values.filter((value) => value >= limit).length);
      expect(counted).toBeGreaterThanOrEqual(values.filter((value) => indexOf(value) > indexOf(limit)).length);
    }),
  );
});

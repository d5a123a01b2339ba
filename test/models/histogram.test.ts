import { describe, expect, it } from "vitest";
import { mergeBuckets, quantileOfBounds } from "../../models/histogram.ts";

describe("quantileOfBounds", () => {
  it("interpolates inside a bucket, from zero in the first", () => {
    expect(quantileOfBounds([1, 2, 4], [10, 0, 0, 0], 0.5)).toBe(0.5);
    expect(quantileOfBounds([1, 2, 4], [10, 10, 20, 0], 0.5)).toBe(2);
    expect(quantileOfBounds([1, 2, 4], [10, 10, 20, 0], 0.75)).toBe(3);
    expect(quantileOfBounds([-2, 4], [4, 0, 0], 0.5)).toBe(-2);
  });

  it("answers the last bound for what lies beyond it, and null for nothing", () => {
    expect(quantileOfBounds([1, 2, 4], [0, 0, 0, 7], 0.5)).toBe(4);
    expect(quantileOfBounds([1, 2, 4], [0, 0, 0, 0], 0.5)).toBeNull();
    expect(quantileOfBounds([], [5], 0.5)).toBeNull();
  });
});

describe("mergeBuckets", () => {
  it("adds counts of the same bucket and keeps the others, sorted by index", () => {
    expect(mergeBuckets([], [[3, 1]])).toEqual([[3, 1]]);
    const merged = mergeBuckets(
      [
        [1, 1],
        [5, 2],
        [9, 4],
      ],
      [
        [0, 7],
        [5, 3],
        [12, 1],
      ],
    );
    expect(merged).toEqual([
      [0, 7],
      [1, 1],
      [5, 5],
      [9, 4],
      [12, 1],
    ]);
  });
});

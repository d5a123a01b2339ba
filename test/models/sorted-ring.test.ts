import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { median, medianDeviation, SortedRing } from "../../models/sorted-ring.ts";

const float32 = fc.float({ noNaN: true, min: -1000, max: 1000 }).map((value) => value + 0);

describe("SortedRing", () => {
  it("keeps the newest values, in order of time and sorted", () => {
    fc.assert(
      fc.property(fc.array(float32, { minLength: 1, maxLength: 200 }), fc.integer({ min: 32, max: 64 }), (values, sizeMax) => {
        const ring = new SortedRing(sizeMax);
        for (const value of values) ring.push(value);
        const kept = values.slice(-sizeMax);
        expect([...ring.values()]).toEqual(kept);
        expect([...ring.sorted()]).toEqual([...kept].sort((left, right) => left - right));
        expect(ring.fractions).toBe(kept.filter((value) => !Number.isInteger(value)).length);
      }),
    );
  });

  it("computes median and median deviation as sorting twice would", () => {
    fc.assert(
      fc.property(fc.array(float32, { minLength: 1, maxLength: 80 }), (values) => {
        const sorted = Float32Array.from(values).sort();
        const middle = median(sorted);
        const distances = [...sorted].map((value) => Math.abs(value - middle)).sort((left, right) => left - right);
        expect(medianDeviation(sorted, middle)).toBe(distances[distances.length >>> 1]);
      }),
    );
  });
});

import { expect, test } from "vitest";
import { mergeBuckets, quantileOf } from "../../../services/api/duration-quantile.ts";

test("a quantile of merged histograms lies within a bucket of the truth", () => {
  const index = (value: number): number => {
    const exponent = Math.floor(Math.log2(value));
    return exponent * 16 + Math.floor(16 * (value / 2 ** exponent - 1));
  };
  const values = Array.from({ length: 1_000 }, (_, place) => 1_000_000 + place * 37_000);
  const histograms = [values.slice(0, 300), values.slice(300)].map((part) => part.map((value) => [index(value), 1] as const));
  const p95 = quantileOf(mergeBuckets(histograms), 0.95)!;
  expect(Math.abs(p95 - values[949]!) / values[949]!).toBeLessThan(1 / 16);
  expect(quantileOf(new Map(), 0.95)).toBeNull();
});

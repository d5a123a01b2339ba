/** Arithmetic that gives the same result in any order (design §4, Determinism). */

/** `a + b` of two non-negative integers, at most 2^53 − 1; adding more never changes that. */
export function saturatingSum(a: number, b: number): number {
  const sum = a + b;
  return Math.min(sum, Number.MAX_SAFE_INTEGER);
}

/** Largest magnitude of one value in a fixed-point sum (2^80): a thousand million of them still fit into 40 digits. */
const fixedPointMax = 1_048_576 * 1_048_576 * 1_048_576 * 1_048_576;

/** A value × 2^20, rounded, as an integer; null when it is not finite or beyond ±2^80. */
export function fixedPoint(value: number): bigint | null {
  return Math.abs(value) <= fixedPointMax ? BigInt(Math.round(value * 1_048_576)) : null;
}

export function compareNumbers(left: number, right: number): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** The first comparison that tells two things apart; 0 when none does. */
export function firstDifference(...comparisons: readonly number[]): number {
  return comparisons.find((comparison) => comparison !== 0) ?? 0;
}

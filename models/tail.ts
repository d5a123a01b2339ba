/** How improbable a robust deviation is: the two-sided tail of Student's t with 4 degrees of freedom, which has a closed form. */

/**
 * −log10 p of a deviation in robust standard deviations, ≥ 0; monotone, exact far out: with s = z/√(4+z²), p = (1−s)²(2+s)/2 loses no digits
 * because 1−s is computed as 4/(√(4+z²)·(√(4+z²)+z)).
 */
export function scoreOfDeviation(deviation: number): number {
  const size = Math.min(Math.abs(deviation), 1e12);
  const root = Math.sqrt(4 + size * size);
  const rest = 4 / (root * (root + size));
  const score = -2 * Math.log10(rest) - Math.log10((2 + size / root) / 2);
  return Math.max(0, score);
}

/** The deviation that has this score; the inverse of `scoreOfDeviation`, by bisection. */
export function deviationOfScore(score: number): number {
  let low = 0;
  let high = 1e6;
  for (let step = 0; step < 100; step += 1) {
    const middle = (low + high) / 2;
    if (scoreOfDeviation(middle) < score) low = middle;
    else high = middle;
  }
  return high;
}

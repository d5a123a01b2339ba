/** Sums and quantiles of histograms, as the stages may use them: log-linear buckets of durations, and explicit bounds. */
import type { Buckets } from "../contract/window.ts";

export { bucketsQuantile } from "../native/histogram.ts";

/** Both histograms together; sparse and sorted by index, as both must be. Walks them side by side, which is several times faster than a map. */
export function mergeBuckets(left: Buckets, right: Buckets): Buckets {
  const merged: Buckets = [];
  let at = 0;
  for (const pair of left) {
    let other = right[at];
    while (other !== undefined && other[0] < pair[0]) {
      merged.push(other);
      at += 1;
      other = right[at];
    }
    if (other !== undefined && other[0] === pair[0]) {
      merged.push([pair[0], pair[1] + other[1]]);
      at += 1;
    } else merged.push(pair);
  }
  for (; at < right.length; at += 1) merged.push(right[at] as [number, number]);
  return merged;
}

/**
 * The value below which the share `quantile` (0..1) of the counts lies, linear inside a bucket; null when nothing was counted.
 * `counts` has one more member than `bounds`. The first bucket begins at 0 (or at its bound when that is negative); the last has no upper
 * end, so a quantile inside it is its lower bound, as Prometheus has it.
 */
export function quantileOfBounds(bounds: readonly number[], counts: readonly number[], quantile: number): number | null {
  let total = 0;
  for (const count of counts) total += count;
  const last = bounds.at(-1);
  if (total === 0 || last === undefined) return null;
  const rank = quantile * total;
  let before = 0;
  for (const [index, count] of counts.entries()) {
    const upper = bounds[index];
    if (upper === undefined) return last;
    if (count > 0 && before + count >= rank) {
      const lower = index === 0 ? Math.min(0, upper) : (bounds[index - 1] ?? 0);
      return lower + ((upper - lower) * (rank - before)) / count;
    }
    before += count;
  }
  return last;
}

/** Quantiles of log-linear histograms (see `Buckets`), merged exactly before anything is read off. */

type SparseBuckets = readonly (readonly [number, number])[];

/** The sum of several histograms, as a map from index to count. */
export function mergeBuckets(histograms: Iterable<SparseBuckets>): Map<number, number> {
  const merged = new Map<number, number>();
  for (const histogram of histograms) {
    for (const [index, count] of histogram) merged.set(index, (merged.get(index) ?? 0) + count);
  }
  return merged;
}

/** The value below which a share `quantile` of the observations lies: the middle of its bucket, or null when there is none. */
export function quantileOf(merged: ReadonlyMap<number, number>, quantile: number): number | null {
  const buckets = [...merged].sort(([left], [right]) => left - right);
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(quantile * total));
  let seen = 0;
  for (const [index, count] of buckets) {
    seen += count;
    if (seen >= rank) return middleOf(index);
  }
  return null;
}

function middleOf(index: number): number {
  const exponent = Math.floor(index / 16);
  const step = index % 16;
  return 2 ** exponent * (1 + (step + 0.5) / 16);
}

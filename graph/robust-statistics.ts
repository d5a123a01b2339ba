/**
 * Medians, quantiles and spreads that a few wild values do not move. Sums run over sorted values, so that the order in
 * which evidence arrives cannot change a bit of a score (design §4).
 */

/** Scale factor that makes an interquartile range comparable to a standard deviation of normal data. */
const iqrPerSigma = 1.349;
/** The same for the median absolute deviation. */
const sigmaPerMad = 1.4826;

/** Sum over the values in ascending order; the same for every order of the input. */
export function sumSorted(values: Iterable<number>): number {
  let sum = 0;
  for (const value of ascending(values)) sum += value;
  return sum;
}

/** A sorted copy without NaN and infinities. */
export function ascending(values: Iterable<number>): number[] {
  return [...values].filter((value) => Number.isFinite(value)).sort((left, right) => left - right);
}

/** Linear interpolation between the two nearest of `sorted`; `share` in 0..1; 0 for an empty list. */
export function quantileOfSorted(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return 0;
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const low = sorted[below] ?? 0;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? low;
  return low + (high - low) * (place - below);
}

/** The middle value; 0 for an empty list. */
export function median(values: Iterable<number>): number {
  return quantileOfSorted(ascending(values), 0.5);
}

/** Where values lie and how far they usually stray, in the values' own unit. */
export interface Spread {
  readonly location: number;
  readonly scale: number;
}

/** Median, and the larger of the two robust estimates of a standard deviation (IQR and MAD); 0 and 0 for an empty list. */
export function spreadOf(values: Iterable<number>): Spread {
  const sorted = ascending(values);
  const location = quantileOfSorted(sorted, 0.5);
  const iqr = quantileOfSorted(sorted, 0.75) - quantileOfSorted(sorted, 0.25);
  const mad = median(sorted.map((value) => Math.abs(value - location)));
  return { location, scale: Math.max(iqr / iqrPerSigma, mad * sigmaPerMad) };
}

/** `part / (part + half)`: 0 for nothing, 0.5 at `half`, towards 1 for much; what turns open-ended amounts into shares. */
export function saturate(part: number, half: number): number {
  if (!(part > 0)) return 0;
  return part / (part + half);
}

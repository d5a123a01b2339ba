/**
 * How far a series left what was normal for it: a robust distance between the most abnormal stretch around the fault and
 * the reference before it, less what stretches of the same length did while all was well. The boundary may be late: the
 * stretch is looked for from somewhat before the fault, and the reference ends where that search begins.
 */
import type { Interval, SnapshotSeries } from "../contract/evidence.ts";
import { ascending, quantileOfSorted, spreadOf } from "./robust-statistics.ts";

/** Without this many reference samples nothing is known of a series. */
const referenceMin = 4;
/** Stretches up to this length are sorted by insertion. */
const insertionMax = 24;
/** At most so many normal stretches are looked at. */
const stretchesMax = 200;
/** Normal stretches further out than this share of them are treated as past trouble, not as normal. */
const ordinaryShare = 0.98;

/** Where the reference ends and where the abnormal stretch is looked for. */
export interface Split {
  readonly normal: Interval;
  readonly fault: Interval;
  /** Reference samples lie before, the search begins here. */
  readonly searchFromMs: number;
}

/** What is known of one series; `z` is signed, in robust scales, and 0 when normal times did as much. */
export interface Deviation {
  readonly before: number;
  readonly after: number;
  readonly scale: number;
  readonly z: number;
  /** Start of the abnormal stretch; null where nothing deviates. */
  readonly onsetMs: number | null;
}

/** The search may begin this share of the normal interval before the fault, and at most one fault length. */
const lateShare = 0.2;

/** Splits a snapshot's time; a normal interval too short to give some away is used whole. */
export function splitOf(normal: Interval, fault: Interval): Split {
  const lengthMs = Math.max(0, normal.toMs - normal.fromMs);
  const faultMs = Math.max(0, fault.toMs - fault.fromMs);
  const marginMs = Math.min(lengthMs * lateShare, faultMs);
  return { normal, fault, searchFromMs: Math.min(normal.toMs, fault.fromMs - Math.floor(marginMs)) };
}

interface Points {
  readonly atMs: readonly number[];
  readonly values: readonly number[];
}

/** The series' points that a half-open interval of time holds, non-finite ones left out. */
function pointsWithin(series: SnapshotSeries, fromMs: number, toMs: number): Points {
  const atMs: number[] = [];
  const values: number[] = [];
  for (let index = 0; index < series.atMs.length; index += 1) {
    const at = series.atMs[index];
    const value = series.values[index];
    if (at === undefined || value === undefined || at < fromMs || at >= toMs || !Number.isFinite(value)) continue;
    atMs.push(at);
    values.push(value);
  }
  return { atMs, values };
}

/** Reference samples of a series, in order of time. */
export function referenceOf(series: SnapshotSeries, split: Split): Points {
  const early = pointsWithin(series, split.normal.fromMs, split.searchFromMs);
  if (early.values.length >= referenceMin) return early;
  return pointsWithin(series, split.normal.fromMs, split.normal.toMs);
}

/** Samples among which the abnormal stretch is looked for. */
function searchedOf(series: SnapshotSeries, split: Split): Points {
  return pointsWithin(series, split.searchFromMs, split.fault.toMs + 1);
}

/**
 * The deviation of a series, or null when too little is known. `floorOf` gives the smallest scale that counts for a
 * reference location; a series without reference whose quantity is zero at rest starts from zero.
 */
export function deviationOf(
  series: SnapshotSeries,
  split: Split,
  options: { floorOf: (location: number) => number; zeroAtRest: "yes" | "no" },
): Deviation | null {
  const reference = referenceOf(series, split);
  const searched = searchedOf(series, split);
  if (searched.values.length === 0) return null;
  if (reference.values.length < referenceMin && options.zeroAtRest === "no") return null;
  const spread = reference.values.length < referenceMin ? { location: 0, scale: 0 } : spreadOf(reference.values);
  const scale = Math.max(spread.scale, options.floorOf(spread.location));
  if (!(scale > 0)) return { before: spread.location, after: spread.location, scale: 0, z: 0, onsetMs: null };
  const inFault = searched.atMs.filter((at) => at >= split.fault.fromMs).length;
  const length = Math.max(1, Math.min(searched.values.length, Math.max(3, Math.ceil(inFault / 3))));
  const worst = worstStretch(searched.values, { length, location: spread.location });
  const ordinary = ordinaryExcursion(reference.values, { length, location: spread.location, up: worst.shift >= 0 });
  const excess = Math.max(0, Math.abs(worst.shift) - ordinary);
  const z = (worst.shift >= 0 ? excess : -excess) / scale;
  return {
    before: spread.location,
    after: spread.location + worst.shift,
    scale,
    z,
    onsetMs: excess > 0 ? onsetOf(searched, { start: worst.start, location: spread.location, shift: worst.shift }) : null,
  };
}

/** Median of a stretch of finite values, by insertion: stretches are short, and this runs for each one of every series. */
function stretchMedian(values: readonly number[], start: number, length: number): number {
  if (length > insertionMax) return quantileOfSorted(ascending(values.slice(start, start + length)), 0.5);
  const sorted: number[] = [];
  for (let index = start; index < start + length; index += 1) {
    const value = values[index] ?? 0;
    let place = sorted.length;
    while (place > 0 && (sorted[place - 1] ?? 0) > value) {
      sorted[place] = sorted[place - 1] ?? 0;
      place -= 1;
    }
    sorted[place] = value;
  }
  return quantileOfSorted(sorted, 0.5);
}

/** The stretch whose median lies furthest from the location. */
function worstStretch(values: readonly number[], options: { length: number; location: number }): { start: number; shift: number } {
  let best = { start: 0, shift: 0 };
  for (let start = 0; start + options.length <= values.length; start += 1) {
    const shift = stretchMedian(values, start, options.length) - options.location;
    if (Math.abs(shift) > Math.abs(best.shift)) best = { start, shift };
  }
  return best;
}

/** How far stretches of the reference went in the same direction. */
function ordinaryExcursion(values: readonly number[], options: { length: number; location: number; up: boolean }): number {
  const count = values.length - options.length + 1;
  if (count <= 0) return 0;
  const step = Math.max(1, Math.ceil(count / stretchesMax));
  const shifts: number[] = [];
  for (let start = 0; start < count; start += step) {
    const shift = stretchMedian(values, start, options.length) - options.location;
    shifts.push(Math.max(0, options.up ? shift : -shift));
  }
  return quantileOfSorted(ascending(shifts), ordinaryShare);
}

/** Walks back from the worst stretch while samples are more than half way out; forward when its first ones are not. */
function onsetOf(points: Points, options: { start: number; location: number; shift: number }): number | null {
  const half = Math.abs(options.shift) / 2;
  const out = (index: number): boolean => {
    const shift = (points.values[index] ?? options.location) - options.location;
    return (options.shift >= 0 ? shift : -shift) > half;
  };
  let onset = options.start;
  while (onset < points.values.length - 1 && !out(onset)) onset += 1;
  while (onset > 0 && out(onset - 1)) onset -= 1;
  return points.atMs[onset] ?? null;
}

/** Small charts as inline SVG: all on one time axis, the onset one vertical line, changes small triangles, the usual range a tint. */
import type { SnapshotSeries } from "../contract/evidence.ts";
import { htmlText } from "./text.ts";
import { clockText } from "./time-text.ts";
import { seriesText, valueText } from "./value-text.ts";

export interface ChartAxis {
  readonly fromMs: number;
  readonly toMs: number;
  readonly onsetMs: number;
  readonly windowMs: number;
  /** Where normal was learned; values in it make the tint. */
  readonly normal: { readonly fromMs: number; readonly toMs: number };
  readonly changes: readonly { readonly atMs: number; readonly label: string }[];
}

const width = 320;
const top = 6;
const bottom = 72;
const height = 88;
/** A line is broken where this many windows have no value. */
const gapWindows = 3;

/** One axis for all charts: the fault, and before it three times as long, at least thirty windows, at most all of normal. */
export function chartAxis(options: {
  normal: { fromMs: number; toMs: number };
  fault: { fromMs: number; toMs: number };
  onsetMs: number;
  windowMs: number;
  changes: readonly { atMs: number; label: string }[];
}): ChartAxis {
  const { normal, fault, onsetMs, windowMs, changes } = options;
  const beforeMs = Math.max(3 * (fault.toMs - fault.fromMs), 30 * windowMs);
  const fromMs = Math.max(normal.fromMs, fault.fromMs - beforeMs);
  const shown = changes.filter(({ atMs }) => atMs >= fromMs && atMs <= fault.toMs);
  return { fromMs, toMs: fault.toMs, onsetMs, windowMs, normal, changes: shown };
}

interface Scale {
  x(atMs: number): string;
  y(value: number): string;
  readonly low: number;
  readonly high: number;
  readonly usual: readonly [number, number] | null;
}

/** The chart of a series. Its numbers are in its text alternative too. */
export function chartSvg(series: SnapshotSeries, axis: ChartAxis): string {
  const scale = scaleOf(series, axis);
  const onset = scale.x(axis.onsetMs);
  const label = `${series.entity} ${seriesText(series)}: from ${valueText(series, scale.low)} to ${valueText(series, scale.high)}`;
  const tint =
    scale.usual === null ? "" : `<rect class="tint" x="0" width="${width}" y="${scale.y(scale.usual[1])}" height="${tintHeight(scale)}"/>`;
  const lines = stretches(series, axis)
    .map((points) => `<polyline points="${points.map(({ atMs, value }) => `${scale.x(atMs)},${scale.y(value)}`).join(" ")}"/>`)
    .join("");
  const changes = axis.changes
    .map(({ atMs, label: change }) => {
      const x = Number(scale.x(atMs));
      return `<path class="change" d="M${x - 4} ${bottom + 6}L${x} ${bottom}L${x + 4} ${bottom + 6}Z"><title>${htmlText(change)}</title></path>`;
    })
    .join("");
  const anchor = Number(onset) > width * 0.75 ? "end" : "middle";
  return (
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${htmlText(label)}">${tint}` +
    `<path class="base" d="M0 ${bottom}H${width}"/><path class="onset" d="M${onset} 0V${bottom}"/>${lines}${changes}` +
    `<text x="0" y="${height - 2}">${clockText(axis.fromMs)}</text>` +
    `<text x="${onset}" y="${height - 2}" text-anchor="${anchor}">onset ${clockText(axis.onsetMs)}</text></svg>`
  );
}

/** Lowest and highest value shown, and the usual range, for the line above a chart. */
export function chartRange(series: SnapshotSeries, axis: ChartAxis): string {
  const { low, high, usual } = scaleOf(series, axis);
  const usually = usual === null ? "" : `, usually ${valueText(series, usual[0])} to ${valueText(series, usual[1])}`;
  return `${valueText(series, low)} to ${valueText(series, high)}${usually}`;
}

function tintHeight(scale: Scale): string {
  const usual = scale.usual ?? [0, 0];
  return Math.max(1, Number(scale.y(usual[0])) - Number(scale.y(usual[1]))).toFixed(1);
}

function scaleOf(series: SnapshotSeries, axis: ChartAxis): Scale {
  const shown = valuesWithin(series, axis);
  const usual = usualRange(valuesWithin(series, axis.normal));
  let low = Math.min(...shown, usual?.[0] ?? Number.POSITIVE_INFINITY);
  let high = Math.max(...shown, usual?.[1] ?? Number.NEGATIVE_INFINITY);
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 0];
  // A quantity that is near zero at times is drawn from zero, so that small noise looks small.
  const floor = low >= 0 && low < high / 2 ? 0 : low;
  const span = high - floor || 1;
  return {
    low,
    high,
    usual,
    x: (atMs) => ((width * (atMs - axis.fromMs)) / Math.max(1, axis.toMs - axis.fromMs)).toFixed(1),
    y: (value) => (bottom - ((bottom - top) * (value - floor)) / span).toFixed(1),
  };
}

function valuesWithin(series: SnapshotSeries, within: { fromMs: number; toMs: number }): number[] {
  return series.values.filter((_, index) => {
    const atMs = series.atMs[index] ?? 0;
    return atMs >= within.fromMs && atMs < within.toMs;
  });
}

/** Between the 5th and the 95th percentile of what was normal. */
function usualRange(values: readonly number[]): [number, number] | null {
  if (values.length < 5) return null;
  const sorted = [...values].sort((left, right) => left - right);
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  return [at(0.05), at(0.95)];
}

interface Point {
  readonly atMs: number;
  readonly value: number;
}

function stretches(series: SnapshotSeries, axis: ChartAxis): Point[][] {
  const parts: Point[][] = [];
  let previousMs = Number.NEGATIVE_INFINITY;
  for (const [index, atMs] of series.atMs.entries()) {
    const value = series.values[index];
    if (value === undefined || atMs < axis.fromMs || atMs >= axis.toMs) continue;
    if (atMs - previousMs > gapWindows * axis.windowMs) parts.push([]);
    parts.at(-1)?.push({ atMs, value });
    previousMs = atMs;
  }
  // A single value is drawn as a short dash.
  return parts.map((points) => {
    const [first] = points;
    return points.length === 1 && first !== undefined ? [first, { atMs: first.atMs + axis.windowMs, value: first.value }] : points;
  });
}

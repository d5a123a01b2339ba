/**
 * The smallest scale that counts as a deviation, by kind of quantity: keeps near-constant and idle series from looking
 * infinitely abnormal. An idle series is told from a busy one by comparing it with the same quantity of other entities.
 */
import type { SnapshotSeries } from "../contract/evidence.ts";
import type { MetricKind } from "../contract/series.ts";
import { ascending, median, quantileOfSorted } from "./robust-statistics.ts";

/** Share of the own location that any quantity of this kind may move without meaning. */
const relativeFloor: Readonly<Record<MetricKind, number>> = {
  cpu: 0.1,
  memory: 0.03,
  disk: 0.1,
  network: 0.1,
  runtime: 0.1,
  saturation: 0.1,
  latency: 0.1,
  errors: 0.1,
  traffic: 0.1,
  log: 0.2,
  other: 0.1,
};

/** Share of what the same quantity usually is at other entities. */
const peerShare = 0.05;
/** Kinds in which being idle beside busy peers makes a large ratio meaningless; a fast service is not an idle one. */
const idleKinds: ReadonlySet<MetricKind> = new Set(["cpu", "memory", "disk", "network", "runtime", "saturation", "other"]);
/** A ratio of errors moves by one over the number of requests through a single unlucky one; kept within these. */
const errorRatioFloorMin = 0.002;
const errorRatioFloorMax = 0.05;
/** Requests per window where nobody counted them. */
const requestsUsual = 50;
/** Utilisations and other ratios of 0..1. */
const ratioFloor = 0.02;
/** Queues and pools: one item more or less is nothing. */
const itemFloor = 0.5;
/** A tenth of the shortest time a request is likely to be measured at, in seconds. */
const latencyFloorSeconds = 0.000_5;

const secondsPerUnit: Readonly<Record<string, number>> = { s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 };

/** Seconds in one unit of a duration, or null for a unit that is none. */
export function secondsPer(unit: string): number | null {
  return secondsPerUnit[unit] ?? null;
}

/** The same quantity at other entities: what idle is measured against. */
export function peerKey(series: SnapshotSeries): string {
  return JSON.stringify([series.metric, series.statistic]);
}

/** Median over a group of series of how large their values usually are. */
export function peerLevel(typicalValues: readonly number[]): number {
  return median(typicalValues);
}

/** Usual size of a series' values: the upper quartile of their magnitude. */
export function typicalValue(series: SnapshotSeries): number {
  return quantileOfSorted(ascending(series.values.map((value) => Math.abs(value))), 0.75);
}

/** The smallest scale for a series whose reference lies at `location`. Units are the series' own. */
export function scaleFloor(
  series: SnapshotSeries,
  options: { location: number; peerLevel: number; windowMs: number; requestsPerSecond: number | null },
): number {
  const relative = Math.abs(options.location) * relativeFloor[series.kind];
  const idle = idleKinds.has(series.kind) ? options.peerLevel * peerShare : 0;
  return Math.max(relative, idle, absoluteFloor(series, options));
}

function absoluteFloor(series: SnapshotSeries, options: { location: number; windowMs: number; requestsPerSecond: number | null }): number {
  const seconds = Math.max(options.windowMs, 1) / 1_000;
  if (series.statistic === "error_ratio") {
    const requests = options.requestsPerSecond === null ? requestsUsual : options.requestsPerSecond * seconds;
    return Math.min(errorRatioFloorMax, Math.max(errorRatioFloorMin, 1 / Math.max(requests, 1e-9)));
  }
  if (series.statistic === "rate") {
    // Counting noise: n events stray by the square root of n, and one event alone is never a deviation.
    return Math.sqrt(Math.max(Math.abs(options.location) * seconds, 1)) / seconds;
  }
  const isTime = series.kind === "latency" || (series.source === "kernel" && secondsPer(series.unit) !== null);
  if (isTime) return latencyFloorSeconds / (secondsPer(series.unit) ?? 1);
  if (series.unit.startsWith("{") || series.kind === "saturation") return itemFloor;
  if (series.unit === "1") return ratioFloor;
  return 1e-9;
}

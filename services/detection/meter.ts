/** From the merged partials of one metric in one window to the values of its series. */
import { roundScore } from "../../contract/canonical.ts";
import { isFromKernel } from "../../contract/kernel-telemetry.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import { derivedMetric, type Statistic } from "../../contract/series.ts";
import type { DurationPartial, GaugePartial, Partial } from "../../contract/window.ts";
import { bucketsQuantile } from "../../models/histogram.ts";
import type { MeterValue, SeriesNature } from "./series-tracker.ts";
import { type StoredStream, Streams } from "./streams.ts";

const fixedPoint = 1_048_576;
/** A delta sum is spread over the time since the one before, which is at most this many windows. */
const deltaWindowsMax = 60;

export type MeterValues = Map<Statistic, MeterValue>;

export interface MeterKey {
  readonly entity: string;
  readonly metric: string;
  readonly attributes: string;
  readonly kind: Partial["kind"];
}

/** What besides its partials made a window's values, so that late partials can be added to them exactly. */
export interface MeterBasis {
  /** Time that a sum of the window covers. */
  readonly coveredMs: number;
  /** Values of streams that did not report in this window. */
  readonly carried: readonly number[];
}

export interface StoredMeter extends MeterKey {
  readonly idle: number;
  readonly streams: readonly StoredStream[];
}

/** A metric of an entity with its attributes, over time: streams of instances, and windows since it was last told of. */
export class Meter {
  readonly key: MeterKey;
  readonly isOf: SeriesNature;
  readonly #streams: Streams;
  #idle = 0;

  constructor(key: MeterKey, onDropped: () => void) {
    this.key = key;
    // Spans, log lines and what the kernel counts are events, so a window without them is a window in which nothing happened.
    const isCounted = (key.kind === "count" || key.kind === "histogram") && isFromKernel(key);
    this.isOf = key.kind === "duration" || key.metric === derivedMetric.logRecords || isCounted ? "events" : "reports";
    this.#streams = new Streams(onDropped);
  }

  /** Windows since the last one with data. */
  get idle(): number {
    return this.#idle;
  }

  /** Moves on by one window; `partials` is empty when nothing was told of it. `zeroWindowsMax`: how long silence of events counts as zero. */
  next(
    partials: readonly Partial[],
    window: { startMs: number; endMs: number; zeroWindowsMax: number },
  ): { values: MeterValues; basis: MeterBasis } {
    const windowMs = window.endMs - window.startMs;
    const gap = Math.min(this.#idle + 1, deltaWindowsMax);
    this.#idle = partials.length === 0 ? this.#idle + 1 : 0;
    const coveredMs = this.isOf === "events" ? windowMs : gap * windowMs;
    const basis = { coveredMs, carried: this.key.kind === "gauge" ? this.#streams.carriedGauges(partials, window) : [] };
    if (partials.length === 0) {
      const isZero = this.isOf === "events" && this.#idle <= window.zeroWindowsMax;
      return { values: new Map(isZero ? [["rate", { value: 0, events: 0 }]] : []), basis };
    }
    if (this.key.kind === "cumulative") return { values: this.#streams.rates(partials, window), basis };
    if (this.key.kind === "histogram") return { values: this.#streams.histograms(partials, window), basis };
    return { values: statelessValues(this.key, partials, basis), basis };
  }

  toJSON(): StoredMeter {
    return { ...this.key, idle: this.#idle, streams: this.#streams.toJSON() };
  }

  static fromJSON(stored: StoredMeter, onDropped: () => void): Meter {
    const { entity, metric, attributes, kind } = stored;
    const meter = new Meter({ entity, metric, attributes, kind }, onDropped);
    meter.#idle = stored.idle;
    meter.#streams.restore(stored.streams);
    return meter;
  }
}

/** Values of durations, counts and gauges, which need no earlier window; empty for the other forms. */
export function statelessValues(key: MeterKey, partials: readonly Partial[], basis: MeterBasis): MeterValues {
  const [first] = partials;
  if (first?.kind === "duration") return durationValues(first, basis.coveredMs / 1_000);
  if (first?.kind === "count") {
    const value = (Number(BigInt(first.sum)) / fixedPoint) * (1_000 / basis.coveredMs);
    return new Map([["rate", { value: roundScore(value), events: first.count }]]);
  }
  const gauges = partials.filter((partial): partial is GaugePartial => partial.kind === "gauge");
  if (gauges.length === 0) return new Map();
  const values = [...gauges.map((gauge) => gauge.last), ...basis.carried];
  return new Map([["value", { value: combined(key.metric, values), events: null }]]);
}

/** One value of several streams: ratios and times are averaged, amounts added; summed in order of size, so that their order is of no matter. */
function combined(metric: string, values: readonly number[]): number {
  let sum = 0;
  for (const value of [...values].sort((left, right) => left - right)) sum += value;
  return metricKind(metric, "value").merge === "mean" ? sum / values.length : sum;
}

function durationValues(duration: DurationPartial, seconds: number): MeterValues {
  const { count, failed, buckets } = duration;
  const values: MeterValues = new Map([["rate", { value: roundScore(count / seconds), events: count }]]);
  if (count === 0) return values;
  values.set("error_ratio", { value: roundScore(failed / count), events: count });
  for (const [statistic, quantile] of [
    ["p50", 0.5],
    ["p95", 0.95],
    ["p99", 0.99],
  ] as const) {
    const ns = bucketsQuantile(buckets, quantile);
    // Inside its bucket a quantile is a guess; it is never outside of what was measured.
    if (ns !== null) values.set(statistic, { value: roundScore(clamp(ns, duration.minNs, duration.maxNs) / 1e9), events: count });
  }
  return values;
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

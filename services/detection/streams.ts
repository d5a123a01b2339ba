/** The streams (instances, folded attributes) of one metric: differences of cumulative points, and values carried between reports. */
import { roundScore, sortedBy } from "../../contract/canonical.ts";
import type { Statistic } from "../../contract/series.ts";
import type { CumulativePartial, HistogramPartial, Partial } from "../../contract/window.ts";
import { quantileOfBounds } from "../../models/histogram.ts";
import type { MeterValue } from "./series-tracker.ts";

const streamsMax = 256;
const fixedPoint = 1_048_576n;
/** A stream that is late for one and a half of its usual gaps no longer counts. */
const carryGaps = 1.5;
const gapWindowsMax = 60;
/** A stream that has not reported for so long is forgotten. */
const forgetWindows = 240;
/** The first point of a stream counts from its start when that is this close. */
const firstWindowsMax = 2;

interface Window {
  readonly startMs: number;
  readonly endMs: number;
}

/** The newest point of one stream, and what it adds to the metric's value. */
export interface StoredStream {
  readonly stream: string;
  readonly windowStartMs: number;
  /** Windows between its last two reports; 0 after the first. */
  readonly gapWindows: number;
  /** Its gauge value, or its rate per second. */
  readonly value: number | null;
  readonly point: Point | null;
}

interface Point {
  readonly startAtUs: number;
  readonly lastAtUs: number;
  /** Count of a histogram. */
  readonly last: number;
  /** Fixed point, decimal digits; histograms only. */
  readonly sum?: string;
  readonly bounds?: readonly number[];
  readonly counts?: readonly number[];
}

interface Growth {
  readonly count: number;
  readonly sum: bigint;
  readonly counts: readonly number[];
  readonly seconds: number;
}

export class Streams {
  readonly #onDropped: () => void;
  readonly #streams = new Map<string, StoredStream>();

  constructor(onDropped: () => void) {
    this.#onDropped = onDropped;
  }

  /** Notes the gauges of the window; answers the values of streams that are between two reports. */
  carriedGauges(partials: readonly Partial[], window: Window): number[] {
    for (const partial of partials) {
      if (partial.kind === "gauge") this.#put(partial.stream, window, { value: partial.last, point: null });
    }
    return partials.length === 0 ? [] : this.#carried(window);
  }

  /** Rate per second, all streams together. */
  rates(partials: readonly Partial[], window: Window): Map<Statistic, MeterValue> {
    let known = 0;
    for (const partial of partials) {
      if (partial.kind !== "cumulative") continue;
      const point = { startAtUs: partial.startAtUs, lastAtUs: partial.lastAtUs, last: partial.last };
      const value = this.#rateOf(partial, window);
      if (value !== null) known += 1;
      this.#put(partial.stream, window, { value, point });
    }
    return known === 0 ? new Map() : new Map([["rate", { value: roundScore(this.#total(window)), events: null }]]);
  }

  /** Rate, mean and quantiles; quantiles of what was added in this window, over the bounds that most of it has. */
  histograms(partials: readonly Partial[], window: Window): Map<Statistic, MeterValue> {
    const byBounds = new Map<string, { bounds: readonly number[]; counts: number[]; total: number }>();
    let count = 0;
    let sum = 0n;
    let known = 0;
    for (const partial of sortedBy(partials.filter(isHistogram), (histogram) => histogram.stream)) {
      const growth = this.#growthOf(partial, window);
      const { startAtUs, lastAtUs, bounds, counts } = partial;
      const value = growth === null ? null : growth.count / growth.seconds;
      this.#put(partial.stream, window, { value, point: { startAtUs, lastAtUs, last: partial.count, sum: partial.sum, bounds, counts } });
      if (growth === null) continue;
      known += 1;
      count += growth.count;
      sum += growth.sum;
      const key = bounds.join(",");
      const group = byBounds.get(key) ?? { bounds, counts: counts.map(() => 0), total: 0 };
      byBounds.set(key, group);
      group.total += growth.count;
      for (const [index, added] of growth.counts.entries()) group.counts[index] = (group.counts[index] ?? 0) + added;
    }
    const values = new Map<Statistic, MeterValue>();
    if (known === 0) return values;
    values.set("rate", { value: roundScore(this.#total(window)), events: count });
    if (count === 0) return values;
    values.set("mean", { value: roundScore(Number(sum) / Number(fixedPoint) / count), events: count });
    const [largest] = [...sortedBy(byBounds, ([key]) => key)].sort(([, left], [, right]) => right.total - left.total);
    for (const [statistic, quantile] of [
      ["p50", 0.5],
      ["p95", 0.95],
      ["p99", 0.99],
    ] as const) {
      const value = largest === undefined ? null : quantileOfBounds(largest[1].bounds, largest[1].counts, quantile);
      if (value !== null) values.set(statistic, { value: roundScore(value), events: count });
    }
    return values;
  }

  toJSON(): StoredStream[] {
    return sortedBy(this.#streams.values(), ({ stream }) => stream);
  }

  restore(streams: readonly StoredStream[]): void {
    for (const stream of streams) this.#streams.set(stream.stream, stream);
  }

  #put(stream: string, window: Window, newest: { value: number | null; point: Point | null }): void {
    const before = this.#streams.get(stream);
    if (before === undefined && this.#streams.size >= streamsMax) {
      this.#onDropped();
      return;
    }
    const windows = before === undefined ? 0 : Math.round((window.startMs - before.windowStartMs) / (window.endMs - window.startMs));
    // Two bounds of one stream in one window: the gap is that to the window before.
    const gapWindows = windows === 0 ? (before?.gapWindows ?? 0) : Math.min(windows, gapWindowsMax);
    this.#streams.set(stream, { stream, windowStartMs: window.startMs, gapWindows, ...newest });
  }

  /** Values of streams that have not reported in this window and are not overdue; forgets those long gone. */
  #carried(window: Window): number[] {
    const carried: number[] = [];
    for (const [name, { windowStartMs, gapWindows, value }] of this.#streams) {
      const age = (window.startMs - windowStartMs) / (window.endMs - window.startMs);
      if (age > forgetWindows) this.#streams.delete(name);
      else if (age > 0 && age <= carryGaps * gapWindows && value !== null) carried.push(value);
    }
    return carried.sort((left, right) => left - right);
  }

  #total(window: Window): number {
    const reported = [...this.#streams.values()].filter(({ windowStartMs }) => windowStartMs === window.startMs);
    const values = [...this.#carried(window), ...reported.flatMap(({ value }) => (value === null ? [] : [value]))];
    return values.sort((left, right) => left - right).reduce((total, value) => total + value, 0);
  }

  #rateOf(partial: CumulativePartial, window: Window): number | null {
    const before = this.#streams.get(partial.stream)?.point ?? null;
    const elapsed = elapsedOf(before, partial, window);
    if (elapsed === null) return null;
    const grown = elapsed.isReset || before === null ? partial.last : partial.last - before.last;
    return grown / elapsed.seconds;
  }

  #growthOf(partial: HistogramPartial, window: Window): Growth | null {
    const { count, counts, sum } = partial;
    if (partial.delta) return { count, sum: BigInt(sum), counts, seconds: this.#deltaSeconds(partial, window) };
    const before = this.#streams.get(partial.stream)?.point ?? null;
    const elapsed = elapsedOf(before, { ...partial, last: count }, window);
    if (elapsed === null) return null;
    const isNew = elapsed.isReset || before?.counts === undefined || before.bounds?.join(",") !== partial.bounds.join(",");
    if (isNew && !elapsed.isReset && before !== null) return null;
    const base = isNew ? null : before;
    const grown = counts.map((value, index) => Math.max(0, value - (base?.counts?.[index] ?? 0)));
    return { count: count - (base?.last ?? 0), sum: BigInt(sum) - BigInt(base?.sum ?? "0"), counts: grown, seconds: elapsed.seconds };
  }

  #deltaSeconds(partial: HistogramPartial, window: Window): number {
    const windowMs = window.endMs - window.startMs;
    const seconds = (partial.lastAtUs - partial.startAtUs) / 1e6;
    return partial.startAtUs > 0 && seconds > 0 ? Math.max(seconds, windowMs / 1_000) : windowMs / 1_000;
  }
}

function isHistogram(partial: Partial): partial is HistogramPartial {
  return partial.kind === "histogram";
}

/** Time over which a cumulative point grew since the one before, and whether it began anew; null when that cannot be said. */
function elapsedOf(
  before: Point | null,
  now: { startAtUs: number; lastAtUs: number; last: number },
  window: Window,
): { seconds: number; isReset: boolean } | null {
  if (before === null) {
    const sinceUs = now.lastAtUs - now.startAtUs;
    const isYoung = now.startAtUs > 0 && sinceUs > 0 && sinceUs <= firstWindowsMax * 1_000 * (window.endMs - window.startMs);
    return isYoung ? { seconds: sinceUs / 1e6, isReset: true } : null;
  }
  const isReset = now.last < before.last || (now.startAtUs > before.lastAtUs && before.startAtUs > 0);
  const fromUs = isReset ? Math.max(before.lastAtUs, now.startAtUs) : before.lastAtUs;
  const sinceUs = now.lastAtUs - fromUs;
  return sinceUs > 0 ? { seconds: sinceUs / 1e6, isReset } : null;
}

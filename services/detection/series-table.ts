/** All meters and series of one partition: what a closed window makes of them. */

import type { Anomaly, RequestWindow } from "../../contract/anomaly.ts";
import { contentHash, hash32, roundScore, sortedBy } from "../../contract/canonical.ts";
import { invariant } from "../../contract/invariant.ts";
import type { DurationWindow, SeriesSamples } from "../../contract/port.ts";
import { derivedMetric, type SeriesKey, type Statistic } from "../../contract/series.ts";
import type { DurationPartial, Partial } from "../../contract/window.ts";
import type { StretchEvent } from "../../models/stretch.ts";
import { Meter, type MeterBasis, type MeterKey, type MeterValues, type StoredMeter } from "./meter.ts";
import { SeriesTracker, type StoredTracker, type WindowSpan } from "./series-tracker.ts";
import { mergePartials, meterKey } from "./window-accumulator.ts";

/** Events count as zero for so many windows after the last one; then nobody knows. */
const zeroWindowsMax = 60;
/**
 * While an entity's spans are no older than this, they say what it served; else the kernel does. Long enough that a pause between two
 * requests, or between two exports, hands nothing over.
 */
const spansWindowsMax = 30;
/** A meter without data for so long is forgotten with its series. */
const idleWindowsMax = 2_000;
/** Meters are kept in this many chunks of a checkpoint. */
const meterChunks = 16;

interface ClosedSeries {
  readonly series: SeriesSamples[];
  readonly durations: DurationWindow[];
  readonly anomalies: Anomaly[];
  readonly requests: RequestWindow[];
  /** Of meters whose values need it, by meter key. */
  readonly bases: Map<string, MeterBasis>;
}

/** As it comes, by series id. */
type Closing = Omit<ClosedSeries, "series" | "anomalies" | "requests"> & {
  readonly series: (readonly [string, SeriesSamples])[];
  readonly anomalies: (readonly [string, Anomaly])[];
};

interface TrackedMeter {
  readonly meter: Meter;
  readonly trackers: Map<Statistic, SeriesTracker>;
}

/** One chunk of a checkpoint. */
type StoredChunk = readonly { readonly meter: StoredMeter; readonly trackers: readonly (readonly [Statistic, StoredTracker])[] }[];

interface SeriesTableOptions {
  /** Series at most; new ones beyond are dropped and counted. */
  readonly seriesMax: number;
  readonly onDropped: (what: "series" | "stream" | "value") => void;
}

export class SeriesTable {
  readonly #options: SeriesTableOptions;
  readonly #meters = new Map<string, TrackedMeter>();
  readonly #changed = new Set<number>();
  #size = 0;

  constructor(options: SeriesTableOptions) {
    this.#options = options;
  }

  /** Series known now. */
  get size(): number {
    return this.#size;
  }

  /** Scores and learns one window; windows come in order. `byMeter` holds its merged partials, without the entity-wide totals. */
  close(byMeter: ReadonlyMap<string, readonly Partial[]>, window: WindowSpan): ClosedSeries {
    const closed: Closing = { series: [], durations: [], anomalies: [], bases: new Map() };
    const all = withTotals(byMeter);
    const keys = new Set([...all.keys(), ...this.#meters.keys()]);
    for (const key of sortedBy(keys, (name) => name)) {
      const partials = all.get(key) ?? [];
      const tracked = this.#meterOf(key, partials);
      if (tracked === null) continue;
      this.#changed.add(chunkOf(key));
      const { values, basis } = tracked.meter.next(partials, { ...window, zeroWindowsMax });
      if (needsBasis(basis, window)) closed.bases.set(key, basis);
      this.#track(tracked, values, { window, closed });
      closed.durations.push(...durationWindows(partials, window));
      if (tracked.meter.idle > idleWindowsMax) this.#forget(key, tracked, { window, closed });
    }
    return {
      ...closed,
      requests: this.#requests(all, window),
      series: sortedBy(closed.series, ([id]) => id).map(([, samples]) => samples),
      anomalies: sortedBy(closed.anomalies, ([id]) => id).map(([, anomaly]) => anomaly),
    };
  }

  /** Chunks of the meters that changed since the last call; null: the chunk is empty. */
  snapshot(): Map<number, unknown> {
    const chunks = new Map<number, { meter: Meter; trackers: (readonly [Statistic, SeriesTracker])[] }[]>();
    for (const chunk of this.#changed) chunks.set(chunk, []);
    this.#changed.clear();
    for (const [key, { meter, trackers }] of sortedBy(this.#meters, ([name]) => name)) {
      chunks.get(chunkOf(key))?.push({ meter, trackers: sortedBy(trackers, ([statistic]) => statistic) });
    }
    return new Map([...chunks].map(([chunk, meters]) => [chunk, meters.length === 0 ? null : meters]));
  }

  restore(stored: unknown): void {
    for (const { meter: storedMeter, trackers: storedTrackers } of stored as StoredChunk) {
      const meter = Meter.fromJSON(storedMeter, () => this.#options.onDropped("stream"));
      const trackers = new Map<Statistic, SeriesTracker>();
      for (const [statistic, tracker] of storedTrackers) {
        trackers.set(statistic, SeriesTracker.fromJSON(seriesKeyOf(meter.key, statistic), meter.isOf, tracker));
      }
      this.#meters.set(meterKey(meter.key), { meter, trackers });
      this.#size += trackers.size;
    }
  }

  /** What every entity served in the window just taken, each once: as its spans have it, or the kernel where they are gone. */
  #requests(all: ReadonlyMap<string, readonly Partial[]>, window: WindowSpan): RequestWindow[] {
    const served = new Map<string, { readonly meter: Meter; readonly request: RequestWindow }>();
    for (const [key, { meter }] of this.#meters) {
      const request = requestWindow(meter, all.get(key) ?? [], window);
      if (request === null) continue;
      const other = served.get(request.entity);
      if (other === undefined || preferred(meter, other.meter) === meter) served.set(request.entity, { meter, request });
    }
    return sortedBy(served, ([entity]) => entity).map(([, { request }]) => request);
  }

  #meterOf(key: string, partials: readonly Partial[]): TrackedMeter | null {
    const known = this.#meters.get(key);
    if (known !== undefined) return known;
    if (this.#size >= this.#options.seriesMax) {
      this.#options.onDropped("series");
      return null;
    }
    const [first] = partials;
    invariant(first !== undefined, "a meter begins with a partial");
    const { entity, metric, attributes, kind } = first;
    const meter = new Meter({ entity, metric, attributes, kind }, () => this.#options.onDropped("stream"));
    const tracked = { meter, trackers: new Map<Statistic, SeriesTracker>() };
    this.#meters.set(key, tracked);
    return tracked;
  }

  #track(tracked: TrackedMeter, values: MeterValues, of: { window: WindowSpan; closed: Closing }): void {
    const { window, closed } = of;
    for (const [statistic, value] of values) {
      if (!Number.isFinite(value.value)) {
        this.#options.onDropped("value");
        continue;
      }
      const tracker = this.#trackerOf(tracked, statistic);
      if (tracker === null) continue;
      const { sample, event } = tracker.observe(value, window);
      closed.series.push([tracker.id, samplesOf(tracker, window, [sample])]);
      if (event !== null) closed.anomalies.push([tracker.id, anomalyOf(tracker, event, window)]);
    }
    for (const [statistic, tracker] of tracked.trackers) {
      if (values.has(statistic)) continue;
      const before = tracker.state;
      const event = tracker.miss(window);
      // Without a sample nobody would learn that the series has fallen silent.
      if (tracker.state !== before) closed.series.push([tracker.id, samplesOf(tracker, window, [])]);
      if (event !== null) closed.anomalies.push([tracker.id, anomalyOf(tracker, event, window)]);
    }
  }

  #trackerOf(tracked: TrackedMeter, statistic: Statistic): SeriesTracker | null {
    const known = tracked.trackers.get(statistic);
    if (known !== undefined) return known;
    if (this.#size >= this.#options.seriesMax) {
      this.#options.onDropped("series");
      return null;
    }
    const tracker = new SeriesTracker(seriesKeyOf(tracked.meter.key, statistic), tracked.meter.isOf);
    tracked.trackers.set(statistic, tracker);
    this.#size += 1;
    return tracker;
  }

  #forget(key: string, tracked: TrackedMeter, of: { window: WindowSpan; closed: Closing }): void {
    for (const tracker of tracked.trackers.values()) {
      const event = tracker.end();
      if (event !== null) of.closed.anomalies.push([tracker.id, anomalyOf(tracker, event, of.window)]);
    }
    this.#size -= tracked.trackers.size;
    this.#meters.delete(key);
  }
}

export function seriesKeyOf(key: MeterKey, statistic: Statistic): SeriesKey {
  return { entity: key.entity, metric: key.metric, statistic, attributes: key.attributes };
}

/** Adds to each entity's durations, told per attribute set, the one of all together (attributes empty). */
export function withTotals(byMeter: ReadonlyMap<string, readonly Partial[]>): Map<string, readonly Partial[]> {
  const all = new Map(byMeter);
  for (const [key, partials] of byMeter) {
    for (const partial of partials) {
      if (partial.kind !== "duration" || partial.attributes === "") continue;
      const total: DurationPartial = { ...partial, attributes: "" };
      const totalKey = meterKey(total);
      invariant(totalKey !== key, "a total is not one of its parts");
      const known = all.get(totalKey)?.[0];
      all.set(totalKey, [known === undefined ? total : mergePartials(known, total)]);
    }
  }
  return all;
}

export function durationWindows(partials: readonly Partial[], window: WindowSpan): DurationWindow[] {
  return partials.flatMap((partial) => {
    if (partial.kind !== "duration" || partial.count === 0) return [];
    const { entity, metric, attributes, count, failed, sumNs, buckets } = partial;
    return [{ entity, metric, attributes, windowStartMs: window.startMs, count, failed, sumNs, buckets }];
  });
}

/** Of two tellers of what one entity served. */
function preferred(one: Meter, other: Meter): Meter {
  const [spans, kernel] = one.key.metric === derivedMetric.serverDuration ? [one, other] : [other, one];
  return spans.idle <= spansWindowsMax ? spans : kernel;
}

const servedMetrics: ReadonlySet<string> = new Set([derivedMetric.serverDuration, derivedMetric.kernelServerDuration]);

/** What an entity served, all operations together; also when that is nothing, until it has been idle for long. */
function requestWindow(meter: Meter, partials: readonly Partial[], window: WindowSpan): RequestWindow | null {
  const { entity, metric, attributes, kind } = meter.key;
  if (kind !== "duration" || !servedMetrics.has(metric) || attributes !== "" || meter.idle > zeroWindowsMax) return null;
  const [total] = partials;
  const served = total?.kind === "duration" ? total : { count: 0, failed: 0, buckets: [] };
  return { entity, windowStartMs: window.startMs, count: served.count, failed: served.failed, buckets: served.buckets };
}

function needsBasis(basis: MeterBasis, window: WindowSpan): boolean {
  return basis.carried.length > 0 || basis.coveredMs !== window.endMs - window.startMs;
}

function samplesOf(tracker: SeriesTracker, window: WindowSpan, samples: SeriesSamples["samples"]): SeriesSamples {
  return { key: tracker.key, unit: tracker.nature.unit, state: tracker.state, readyAtMs: tracker.readyAtMs(window), samples };
}

function anomalyOf(tracker: SeriesTracker, { state, stretch }: StretchEvent, window: WindowSpan): Anomaly {
  const { onsetMs, direction, severity, value, lower, upper, lastOutsideMs } = stretch;
  return {
    id: contentHash({ series: tracker.key, onsetMs }),
    ...{ series: tracker.key, kind: tracker.nature.kind, state, direction, onsetMs },
    atMs: window.endMs,
    endMs: state === "close" ? lastOutsideMs : null,
    severity: roundScore(severity),
    ...{ value, lower, upper },
  };
}

function chunkOf(key: string): number {
  return hash32(key) % meterChunks;
}

/** The embedded TelemetryStore: DuckDB files, one per signal, tenant and UTC day. */
import { compareCodeUnits } from "../../contract/canonical.ts";
import { Coalescer } from "../../contract/coalesce.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type {
  Clock,
  DurationWindow,
  LineQuery,
  SeriesQuery,
  SeriesSummary,
  SpanQuery,
  StoredSeries,
  TelemetryAppend,
  TelemetryStore,
  TemplateCount,
  TemplateQuery,
  TimeRange,
} from "../../contract/port.ts";
import { type Sample, type SeriesKey, seriesId } from "../../contract/series.ts";
import type { KeptLine, KeptSpan } from "../../contract/window.ts";
import { type DayFile, DayFiles, dayMs, dayOf } from "./day-files.ts";
import { readActiveSeries, readDurations, readLines, readSamples, readSpans, readTemplates } from "./queries.ts";
import { type StoredSignal, signals } from "./schema.ts";
import { SeriesCatalog } from "./series-catalog.ts";
import { writeBatch } from "./writer.ts";

interface DuckdbTelemetryStoreOptions {
  /** Folder of all tenants' files; created when missing. Only one process at a time may open it. */
  readonly directory: string;
  readonly tenant: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Days for which each signal is kept after its day has ended; 180, 90 and 30 unless told. */
  readonly retentionDays?: Readonly<Partial<Record<StoredSignal, number>>>;
}

const retentionDaysDefault: Readonly<Record<StoredSignal, number>> = { metrics: 180, logs: 90, traces: 30 };
/** Windows that share a transaction. */
const windowsPerBatchMax = 1_024;
/** Samples that one query answers at most, over all series. */
const samplesMax = 2_000_000;
/** Newest files that are read at start to know which series there are; one silent in all of them is not listed. */
const summaryFilesMax = 7;

/**
 * Opens the store. An amended window (same series, template or duration key and window, another append key) replaces what was stored for it.
 * Counters: `telemetry_store_keys_repeated`, `telemetry_store_series_refused`, `telemetry_store_summaries_refused`,
 * `telemetry_store_answers_cut`, `telemetry_store_files_removed`. Throws DATA_VERSION_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function openDuckdbTelemetryStore(options: DuckdbTelemetryStoreOptions): Promise<TelemetryStore> {
  const catalog = new SeriesCatalog(options.onCounted);
  const files = await DayFiles.open({ ...options, onDetach: (file) => catalog.forget(file) });
  try {
    // The newest file of each signal tells at once when a newer Headwater has written here.
    for (const signal of signals) {
      const newest = files.days(signal).at(-1);
      if (newest !== undefined) await files.use(signal, newest, async () => undefined);
    }
    for (const day of files.days("metrics").slice(-summaryFilesMax)) {
      await files.use("metrics", day, (file) => files.reading((connection) => catalog.summarise(file, connection)));
    }
  } catch (error) {
    await files.close();
    throw error;
  }
  return new DuckdbTelemetryStore(options, files, catalog);
}

class DuckdbTelemetryStore implements TelemetryStore {
  #options: DuckdbTelemetryStoreOptions;
  #files: DayFiles;
  #catalog: SeriesCatalog;
  #writes: Coalescer<readonly TelemetryAppend[]>;
  #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | null = null;

  constructor(options: DuckdbTelemetryStoreOptions, files: DayFiles, catalog: SeriesCatalog) {
    this.#options = options;
    this.#files = files;
    this.#catalog = catalog;
    const parts = { files, catalog, onCounted: options.onCounted };
    this.#writes = new Coalescer((calls) => writeBatch(calls.flat(), parts), { itemsPerFlushMax: windowsPerBatchMax });
  }

  append(windows: readonly TelemetryAppend[]): Promise<void> {
    return this.#track(async () => {
      if (windows.length > 0) await this.#writes.add(windows);
    });
  }

  series(query: SeriesQuery): Promise<StoredSeries[]> {
    return this.#track(async () => {
      const found = new Map<string, { key: SeriesKey; unit: string; samples: Sample[] }>();
      let rowsLeft = samplesMax;
      for (const day of this.#days("metrics", query, 0)) {
        rowsLeft -= await this.#files.use("metrics", day, (file) => this.#samplesOf(file, { ...query, rowsMax: rowsLeft }, found));
        if (rowsLeft > 0) continue;
        this.#options.onCounted("telemetry_store_answers_cut", 1);
        break;
      }
      const sorted = [...found].sort(([left], [right]) => compareCodeUnits(left, right)).slice(0, query.seriesMax);
      return sorted.map(([id, { key, unit, samples }]) => {
        const { state = "learning", readyAtMs = null } = this.#catalog.summary(id) ?? {};
        return { key, unit, state, readyAtMs, samples };
      });
    });
  }

  summaries(options: { entities: readonly string[]; seriesMax: number }): Promise<SeriesSummary[]> {
    return this.#track(async () => this.#catalog.summaries(options.entities, options.seriesMax));
  }

  durations(query: TimeRange & { entities: readonly string[]; rowsMax: number }): Promise<DurationWindow[]> {
    return this.#track(async () => {
      const rows = await this.#gather("metrics", query, 0, (file) => this.#files.reading((reader) => readDurations(reader, file, query)));
      rows.sort(
        (left, right) =>
          compareCodeUnits(left.entity, right.entity) ||
          compareCodeUnits(left.metric, right.metric) ||
          compareCodeUnits(left.attributes, right.attributes) ||
          left.windowStartMs - right.windowStartMs,
      );
      return this.#cut(rows, query.rowsMax);
    });
  }

  spans(query: SpanQuery): Promise<KeptSpan[]> {
    return this.#track(async () => {
      // A span lies in the file of the window in which it ended, which may be the day after its start.
      const spans = await this.#gather("traces", query, 1, (file) => this.#files.reading((reader) => readSpans(reader, file, query)));
      spans.sort(
        (left, right) =>
          left.startAtUs - right.startAtUs || compareCodeUnits(left.traceId, right.traceId) || compareCodeUnits(left.spanId, right.spanId),
      );
      const distinct = spans.filter((span, index) => {
        const next = spans[index + 1];
        return next === undefined || next.spanId !== span.spanId || next.traceId !== span.traceId;
      });
      return this.#cut(distinct, query.spansMax);
    });
  }

  templates(query: TemplateQuery): Promise<TemplateCount[]> {
    return this.#track(async () => {
      const rows = await this.#gather("logs", query, 0, (file) => this.#files.reading((reader) => readTemplates(reader, file, query)));
      rows.sort(
        (left, right) =>
          compareCodeUnits(left.entity, right.entity) ||
          compareCodeUnits(left.template, right.template) ||
          left.windowStartMs - right.windowStartMs ||
          compareCodeUnits(left.severity, right.severity),
      );
      return this.#cut(rows, query.templatesMax);
    });
  }

  lines(query: LineQuery): Promise<KeptLine[]> {
    return this.#track(async () => {
      const lines = await this.#gather("logs", query, 1, (file) => this.#files.reading((reader) => readLines(reader, file, query)));
      lines.sort(
        (left, right) => left.atUs - right.atUs || compareCodeUnits(left.entity, right.entity) || compareCodeUnits(left.body, right.body),
      );
      return this.#cut(lines, query.templatesMax);
    });
  }

  retain(nowMs: number): Promise<string[]> {
    return this.#track(async () => {
      const removed: string[] = [];
      for (const signal of signals) {
        const keptMs = (this.#options.retentionDays?.[signal] ?? retentionDaysDefault[signal]) * dayMs;
        for (const day of this.#files.days(signal)) {
          if ((day + 1) * dayMs + keptMs > nowMs) break;
          // A file that a query is reading goes at the next call.
          const path = await this.#files.remove(signal, day);
          if (path !== null) removed.push(path);
        }
      }
      if (removed.length > 0) this.#options.onCounted("telemetry_store_files_removed", removed.length);
      return removed.sort(compareCodeUnits);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running);
    await this.#files.close();
  }

  /** Days that have a file and may hold rows of the range; `daysLater` for rows that lie in the file of a later day. */
  #days(signal: StoredSignal, range: TimeRange, daysLater: number): number[] {
    return this.#files.days(signal).filter((day) => day >= dayOf(range.fromMs) && day <= dayOf(range.toMs - 1) + daysLater);
  }

  async #gather<T>(signal: StoredSignal, range: TimeRange, daysLater: number, read: (file: DayFile) => Promise<T[]>): Promise<T[]> {
    const rows: T[] = [];
    for (const day of this.#days(signal, range, daysLater)) {
      for (const row of await this.#files.use(signal, day, read)) rows.push(row);
    }
    return rows;
  }

  #cut<T>(rows: readonly T[], rowsMax: number): T[] {
    if (rows.length >= rowsMax) this.#options.onCounted("telemetry_store_answers_cut", 1);
    return rows.slice(0, rowsMax);
  }

  /** Adds one file's samples to what was found in earlier files; answers how many rows were read. */
  async #samplesOf(
    file: DayFile,
    query: SeriesQuery & { readonly rowsMax: number },
    found: Map<string, { key: SeriesKey; unit: string; samples: Sample[] }>,
  ): Promise<number> {
    return await this.#files.reading(async (connection) => {
      const known = await this.#catalog.of(file, connection);
      const entities = new Set(query.entities);
      const asked = [...known.byNumber.values()].filter(
        ({ key }) => (entities.size === 0 || entities.has(key.entity)) && (query.metric === undefined || key.metric === query.metric),
      );
      if (asked.length === 0) return 0;
      let numbers: number[] | null = asked.length === known.byNumber.size ? null : asked.map(({ number }) => number);
      if (asked.length > query.seriesMax) {
        const candidates = asked.map(({ number }) => number);
        const active = new Set(await readActiveSeries(connection, file, { ...query, numbers: candidates, rowsMax: asked.length }));
        const first = asked
          .filter(({ number }) => active.has(number))
          .sort((left, right) => compareCodeUnits(seriesId(left.key), seriesId(right.key)));
        if (first.length > query.seriesMax) this.#options.onCounted("telemetry_store_answers_cut", 1);
        numbers = first.slice(0, query.seriesMax).map(({ number }) => number);
      }
      const rows = await readSamples(connection, file, { ...query, numbers });
      for (const [number, sample] of rows) {
        const series = known.byNumber.get(number);
        if (series === undefined) continue;
        const id = seriesId(series.key);
        const into = found.get(id) ?? { key: series.key, unit: series.unit, samples: [] };
        found.set(id, into);
        // Of several rows for one window the newest comes last and replaces the others.
        if (into.samples.at(-1)?.windowStartMs === sample.windowStartMs) into.samples.pop();
        into.samples.push(sample);
      }
      return rows.length;
    });
  }

  async #track<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the telemetry store is closing");
    const running = work();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }
}

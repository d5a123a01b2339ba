/** What series there are: per file a dictionary from series to number, over all files the newest state of each, kept in memory. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { SeriesSamples, SeriesSummary } from "../../contract/port.ts";
import { type SeriesKey, type SeriesState, seriesId } from "../../contract/series.ts";
import type { DayFile } from "./day-files.ts";
import { newestRowPer } from "./queries.ts";

/** Series of one day, and summaries over all days, at most. */
const seriesMax = 200_000;
/** A series' state is written again after so long even when it has not changed, so that a start finds when it was last seen. */
const stateEveryMs = 600_000;

interface KnownSeries {
  readonly number: number;
  readonly key: SeriesKey;
  readonly unit: string;
}

interface WrittenState {
  readonly state: SeriesState;
  readonly readyAtMs: number | null;
  readonly atMs: number;
}

interface FileSeries {
  readonly byId: Map<string, KnownSeries>;
  readonly byNumber: Map<number, KnownSeries>;
  readonly states: Map<number, WrittenState>;
}

/** Rows that a batch adds to a file's dictionary; they count only once the transaction is committed. */
export interface SeriesAdditions {
  /** By series id. */
  readonly series: Map<string, KnownSeries & { readonly firstAtMs: number }>;
  readonly states: (WrittenState & { readonly number: number })[];
}

export class SeriesCatalog {
  #files = new Map<string, Promise<FileSeries>>();
  #summaries = new Map<string, SeriesSummary>();
  #onCounted: (name: string, amount: number) => void;

  constructor(onCounted: (name: string, amount: number) => void) {
    this.#onCounted = onCounted;
  }

  /** The dictionary of an attached file, read at first use. */
  async of(file: DayFile, connection: DuckDBConnection): Promise<FileSeries> {
    let loading = this.#files.get(file.alias);
    if (loading === undefined) {
      loading = loadSeries(file, connection);
      this.#files.set(file.alias, loading);
      loading.catch(() => this.#files.delete(file.alias));
    }
    return await loading;
  }

  forget(file: DayFile): void {
    this.#files.delete(file.alias);
  }

  /** Reads the newest states out of a file; to be called from the oldest to the newest file. */
  async summarise(file: DayFile, connection: DuckDBConnection): Promise<void> {
    const { byNumber, states } = await this.of(file, connection);
    const firstAt = new Map((await rowsOf(connection, `SELECT id, first_at_ms::DOUBLE FROM ${file.schema}.series`)) as [number, number][]);
    // The state rows are at most ten minutes behind; the end of the file says how far each series really came.
    const lastAt = new Map(
      (await rowsOf(
        connection,
        `SELECT series, max(window_ms)::DOUBLE FROM ${file.schema}.samples
         WHERE window_ms >= (SELECT max(window_ms) FROM ${file.schema}.samples) - ${stateEveryMs * 1.5} GROUP BY series`,
      )) as [number, number][],
    );
    for (const [number, { key, unit }] of byNumber) {
      const state = states.get(number);
      const firstAtMs = firstAt.get(number) ?? 0;
      const lastAtMs = Math.max(lastAt.get(number) ?? firstAtMs, state?.atMs ?? firstAtMs);
      this.#merge({ key, unit, state: state?.state ?? "learning", readyAtMs: state?.readyAtMs ?? null, firstAtMs, lastAtMs });
    }
  }

  /** The number of a series in a file, a new one when the file does not know it; null at the bound. Notes state rows to be written. */
  numberOf(known: FileSeries, series: SeriesSamples, added: SeriesAdditions, windowStartMs: number): number | null {
    const id = seriesId(series.key);
    const found = known.byId.get(id) ?? added.series.get(id);
    const number = found?.number ?? known.byId.size + added.series.size;
    if (found === undefined) {
      if (number >= seriesMax) {
        this.#onCounted("telemetry_store_series_refused", 1);
        return null;
      }
      const firstAtMs = Math.min(this.#summaries.get(id)?.firstAtMs ?? windowStartMs, windowStartMs);
      added.series.set(id, { number, key: series.key, unit: series.unit, firstAtMs });
    }
    const { state, readyAtMs } = series;
    const before = known.states.get(number);
    const changed = before === undefined || before.state !== state || before.readyAtMs !== readyAtMs;
    if (changed || windowStartMs - before.atMs >= stateEveryMs) added.states.push({ number, state, readyAtMs, atMs: windowStartMs });
    return number;
  }

  /** The transaction that wrote them is committed. */
  committed(
    known: FileSeries,
    added: SeriesAdditions,
    written: readonly { readonly series: SeriesSamples; readonly windowStartMs: number }[],
  ): void {
    for (const [id, { number, key, unit }] of added.series) {
      known.byId.set(id, { number, key, unit });
      known.byNumber.set(number, { number, key, unit });
    }
    for (const { number, state, readyAtMs, atMs } of added.states) known.states.set(number, { state, readyAtMs, atMs });
    for (const { series, windowStartMs } of written) {
      const { key, unit, state, readyAtMs } = series;
      this.#merge({ key, unit, state, readyAtMs, firstAtMs: windowStartMs, lastAtMs: windowStartMs });
    }
  }

  summary(id: string): SeriesSummary | null {
    return this.#summaries.get(id) ?? null;
  }

  /** Newest states, sorted by series id. */
  summaries(entities: readonly string[], countMax: number): SeriesSummary[] {
    const asked = new Set(entities);
    const found = [...this.#summaries].filter(([, summary]) => asked.size === 0 || asked.has(summary.key.entity));
    found.sort(([left], [right]) => compareCodeUnits(left, right));
    return found.slice(0, countMax).map(([, summary]) => summary);
  }

  #merge(newer: SeriesSummary): void {
    const id = seriesId(newer.key);
    const before = this.#summaries.get(id);
    if (before === undefined && this.#summaries.size >= seriesMax) {
      this.#onCounted("telemetry_store_summaries_refused", 1);
      return;
    }
    const firstAtMs = Math.min(before?.firstAtMs ?? newer.firstAtMs, newer.firstAtMs);
    const newest = before !== undefined && before.lastAtMs > newer.lastAtMs ? before : newer;
    this.#summaries.set(id, { ...newest, firstAtMs });
  }
}

async function loadSeries(file: DayFile, connection: DuckDBConnection): Promise<FileSeries> {
  const byId = new Map<string, KnownSeries>();
  const byNumber = new Map<number, KnownSeries>();
  const series = await rowsOf(connection, `SELECT id, entity, metric, statistic, attributes, unit FROM ${file.schema}.series`);
  for (const [number, entity, metric, statistic, attributes, unit] of series as [
    number,
    string,
    string,
    SeriesKey["statistic"],
    string,
    string,
  ][]) {
    const known = { number, key: { entity, metric, statistic, attributes }, unit };
    byId.set(seriesId(known.key), known);
    byNumber.set(number, known);
  }
  const rows = await rowsOf(
    connection,
    `SELECT series, state, ready_at_ms::DOUBLE, at_ms::DOUBLE FROM ${file.schema}.state ${newestRowPer("series")}`,
  );
  const states = new Map<number, WrittenState>();
  for (const [number, state, readyAtMs, atMs] of rows as [number, SeriesState, number | null, number][]) {
    states.set(number, { state, readyAtMs, atMs });
  }
  return { byId, byNumber, states };
}

async function rowsOf(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRowsJS() as unknown[][];
}

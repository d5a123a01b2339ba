/** Writes windows into day files: one transaction per file, its keys with its rows, so that a key written before is written once. */
import { BIGINT, type DuckDBAppender, type DuckDBConnection, LIST, listValue, VARCHAR } from "@duckdb/node-api";
import { invariant } from "../../contract/invariant.ts";
import type { SeriesSamples, TelemetryAppend } from "../../contract/port.ts";
import { type DayFile, type DayFiles, dayOf } from "./day-files.ts";
import { type StoredSignal, signals } from "./schema.ts";
import type { SeriesAdditions, SeriesCatalog } from "./series-catalog.ts";

/** What a batch needs besides itself. */
interface WriterParts {
  readonly files: DayFiles;
  readonly catalog: SeriesCatalog;
  readonly onCounted: (name: string, amount: number) => void;
}

/**
 * Writes a batch, file after file. When a file fails the rest is not written; the same append may be given again, and every file that
 * has it already leaves it out.
 */
export async function writeBatch(windows: readonly TelemetryAppend[], parts: WriterParts): Promise<void> {
  for (const signal of signals) {
    const byDay = new Map<number, TelemetryAppend[]>();
    for (const window of windows) {
      if (!hasRows(window, signal)) continue;
      const day = dayOf(window.windowStartMs);
      byDay.set(day, [...(byDay.get(day) ?? []), window]);
    }
    for (const [day, ofDay] of byDay) await parts.files.use(signal, day, (file) => writeFile(file, ofDay, parts));
  }
}

function hasRows(window: TelemetryAppend, signal: StoredSignal): boolean {
  if (signal === "metrics") return window.series.length > 0 || window.durations.length > 0;
  if (signal === "traces") return window.spans.length > 0;
  return window.templates.length > 0 || window.lines.length > 0;
}

async function writeFile(file: DayFile, windows: readonly TelemetryAppend[], parts: WriterParts): Promise<void> {
  const connection = parts.files.writer;
  const missing = await notWritten(file, windows, connection);
  if (missing.length < windows.length) parts.onCounted("telemetry_store_keys_repeated", windows.length - missing.length);
  if (missing.length === 0) return;
  const known = file.signal === "metrics" ? await parts.catalog.of(file, connection) : null;
  const added: SeriesAdditions = { series: new Map(), states: [] };
  const written: { series: SeriesSamples; windowStartMs: number }[] = [];
  await connection.run("BEGIN");
  try {
    if (file.signal === "traces") await appendSpans(connection, file, missing);
    else if (file.signal === "logs") await appendLogs(connection, file, missing);
    else if (known !== null) {
      const numberOf = (series: SeriesSamples, windowStartMs: number) => parts.catalog.numberOf(known, series, added, windowStartMs);
      written.push(...(await appendSamples(connection, file, missing, numberOf)));
      await appendDictionary(connection, file, added);
      await appendDurations(connection, file, missing);
    }
    await appendTo(connection, file, "written", (appender) => {
      for (const { windowStartMs, key } of missing) row(appender, windowStartMs, key);
    });
    await connection.run("COMMIT");
  } catch (error) {
    await connection.run("ROLLBACK").catch(() => undefined);
    throw error;
  }
  if (known !== null) parts.catalog.committed(known, added, written);
}

/** Those of the windows whose key the file does not hold; of two with the same key the first. */
async function notWritten(file: DayFile, windows: readonly TelemetryAppend[], connection: DuckDBConnection): Promise<TelemetryAppend[]> {
  const byKey = new Map<string, TelemetryAppend>();
  for (const window of windows) if (!byKey.has(window.key)) byKey.set(window.key, window);
  const starts = [...byKey.values()].map((window) => window.windowStartMs);
  // The bounds on time let DuckDB skip all but the newest part of the table; there is no index to keep.
  const found = await connection.runAndReadAll(
    `SELECT key FROM ${file.schema}.written WHERE window_ms >= $1 AND window_ms <= $2 AND key IN (SELECT unnest($3))`,
    [big(Math.min(...starts)), big(Math.max(...starts)), listValue([...byKey.keys()])],
    [BIGINT, BIGINT, LIST(VARCHAR)],
  );
  for (const [key] of found.getRowsJS()) byKey.delete(key as string);
  return [...byKey.values()];
}

async function appendSamples(
  connection: DuckDBConnection,
  file: DayFile,
  windows: readonly TelemetryAppend[],
  numberOf: (series: SeriesSamples, windowStartMs: number) => number | null,
): Promise<{ series: SeriesSamples; windowStartMs: number }[]> {
  const written: { series: SeriesSamples; windowStartMs: number }[] = [];
  await appendTo(connection, file, "samples", (appender) => {
    for (const { windowStartMs, series: all } of windows) {
      for (const series of all) {
        const number = numberOf(series, windowStartMs);
        if (number === null) continue;
        written.push({ series, windowStartMs });
        for (const sample of series.samples) {
          appender.appendInteger(number);
          appender.appendBigInt(big(sample.windowStartMs));
          appender.appendDouble(sample.value);
          for (const value of [sample.lower, sample.upper, sample.score]) {
            if (value === null) appender.appendNull();
            else appender.appendDouble(value);
          }
          appender.endRow();
        }
      }
    }
  });
  return written;
}

async function appendDictionary(connection: DuckDBConnection, file: DayFile, added: SeriesAdditions): Promise<void> {
  if (added.series.size > 0) {
    await appendTo(connection, file, "series", (appender) => {
      for (const { number, key, unit, firstAtMs } of added.series.values()) {
        appender.appendInteger(number);
        row(appender, key.entity, key.metric, key.statistic, key.attributes, unit, firstAtMs);
      }
    });
  }
  if (added.states.length === 0) return;
  await appendTo(connection, file, "state", (appender) => {
    for (const { number, state, readyAtMs, atMs } of added.states) {
      appender.appendInteger(number);
      row(appender, state, readyAtMs, atMs);
    }
  });
}

async function appendDurations(connection: DuckDBConnection, file: DayFile, windows: readonly TelemetryAppend[]): Promise<void> {
  await appendTo(connection, file, "durations", (appender) => {
    for (const { entity, metric, attributes, windowStartMs, count, failed, sumNs, buckets } of windows.flatMap(
      (window) => window.durations,
    )) {
      row(appender, entity, metric, attributes, windowStartMs, count, failed, sumNs, JSON.stringify(buckets));
    }
  });
}

async function appendSpans(connection: DuckDBConnection, file: DayFile, windows: readonly TelemetryAppend[]): Promise<void> {
  await appendTo(connection, file, "spans", (appender) => {
    for (const span of windows.flatMap((window) => window.spans)) {
      const { traceId, spanId, parentSpanId, entity, operation, kind, peer, startAtUs, durationNs, failed } = span;
      values(appender, traceId, spanId, parentSpanId, entity, operation, kind, peer, startAtUs, durationNs);
      appender.appendBoolean(failed);
      row(appender, span.statusMessage, span.exception, span.windowStartMs, span.keptBecause, span.source ?? null);
    }
  });
}

async function appendLogs(connection: DuckDBConnection, file: DayFile, windows: readonly TelemetryAppend[]): Promise<void> {
  await appendTo(connection, file, "templates", (appender) => {
    for (const { entity, template, severity, text, windowStartMs, count } of windows.flatMap((window) => window.templates)) {
      row(appender, entity, template, severity, text, windowStartMs, count);
    }
  });
  await appendTo(connection, file, "lines", (appender) => {
    for (const line of windows.flatMap((window) => window.lines)) {
      const { entity, atUs, severity, body, shape, traceId, spanId, windowStartMs, batch = null } = line;
      row(appender, entity, atUs, severity, body, shape, traceId, spanId, windowStartMs, batch);
    }
  });
}

async function appendTo(
  connection: DuckDBConnection,
  file: DayFile,
  table: string,
  append: (appender: DuckDBAppender) => void,
): Promise<void> {
  const appender = await connection.createAppender(table, "main", file.alias);
  try {
    append(appender);
    appender.flushSync();
  } finally {
    appender.closeSync();
  }
}

/** Integers go to BIGINT columns, strings to VARCHAR columns. */
function values(appender: DuckDBAppender, ...columns: readonly (string | number | null)[]): void {
  for (const value of columns) {
    if (value === null) appender.appendNull();
    else if (typeof value === "string") appender.appendVarchar(value);
    else appender.appendBigInt(big(value));
  }
}

function row(appender: DuckDBAppender, ...columns: readonly (string | number | null)[]): void {
  values(appender, ...columns);
  appender.endRow();
}

function big(value: number): bigint {
  invariant(Number.isSafeInteger(value), `${value} is not an integer that a column can hold`);
  return BigInt(value);
}

/** Reads one day file. Parameters are bound, with their types, so that a constant never makes DuckDB cast a whole column. */
import { BIGINT, type DuckDBConnection, type DuckDBType, type DuckDBValue, INTEGER, LIST, listValue, VARCHAR } from "@duckdb/node-api";
import type { DurationWindow, LineQuery, SpanQuery, TemplateCount, TemplateQuery, TimeRange } from "../../contract/port.ts";
import type { Sample } from "../../contract/series.ts";
import type { KeptLine, KeptSpan } from "../../contract/window.ts";
import type { DayFile } from "./day-files.ts";

/** Collects conditions and their parameters. */
class Conditions {
  #texts: string[] = [];
  #values: DuckDBValue[] = [];
  #types: DuckDBType[] = [];

  /** `column` is between two times, the second excluded. */
  between(column: string, from: number, to: number): this {
    return this.#add(`${column} >= ?`, BigInt(Math.ceil(from)), BIGINT).#add(`${column} < ?`, BigInt(Math.ceil(to)), BIGINT);
  }

  /** `column` is one of the values; an empty list is no condition. */
  oneOf(column: string, values: readonly string[]): this {
    return values.length === 0 ? this : this.#add(`${column} IN (SELECT unnest(?))`, listValue(values), LIST(VARCHAR));
  }

  oneOfNumbers(column: string, values: readonly number[]): this {
    return this.#add(`${column} IN (SELECT unnest(?))`, listValue(values), LIST(INTEGER));
  }

  equals(column: string, value: string | undefined): this {
    return value === undefined ? this : this.#add(`${column} = ?`, value, VARCHAR);
  }

  holds(condition: string): this {
    this.#texts.push(condition);
    return this;
  }

  /** Runs `SELECT <columns> FROM <table> WHERE … <rest> LIMIT <rowsMax>` and answers the rows. */
  async rows(connection: DuckDBConnection, query: { columns: string; table: string; rest: string; rowsMax: number }): Promise<unknown[][]> {
    const values = [...this.#values, BigInt(Math.max(0, Math.floor(query.rowsMax)))];
    const where = this.#texts.join(" AND ");
    const sql = `SELECT ${query.columns} FROM ${query.table} WHERE ${where} ${query.rest} LIMIT $${values.length}`;
    const result = await connection.runAndReadAll(sql, values, [...this.#types, BIGINT]);
    return result.getRowsJS() as unknown[][];
  }

  #add(condition: string, value: DuckDBValue, type: DuckDBType): this {
    this.#values.push(value);
    this.#types.push(type);
    this.#texts.push(condition.replace("?", `$${this.#values.length}`));
    return this;
  }
}

/** A clause that leaves of the rows with the same key only the one written last. */
export function newestRowPer(key: string): string {
  return `QUALIFY row_number() OVER (PARTITION BY ${key} ORDER BY rowid DESC) = 1`;
}

/** Samples of some series (null = all) by series number and time; amended windows have several rows, the newest last. */
export async function readSamples(
  connection: DuckDBConnection,
  file: DayFile,
  query: TimeRange & { readonly numbers: readonly number[] | null; readonly rowsMax: number },
): Promise<[number: number, sample: Sample][]> {
  const conditions = new Conditions().between("window_ms", query.fromMs, query.toMs);
  if (query.numbers !== null) conditions.oneOfNumbers("series", query.numbers);
  const rows = await conditions.rows(connection, {
    columns: "series, window_ms::DOUBLE, value, lower, upper, score",
    table: `${file.schema}.samples`,
    rest: "ORDER BY series, window_ms, rowid",
    rowsMax: query.rowsMax,
  });
  return (rows as [number, number, number, number | null, number | null, number | null][]).map(
    ([number, windowStartMs, value, lower, upper, score]) => [number, { windowStartMs, value, lower, upper, score }],
  );
}

/** Numbers of the series that have a sample in the range, of those asked for. */
export async function readActiveSeries(
  connection: DuckDBConnection,
  file: DayFile,
  query: TimeRange & { readonly numbers: readonly number[]; readonly rowsMax: number },
): Promise<number[]> {
  const conditions = new Conditions().between("window_ms", query.fromMs, query.toMs).oneOfNumbers("series", query.numbers);
  const rows = await conditions.rows(connection, {
    columns: "DISTINCT series",
    table: `${file.schema}.samples`,
    rest: "",
    rowsMax: query.rowsMax,
  });
  return rows.map(([number]) => number as number);
}

/** Rows of the windows of some entities (none = all), by `key`: of amended windows what was written last. */
async function readWindows(
  connection: DuckDBConnection,
  query: TimeRange & { readonly entities: readonly string[]; readonly rowsMax: number },
  from: { columns: string; table: string; key: string },
): Promise<unknown[][]> {
  const { columns, table, key } = from;
  const conditions = new Conditions().between("window_ms", query.fromMs, query.toMs).oneOf("entity", query.entities);
  return await conditions.rows(connection, { columns, table, rest: `${newestRowPer(key)} ORDER BY ${key}`, rowsMax: query.rowsMax });
}

export async function readDurations(
  connection: DuckDBConnection,
  file: DayFile,
  query: TimeRange & { readonly entities: readonly string[]; readonly rowsMax: number },
): Promise<DurationWindow[]> {
  const rows = await readWindows(connection, query, {
    columns: "entity, metric, attributes, window_ms::DOUBLE, count::DOUBLE, failed::DOUBLE, sum_ns::DOUBLE, buckets",
    table: `${file.schema}.durations`,
    key: "entity, metric, attributes, window_ms",
  });
  return (rows as [string, string, string, number, number, number, number, string][]).map(
    ([entity, metric, attributes, windowStartMs, count, failed, sumNs, buckets]) => {
      return { entity, metric, attributes, windowStartMs, count, failed, sumNs, buckets: JSON.parse(buckets) as [number, number][] };
    },
  );
}

export async function readSpans(connection: DuckDBConnection, file: DayFile, query: SpanQuery): Promise<KeptSpan[]> {
  const conditions = new Conditions()
    .between("start_us", query.fromMs * 1_000, query.toMs * 1_000)
    .oneOf("entity", query.entities)
    .equals("trace_id", query.traceId);
  if (query.failedOnly === "yes") conditions.holds("failed");
  const rows = await conditions.rows(connection, {
    columns: `trace_id, span_id, parent_span_id, entity, operation, kind, peer, start_us::DOUBLE, duration_ns::DOUBLE, failed,
              status_message, exception, window_ms::DOUBLE, kept_because, source`,
    table: `${file.schema}.spans`,
    rest: "ORDER BY start_us, trace_id, span_id, rowid",
    rowsMax: query.spansMax,
  });
  return rows.map((row) => {
    const [traceId, spanId, parentSpanId, entity, operation, kind, peer, startAtUs, durationNs, failed] = row;
    const [statusMessage, exception, windowStartMs, keptBecause, source] = row.slice(10);
    const identity = { traceId, spanId, parentSpanId, entity, operation, kind, peer };
    const told = { startAtUs, durationNs, failed, statusMessage, exception, windowStartMs, keptBecause };
    return { ...identity, ...told, ...(source === null ? {} : { source }) } as KeptSpan;
  });
}

export async function readTemplates(connection: DuckDBConnection, file: DayFile, query: TemplateQuery): Promise<TemplateCount[]> {
  const windows = { ...query, rowsMax: query.templatesMax };
  const rows = await readWindows(connection, windows, {
    columns: "entity, template, severity, text, window_ms::DOUBLE, count::DOUBLE",
    table: `${file.schema}.templates`,
    key: "entity, template, window_ms, severity",
  });
  return (rows as [string, string, TemplateCount["severity"], string, number, number][]).map(
    ([entity, template, severity, text, windowStartMs, count]) => ({ entity, template, severity, text, windowStartMs, count }),
  );
}

export async function readLines(connection: DuckDBConnection, file: DayFile, query: LineQuery): Promise<KeptLine[]> {
  const conditions = new Conditions()
    .between("at_us", query.fromMs * 1_000, query.toMs * 1_000)
    .oneOf("entity", query.entities)
    .equals("shape", query.template)
    .equals("trace_id", query.traceId);
  const rows = await conditions.rows(connection, {
    columns: "entity, at_us::DOUBLE, severity, body, shape, trace_id, span_id, window_ms::DOUBLE, batch",
    table: `${file.schema}.lines`,
    rest: "ORDER BY at_us, entity, body",
    rowsMax: query.templatesMax,
  });
  return (rows as [string, number, KeptLine["severity"], string, string, string | null, string | null, number, string | null][]).map(
    ([entity, atUs, severity, body, shape, traceId, spanId, windowStartMs, batch]) => {
      const line = { entity, atUs, severity, body, shape, traceId, spanId, windowStartMs };
      return batch === null ? line : { ...line, batch };
    },
  );
}

/** What a day's file of each signal holds, as numbered migrations. All times are integer milliseconds or microseconds in BIGINT columns. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { HeadwaterError } from "../../contract/error.ts";

/** Metrics hold samples and duration statistics, traces kept spans, logs template counts and kept lines. */
export const signals = ["metrics", "traces", "logs"] as const;
export type StoredSignal = (typeof signals)[number];

/** Keys of appends that this file holds; one key's rows and its key are written in one transaction. */
const written = "CREATE TABLE {file}.written (window_ms BIGINT NOT NULL, key VARCHAR NOT NULL)";

/** Migration n (from 1) brings a file from version n − 1 to n; statements are separated, `{file}` is the schema of the attached file. */
export const migrations: Record<StoredSignal, readonly (readonly string[])[]> = {
  metrics: [
    [
      written,
      `CREATE TABLE {file}.series (id INTEGER NOT NULL, entity VARCHAR NOT NULL, metric VARCHAR NOT NULL, statistic VARCHAR NOT NULL,
         attributes VARCHAR NOT NULL, unit VARCHAR NOT NULL, first_at_ms BIGINT NOT NULL)`,
      "CREATE TABLE {file}.state (series INTEGER NOT NULL, state VARCHAR NOT NULL, ready_at_ms BIGINT, at_ms BIGINT NOT NULL)",
      `CREATE TABLE {file}.samples (series INTEGER NOT NULL, window_ms BIGINT NOT NULL, value DOUBLE NOT NULL, lower DOUBLE, upper DOUBLE,
         score DOUBLE)`,
      `CREATE TABLE {file}.durations (entity VARCHAR NOT NULL, metric VARCHAR NOT NULL, attributes VARCHAR NOT NULL, window_ms BIGINT NOT NULL,
         count BIGINT NOT NULL, failed BIGINT NOT NULL, sum_ns BIGINT NOT NULL, buckets VARCHAR NOT NULL)`,
    ],
  ],
  traces: [
    [
      written,
      `CREATE TABLE {file}.spans (trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_span_id VARCHAR, entity VARCHAR NOT NULL,
         operation VARCHAR NOT NULL, kind VARCHAR NOT NULL, peer VARCHAR, start_us BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
         failed BOOLEAN NOT NULL, status_message VARCHAR NOT NULL, exception VARCHAR, window_ms BIGINT NOT NULL, kept_because VARCHAR NOT NULL)`,
    ],
    // Null: told by the program itself.
    ["ALTER TABLE {file}.spans ADD COLUMN source VARCHAR"],
  ],
  logs: [
    [
      written,
      `CREATE TABLE {file}.templates (entity VARCHAR NOT NULL, template VARCHAR NOT NULL, severity VARCHAR NOT NULL, text VARCHAR NOT NULL,
         window_ms BIGINT NOT NULL, count BIGINT NOT NULL)`,
      `CREATE TABLE {file}.lines (entity VARCHAR NOT NULL, at_us BIGINT NOT NULL, severity VARCHAR NOT NULL, body VARCHAR NOT NULL,
         shape VARCHAR NOT NULL, trace_id VARCHAR, span_id VARCHAR, window_ms BIGINT NOT NULL)`,
    ],
    // Of kernel events: the batch that brought them.
    ["ALTER TABLE {file}.lines ADD COLUMN batch VARCHAR"],
  ],
};

/**
 * Brings an attached file to the newest version, in one transaction. `steps` are those that this program knows for its signal. Throws
 * DATA_VERSION_UNKNOWN when the file is newer.
 */
export async function migrateFile(
  connection: DuckDBConnection,
  file: { readonly schema: string; readonly path: string; readonly signal: StoredSignal },
  steps: readonly (readonly string[])[] = migrations[file.signal],
): Promise<void> {
  const { schema, path } = file;
  await connection.run("BEGIN");
  try {
    await connection.run(`CREATE TABLE IF NOT EXISTS ${schema}.version (version INTEGER NOT NULL)`);
    const rows = await connection.runAndReadAll(`SELECT max(version) FROM ${schema}.version`);
    const version = Number(rows.getRowsJS()[0]?.[0] ?? 0);
    if (version > steps.length) {
      throw new HeadwaterError(
        "DATA_VERSION_UNKNOWN",
        `${path} has version ${version}, this Headwater knows up to ${steps.length}: start the newer version again, or use another data directory`,
      );
    }
    for (let next = version + 1; next <= steps.length; next += 1) {
      for (const statement of steps[next - 1] ?? []) await connection.run(statement.replaceAll("{file}", schema));
      await connection.run(`INSERT INTO ${schema}.version VALUES (${next})`);
    }
    await connection.run("COMMIT");
  } catch (error) {
    await connection.run("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "../../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { migrateFile, migrations } from "../../../store/duckdb/schema.ts";
import { killedWriter } from "../../conformance/killed-writer.ts";
import { aSeries, aTelemetryAppend, noonMs } from "../../conformance/sample-messages.ts";
import { Counts, useTemporaryFolder } from "../../conformance/temporary.ts";

const dayMs = 86_400_000;
const everything = { fromMs: noonMs - 400 * dayMs, toMs: noonMs + 400 * dayMs, entities: [] as string[] };

describe("the DuckDB telemetry store", () => {
  const folder = useTemporaryFolder();
  let counts: Counts;

  beforeEach(async () => {
    counts = new Counts();
  });

  function open(options: { directory?: string; tenant?: string; retentionDays?: { traces?: number } } = {}) {
    return openDuckdbTelemetryStore({
      directory: folder.path,
      tenant: "default",
      clock: new SystemClock(),
      onCounted: counts.onCounted,
      ...options,
    });
  }

  it("holds every acknowledged window after SIGKILL, and each once after all are appended again", { timeout: 60_000 }, async () => {
    const directory = join(folder.path, "killed");
    const acknowledged = await killedWriter("telemetry-store", directory, 150);
    const store = await open({ directory });
    const query = { ...everything, seriesMax: 100, spansMax: 100_000, failedOnly: "no" as const, templatesMax: 100_000 };
    const values = async () =>
      (await store.series(query)).flatMap(({ samples }) => samples.map(({ value }) => value)).sort((a, b) => a - b);
    const found = new Set(await values());
    const spans = new Set((await store.spans(query)).map(({ spanId }) => spanId));
    for (const n of acknowledged) {
      expect(found.has(n), `sample ${n}`).toBe(true);
      expect(spans.has(aTelemetryAppend(n).spans[0]?.spanId ?? ""), `span ${n}`).toBe(true);
    }
    const count = Math.max(...acknowledged) + 20;
    await store.append(Array.from({ length: count }, (_, n) => aTelemetryAppend(n)));
    expect(await values()).toEqual(Array.from({ length: count }, (_, n) => n));
    expect(await store.spans(query)).toHaveLength(count);
    expect(await store.lines(query)).toHaveLength(count);
    await store.close();
  });

  it("keeps one file per signal, tenant and UTC day, and tenants apart whatever they are called", async () => {
    const tenants = ["default", "../up", "a/b", "a%2fb", "Ä"];
    for (const tenant of tenants) {
      const store = await open({ tenant });
      expect(await store.summaries({ entities: [], seriesMax: 10 })).toEqual([]);
      await store.append([aTelemetryAppend(0), { ...aTelemetryAppend(0), key: "next day", windowStartMs: noonMs + dayMs }]);
      await store.close();
    }
    expect((await readdir(folder.path)).length).toBe(tenants.length);
    expect((await readdir(join(folder.path, "tenant-default"))).filter((name) => name.endsWith(".duckdb")).sort()).toEqual(
      ["logs", "metrics", "traces"].flatMap((signal) => [`${signal}-2025-03-10.duckdb`, `${signal}-2025-03-11.duckdb`]),
    );
  });

  it("answers over more days than it holds open at once, with queries side by side", async () => {
    const store = await open();
    const days = Array.from({ length: 12 }, (_, day) => noonMs + day * dayMs);
    for (const [day, windowStartMs] of days.entries()) {
      await store.append([
        { ...aTelemetryAppend(0), key: `${day}`, windowStartMs, series: [aSeries({ entity: "a", windowStartMs, value: day })] },
      ]);
    }
    const queries = Array.from({ length: 6 }, () => store.series({ ...everything, seriesMax: 10 }));
    await store.append([
      { ...aTelemetryAppend(1), key: "late", windowStartMs: noonMs, series: [aSeries({ entity: "b", windowStartMs: noonMs, value: 1 })] },
    ]);
    for (const answer of await Promise.all(queries)) {
      expect(answer[0]?.samples.map(({ value }) => value)).toEqual(Array.from({ length: 12 }, (_, day) => day));
    }
    await store.close();
  });

  it("removes the write-ahead log together with its file, at the retention it was told", async () => {
    const store = await open({ retentionDays: { traces: 1 } });
    await store.append([aTelemetryAppend(0)]);
    const removed = await store.retain(noonMs + dayMs / 2 + dayMs);
    expect(removed).toEqual([join(folder.path, "tenant-default", "traces-2025-03-10.duckdb")]);
    expect((await readdir(join(folder.path, "tenant-default"))).filter((name) => name.startsWith("traces"))).toEqual([]);
    expect(counts.of("telemetry_store_files_removed")).toBe(1);
    await store.close();
  });

  it("refuses to start on a file of a newer version, and says what to do", async () => {
    const store = await open();
    await store.append([aTelemetryAppend(0)]);
    await store.close();
    const instance = await DuckDBInstance.create(join(folder.path, "tenant-default", "logs-2025-03-10.duckdb"));
    const connection = await instance.connect();
    await connection.run("INSERT INTO version VALUES (99)");
    connection.closeSync();
    instance.closeSync();
    await expect(open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("newer") });
  });

  it("migrates a file of an older version forward with what it holds, whole or not at all; then it is too new for the older program", async () => {
    const older = await open();
    await older.append([aTelemetryAppend(0)]);
    const query = { ...everything, templatesMax: 10 };
    const before = await older.lines(query);
    await older.close();
    const path = join(folder.path, "tenant-default", "logs-2025-03-10.duckdb");
    const next = "ALTER TABLE {file}.lines ADD COLUMN note VARCHAR DEFAULT 'old'";
    const withNewer = async (...statements: string[]): Promise<unknown[]> => {
      const instance = await DuckDBInstance.create(path);
      const connection = await instance.connect();
      try {
        const file = { schema: "main", path, signal: "logs" as const };
        await migrateFile(connection, file, [...migrations.logs, statements]);
        await migrateFile(connection, file, [...migrations.logs, statements]);
        return (await connection.runAndReadAll("SELECT DISTINCT note FROM lines")).getRowsJS();
      } finally {
        connection.closeSync();
        instance.closeSync();
      }
    };
    await expect(withNewer(next, "ALTER TABLE {file}.nowhere ADD COLUMN x INTEGER")).rejects.toThrow(/nowhere/);
    const again = await open();
    expect(before).toHaveLength(1);
    expect(await again.lines(query)).toEqual(before);
    await again.close();
    expect(await withNewer(next)).toEqual([["old"]]);
    await expect(open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining(path) });
  });

  it("names a file that cannot be read", async () => {
    const store = await open();
    await store.append([aTelemetryAppend(0)]);
    await store.close();
    const path = join(folder.path, "tenant-default", "traces-2025-03-10.duckdb");
    await writeFile(path, "not a database".repeat(2_000));
    await expect(open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining(path) });
  });
});

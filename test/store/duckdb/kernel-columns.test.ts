import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { expect, it } from "vitest";
import { SystemClock } from "../../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { migrateFile, migrations } from "../../../store/duckdb/schema.ts";
import { aTelemetryAppend, noonMs } from "../../conformance/sample-messages.ts";
import { Counts, useTemporaryFolder } from "../../conformance/temporary.ts";

const folder = useTemporaryFolder();
const everything = { fromMs: noonMs - 1e9, toMs: noonMs + 1e9, entities: [] as string[] };
const open = () =>
  openDuckdbTelemetryStore({ directory: folder.path, tenant: "default", clock: new SystemClock(), onCounted: new Counts().onCounted });

it("who told of a span, and which batch brought a kernel event, are kept beside those of which nothing is said", async () => {
  const plain = aTelemetryAppend(0);
  const kernel = aTelemetryAppend(1);
  const spans = kernel.spans.map((span) => ({ ...span, source: "kernel" as const }));
  const lines = kernel.lines.map((line) => ({ ...line, batch: "gateway-7" }));
  const store = await open();
  await store.append([plain, { ...kernel, spans, lines }]);
  expect(await store.spans({ ...everything, failedOnly: "no", spansMax: 10 })).toEqual([...plain.spans, ...spans]);
  expect(await store.lines({ ...everything, templatesMax: 10 })).toEqual([...plain.lines, ...lines]);
  await store.close();
});

it("files of the version before have neither, and take both from now on", async () => {
  const store = await open();
  await store.append([aTelemetryAppend(0)]);
  await store.close();
  const place = (signal: "traces" | "logs") => join(folder.path, "tenant-default", `${signal}-2025-03-10.duckdb`);
  for (const signal of ["traces", "logs"] as const) {
    const column = signal === "traces" ? "spans DROP COLUMN source" : "lines DROP COLUMN batch";
    const instance = await DuckDBInstance.create(place(signal));
    const connection = await instance.connect();
    await connection.run(`ALTER TABLE ${column}`);
    await connection.run("DELETE FROM version WHERE version > 1");
    await migrateFile(connection, { schema: "main", path: place(signal), signal }, migrations[signal].slice(0, 1));
    connection.closeSync();
    instance.closeSync();
  }
  const again = await open();
  const kernel = aTelemetryAppend(1);
  await again.append([{ ...kernel, spans: kernel.spans.map((span) => ({ ...span, source: "kernel" as const })) }]);
  const found = await again.spans({ ...everything, failedOnly: "no", spansMax: 10 });
  expect(found.map(({ source }) => source)).toEqual([undefined, "kernel"]);
  expect(await again.lines({ ...everything, templatesMax: 10 })).toEqual([...aTelemetryAppend(0).lines, ...kernel.lines]);
  await again.close();
});

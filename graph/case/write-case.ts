/** Writes a case folder as design §14 has it, from content that somebody gathered. */
import { createWriteStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Change } from "../../contract/change.ts";
import type { SnapshotSeries } from "../../contract/evidence.ts";
import type { CaseHeader } from "./case-header.ts";
import { caseMetricName } from "./case-metric.ts";
import type { CaseSpan } from "./span-operations.ts";

export interface CaseLine {
  readonly timeUnixNano: string;
  readonly entity: string;
  readonly severity: string;
  readonly body: string;
  readonly traceId: string;
  readonly spanId: string;
}

export interface CaseEvent {
  readonly entity: string;
  readonly modality: "metric" | "log" | "trace";
  readonly name: string;
  readonly direction: string;
  readonly target: string | null;
}

/** What a case folder holds; a part that is empty gets no file. Iterables are read once, without being held. */
export interface CaseContent {
  readonly header: CaseHeader;
  readonly topology: Iterable<{ readonly source: string; readonly target: string; readonly protocol: string }>;
  readonly series: Iterable<Pick<SnapshotSeries, "entity" | "metric" | "statistic" | "attributes" | "atMs" | "values">>;
  readonly spans: Iterable<CaseSpan>;
  readonly lines: Iterable<CaseLine>;
  readonly events: Iterable<CaseEvent>;
  readonly changes: readonly Change[];
}

/** Writes the folder, spans, logs and metrics as gzip; files already there are replaced. */
export async function writeCase(directory: string, content: CaseContent): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "case.json"), `${JSON.stringify(headerJson(content.header), null, 2)}\n`);
  const csv = (name: string, columns: readonly string[], cells: Iterable<readonly string[]>) =>
    writeCsv(join(directory, name), columns, cells);
  await csv(
    "topology.csv",
    ["source", "target", "protocol"],
    mapped(content.topology, (item) => [item.source, item.target, item.protocol]),
  );
  await csv("metrics.csv.gz", ["timestamp", "entity", "metric", "value"], metricCells(content.series));
  await csv(
    "spans.csv.gz",
    ["traceId", "spanId", "parentSpanId", "entity", "operation", "startUnixNano", "durationNs", "status"],
    mapped(content.spans, spanCells),
  );
  await csv(
    "logs.csv.gz",
    ["timeUnixNano", "entity", "severity", "body", "traceId", "spanId"],
    mapped(content.lines, (line) => [line.timeUnixNano, line.entity, line.severity, line.body, line.traceId, line.spanId]),
  );
  await csv(
    "events.csv",
    ["entity", "modality", "name", "direction", "target"],
    mapped(content.events, (event) => [event.entity, event.modality, event.name, event.direction, event.target ?? ""]),
  );
  if (content.changes.length > 0) {
    const changes = content.changes.map((change) => ({
      id: change.id,
      at: change.atMs / 1_000,
      entity: change.entity,
      kind: change.kind,
      summary: change.summary,
      actor: change.actor,
    }));
    await writeFile(join(directory, "changes.json"), `${JSON.stringify(changes, null, 2)}\n`);
  }
}

function headerJson(header: CaseHeader): unknown {
  const seconds = (interval: { fromMs: number; toMs: number }) => ({ from: interval.fromMs / 1_000, to: interval.toMs / 1_000 });
  return {
    id: header.id,
    system: header.system,
    normal: seconds(header.normal),
    fault: seconds(header.fault),
    alert: header.alert === null ? null : { entity: header.alert.entity, metric: header.alert.metric, at: header.alert.atMs / 1_000 },
    truth: header.truth,
  };
}

function spanCells(span: CaseSpan): string[] {
  return [
    span.traceId,
    span.spanId,
    span.parentSpanId,
    span.entity,
    span.operation,
    BigInt(Math.round(span.startNs)).toString(),
    String(span.durationNs),
    span.failed ? "ERROR" : "OK",
  ];
}

function* metricCells(all: CaseContent["series"]): Generator<string[]> {
  for (const series of all) {
    const name = caseMetricName(series);
    for (const [index, atMs] of series.atMs.entries()) {
      yield [String(atMs / 1_000), series.entity, name, String(series.values[index] ?? "")];
    }
  }
}

function* mapped<T>(items: Iterable<T>, cells: (item: T) => readonly string[]): Generator<readonly string[]> {
  for (const item of items) yield cells(item);
}

async function writeCsv(path: string, columns: readonly string[], rows: Iterable<readonly string[]>): Promise<void> {
  const iterator = rows[Symbol.iterator]();
  const first = iterator.next();
  if (first.done === true) return;
  const text = Readable.from(csvText(columns, { first: first.value, rest: iterator }));
  if (path.endsWith(".gz")) await pipeline(text, createGzip(), createWriteStream(path));
  else await pipeline(text, createWriteStream(path));
}

const chunkRows = 1_000;

function* csvText(columns: readonly string[], rows: { first: readonly string[]; rest: Iterator<readonly string[]> }): Generator<string> {
  let chunk = [columns.join(","), rowText(rows.first)];
  for (let next = rows.rest.next(); next.done !== true; next = rows.rest.next()) {
    chunk.push(rowText(next.value));
    if (chunk.length < chunkRows) continue;
    yield `${chunk.join("\n")}\n`;
    chunk = [];
  }
  if (chunk.length > 0) yield `${chunk.join("\n")}\n`;
}

function rowText(cells: readonly string[]): string {
  return cells.map((cell) => (/[",\n\r]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");
}

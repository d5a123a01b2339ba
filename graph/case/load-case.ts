/**
 * A folder as design §14 has it, read into the snapshot that the ranker takes; the truth is kept apart. All files but
 * `case.json` are optional, each may be gzip. Whatever is wrong is CASE_INVALID with file, line and column.
 */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { z } from "zod";
import { compareCodeUnits, contentHash, sortedBy } from "../../contract/canonical.ts";
import { type Change, ChangeKind } from "../../contract/change.ts";
import { dependencyId } from "../../contract/entity.ts";
import type {
  BlindSpot,
  EvidenceSnapshot,
  SnapshotDependency,
  SnapshotEntity,
  SnapshotEvent,
  SnapshotSeries,
} from "../../contract/evidence.ts";
import { type CaseHeader, caseHeaderOf, fieldErrorText, msOf } from "./case-header.ts";
import { caseMetricOf, caseSeries } from "./case-metric.ts";
import { type CaseRow, caseInvalid, findCaseFile, readCaseCsv, readCaseJson } from "./case-text.ts";
import { severityOf, templateOf } from "./log-template.ts";
import type { TruthItem } from "./score.ts";
import { type CaseSpan, summariseSpans } from "./span-operations.ts";

const metricRowsMax = 20_000_000;
const seriesMax = 100_000;
const spanRowsMax = 3_000_000;
const logRowsMax = 20_000_000;
const templatesMax = 50_000;
const topologyRowsMax = 200_000;
const eventRowsMax = 1_000_000;
const changesMax = 10_000;
const entityLengthMax = 512;
const operationLengthMax = 256;
const windowMsUsual = 1_000;

export interface LoadedCase {
  readonly id: string;
  readonly system: string;
  readonly snapshot: EvidenceSnapshot;
  /** For the scorer only; null where nobody knows. */
  readonly truth: readonly TruthItem[] | null;
}

/** Reads a case. Rejects with CASE_INVALID. */
export async function loadCase(directory: string): Promise<LoadedCase> {
  const header = await loadHeader(directory);
  const series = await loadMetrics(directory);
  const spans = await loadSpans(directory);
  const summary = summariseSpans(spans, { normal: header.normal, fault: header.fault });
  const templates = await loadTemplates(directory, header);
  const events = await loadEvents(directory);
  const changes = await loadChanges(directory);
  const dependencies = await loadTopology(directory, summary.calls);
  const named = [...series, ...summary.operations, ...templates, ...events, ...changes].map((item) => item.entity);
  const snapshot: EvidenceSnapshot = {
    schemaVersion: 1,
    windowMs: windowMsOf(series),
    normal: header.normal,
    fault: header.fault,
    symptoms: header.alert === null ? [] : [header.alert],
    entities: entitiesOf(dependencies, header.alert === null ? named : [...named, header.alert.entity]),
    dependencies,
    series,
    operations: summary.operations,
    templates,
    invocations: summary.invocations,
    events,
    changes,
    blindSpots: blindSpotsOf({ dependencies, series, spans, templates }),
  };
  return { id: header.id, system: header.system, snapshot, truth: header.truth };
}

async function loadHeader(directory: string): Promise<CaseHeader> {
  const found = await stat(directory).catch(() => null);
  if (found?.isDirectory() !== true) throw caseInvalid(directory, "is not a folder");
  const path = await findCaseFile(directory, "case.json");
  if (path === null) throw caseInvalid("case.json", `is missing in ${directory}`);
  return caseHeaderOf(await readCaseJson(path), basename(path));
}

/** Runs `onRow` over a CSV file of the case where it is there. */
async function rows(
  directory: string,
  name: string,
  options: { columns: readonly string[]; rowsMax: number },
  onRow: (row: CaseRow) => void,
) {
  const path = await findCaseFile(directory, name);
  if (path !== null) await readCaseCsv(path, options, onRow);
}

function entityOf(row: CaseRow, column = "entity"): string {
  const entity = row.required(column);
  if (entity.length > entityLengthMax * 2)
    throw caseInvalid(row.file, `line ${row.line}, column ${column}: longer than ${entityLengthMax * 2} characters`);
  return entity;
}

async function loadMetrics(directory: string): Promise<SnapshotSeries[]> {
  const samples = new Map<string, { entity: string; name: string; atMs: number[]; values: number[] }>();
  await rows(directory, "metrics.csv", { columns: ["timestamp", "entity", "metric", "value"], rowsMax: metricRowsMax }, (row) => {
    const value = row.number("value");
    if (value === null) return;
    const entity = entityOf(row);
    const name = row.required("metric");
    const key = JSON.stringify([entity, name]);
    let series = samples.get(key);
    if (series === undefined) {
      if (samples.size >= seriesMax) throw caseInvalid(row.file, `line ${row.line}: more than ${seriesMax} series`);
      series = { entity, name, atMs: [], values: [] };
      samples.set(key, series);
    }
    series.atMs.push(msOf(row.requiredNumber("timestamp")));
    series.values.push(value);
  });
  return sortedBy(
    [...samples.values()].map((item) => caseSeries(item.entity, caseMetricOf(item.name), item)),
    (series) => series.id,
  );
}

const failedWords = /^(error|err|failed|failure|status_code_error|2|5\d\d|true)$/i;

async function loadSpans(directory: string): Promise<CaseSpan[]> {
  const spans: CaseSpan[] = [];
  const columns = ["traceId", "spanId", "parentSpanId", "entity", "operation", "startUnixNano", "durationNs", "status"];
  await rows(directory, "spans.csv", { columns, rowsMax: spanRowsMax }, (row) => {
    const durationNs = row.requiredNumber("durationNs");
    if (durationNs < 0) throw caseInvalid(row.file, `line ${row.line}, column durationNs: must not be negative`);
    spans.push({
      traceId: row.required("traceId"),
      spanId: row.required("spanId"),
      parentSpanId: row.text("parentSpanId"),
      entity: entityOf(row),
      operation: row.text("operation").slice(0, operationLengthMax),
      startNs: row.requiredNumber("startUnixNano"),
      durationNs,
      failed: failedWords.test(row.text("status").trim()),
    });
  });
  return spans;
}

async function loadTemplates(directory: string, header: CaseHeader): Promise<EvidenceSnapshot["templates"]> {
  type Template = EvidenceSnapshot["templates"][number];
  const templates = new Map<string, { -readonly [K in keyof Template]: Template[K] }>();
  await rows(directory, "logs.csv", { columns: ["timeUnixNano", "entity", "severity", "body"], rowsMax: logRowsMax }, (row) => {
    const atMs = Math.floor(row.requiredNumber("timeUnixNano") / 1e6);
    const entity = entityOf(row);
    const body = row.text("body");
    const severity = severityOf(row.text("severity"), body);
    const text = templateOf(body);
    const key = JSON.stringify([entity, severity, text]);
    let template = templates.get(key);
    if (template === undefined) {
      if (templates.size >= templatesMax) throw caseInvalid(row.file, `line ${row.line}: more than ${templatesMax} different lines`);
      const id = `template:${entity}|${contentHash([severity, text]).slice(0, 16)}`;
      template = { id, entity, text, severity, normalCount: 0, abnormalCount: 0, firstSeenMs: atMs };
      templates.set(key, template);
    }
    template.firstSeenMs = Math.min(template.firstSeenMs ?? atMs, atMs);
    if (atMs >= header.normal.fromMs && atMs < header.normal.toMs) template.normalCount += 1;
    else if (atMs >= header.fault.fromMs && atMs < header.fault.toMs) template.abnormalCount += 1;
  });
  return sortedBy(templates.values(), (template) => template.id);
}

async function loadEvents(directory: string): Promise<SnapshotEvent[]> {
  const events: SnapshotEvent[] = [];
  await rows(directory, "events.csv", { columns: ["entity", "modality", "name"], rowsMax: eventRowsMax }, (row) => {
    const modality = row.required("modality");
    if (modality !== "metric" && modality !== "log" && modality !== "trace") {
      throw caseInvalid(row.file, `line ${row.line}, column modality: "${modality.slice(0, 80)}" is none of metric, log, trace`);
    }
    const target = row.text("target");
    events.push({
      id: `event:${events.length + 1}`,
      entity: entityOf(row),
      modality,
      name: row.text("name"),
      direction: row.text("direction"),
      target: target === "" ? null : target,
    });
  });
  return events;
}

const CaseChanges = z
  .array(
    z.object({
      id: z.string().min(1).max(200),
      at: z.number().min(0).max(32_503_680_000),
      entity: z.string().min(1).max(512),
      kind: ChangeKind,
      summary: z.string().min(1).max(1_000),
      actor: z.string().max(200).nullish(),
    }),
  )
  .max(changesMax);

async function loadChanges(directory: string): Promise<Change[]> {
  const path = await findCaseFile(directory, "changes.json");
  if (path === null) return [];
  const parsed = CaseChanges.safeParse(await readCaseJson(path));
  if (!parsed.success) throw caseInvalid(basename(path), fieldErrorText(parsed.error));
  return sortedBy(
    parsed.data.map(
      (item): Change => ({
        id: item.id,
        atMs: msOf(item.at),
        entity: item.entity,
        kind: item.kind,
        summary: item.summary,
        actor: item.actor ?? null,
        undo: null,
      }),
    ),
    (change) => change.id,
  );
}

/** Declared dependencies, and those that spans show; each pair once. */
async function loadTopology(directory: string, calls: readonly { source: string; target: string }[]): Promise<SnapshotDependency[]> {
  const pairs = new Map<string, { source: string; target: string; protocol: string; confidence: number }>();
  await rows(directory, "topology.csv", { columns: ["source", "target"], rowsMax: topologyRowsMax }, (row) => {
    const source = entityOf(row, "source");
    const target = entityOf(row, "target");
    pairs.set(JSON.stringify([source, target]), { source, target, protocol: row.text("protocol"), confidence: 1 });
  });
  for (const call of calls) {
    const key = JSON.stringify([call.source, call.target]);
    if (!pairs.has(key)) pairs.set(key, { ...call, protocol: "", confidence: 1 });
  }
  return sortedBy(
    [...pairs.values()].map((pair) => ({ id: dependencyId(pair.source, pair.target), ...pair, validFromMs: null, validToMs: null })),
    (dependency) => dependency.id,
  );
}

const datastoreProtocols =
  /^(postgres(ql)?|mysql|mariadb|mssql|oracle|redis|memcached|mongo(db)?|cassandra|cql|dynamodb|elasticsearch|sql|db)$/i;
const brokerProtocols = /^(kafka|amqp|rabbitmq|mqtt|nats|sqs|pulsar)$/i;

/** Who is named anywhere but as a dependency; an entity is an entry when it calls others and nobody calls it. */
function entitiesOf(dependencies: readonly SnapshotDependency[], named: readonly string[]): SnapshotEntity[] {
  const dependencyIds = new Set(dependencies.map((dependency) => dependency.id));
  const types = new Map<string, SnapshotEntity["type"]>();
  for (const { target, protocol } of dependencies) {
    if (datastoreProtocols.test(protocol)) types.set(target, "datastore");
    else if (brokerProtocols.test(protocol)) types.set(target, "broker");
  }
  const callers = new Set(dependencies.map((dependency) => dependency.source));
  const callees = new Set(dependencies.map((dependency) => dependency.target));
  const ids = new Set([...named.filter((id) => !dependencyIds.has(id)), ...callers, ...callees]);
  return [...ids].sort(compareCodeUnits).map((id) => ({
    id,
    type: types.get(id) ?? "service",
    alias: null,
    host: null,
    zone: null,
    entry: callers.has(id) && !callees.has(id),
  }));
}

/** The commonest distance between neighbouring samples. */
function windowMsOf(series: readonly SnapshotSeries[]): number {
  const counts = new Map<number, number>();
  for (const one of series.slice(0, 50)) {
    for (let index = 1; index < Math.min(one.atMs.length, 200); index += 1) {
      const gap = (one.atMs[index] ?? 0) - (one.atMs[index - 1] ?? 0);
      if (gap > 0) counts.set(gap, (counts.get(gap) ?? 0) + 1);
    }
  }
  const best = [...counts].sort((left, right) => right[1] - left[1] || left[0] - right[0])[0];
  return best?.[0] ?? windowMsUsual;
}

function blindSpotsOf(loaded: {
  dependencies: readonly unknown[];
  series: readonly unknown[];
  spans: readonly unknown[];
  templates: readonly unknown[];
}): BlindSpot[] {
  const spots: BlindSpot[] = [];
  const miss = (what: string, cost: string, file: string): void => {
    spots.push({ what, cost, command: `add ${file} to the case folder` });
  };
  if (loaded.dependencies.length === 0) miss("no topology", "causes and consequences cannot be told apart", "topology.csv");
  if (loaded.series.length === 0) miss("no metrics", "shortage of resources is not seen", "metrics.csv");
  if (loaded.spans.length === 0) miss("no spans", "where errors and delays began is only inferred", "spans.csv");
  if (loaded.templates.length === 0) miss("no logs", "new error lines are not seen", "logs.csv");
  return spots;
}

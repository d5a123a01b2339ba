/**
 * AWS PetShop: five-minute metrics and a call graph per scenario, each issue with the node that caused it. Names of proxies
 * are read here, and only here: the ranker gets an alias field.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import { dependencyId } from "../../contract/entity.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { EvidenceSnapshot, SnapshotDependency, SnapshotEntity, SnapshotSeries } from "../../contract/evidence.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import { type Statistic, seriesId } from "../../contract/series.ts";
import type { BenchCase, Split } from "../case-list.ts";

const stepMs = 300_000;
const stepSeconds = 300;
/** Rows of the fault-free recording used as normal: they lie next to each other, and their dates differ from the issue's. */
const scenarios = ["low_traffic", "high_traffic", "temporal_traffic1", "temporal_traffic2"] as const;

/** Every issue of the scenarios that have fault-free data. */
export async function* loadPetshop(options: { directory: string; split: Split }): AsyncGenerator<BenchCase> {
  let found = 0;
  for (const scenario of scenarios) {
    const base = join(options.directory, scenario);
    if ((await stat(join(base, "noissue", "metrics.csv")).catch(() => null)) === null) continue;
    const graph = await readGraph(join(base, "graph.csv"));
    const normal = await readMetrics(join(base, "noissue", "metrics.csv"));
    for (const split of ["train", "test"] as const) {
      if (options.split !== "all" && options.split !== split) continue;
      const issues = await readdir(join(base, split)).catch(() => []);
      for (const issue of issues.sort(compareCodeUnits)) {
        found += 1;
        yield await readIssue(join(base, split, issue), {
          id: `${scenario}/${split}/${issue}`,
          system: `petshop/${scenario}`,
          graph,
          normal,
        });
      }
    }
  }
  if (found === 0)
    throw new HeadwaterError("CASE_INVALID", `${options.directory} holds no PetShop issues (expected low_traffic/…/metrics.csv)`);
}

interface Graph {
  readonly nodes: readonly string[];
  readonly calls: readonly (readonly [string, string])[];
}

async function readGraph(path: string): Promise<Graph> {
  const lines = (await readFile(path, "utf8"))
    .trim()
    .split(/\r?\n/)
    .map((line) => line.split(","));
  const callees = (lines[0] ?? []).slice(1);
  const calls: (readonly [string, string])[] = [];
  for (const cells of lines.slice(1)) {
    for (const [index, cell] of cells.slice(1).entries()) {
      const callee = callees[index];
      if (Number(cell) > 0 && callee !== undefined) calls.push([cells[0] ?? "", callee]);
    }
  }
  return { nodes: callees, calls };
}

interface Column {
  readonly node: string;
  readonly metric: string;
  readonly statistic: string;
  readonly atMs: readonly number[];
  readonly values: readonly number[];
}

async function readMetrics(path: string): Promise<Column[]> {
  const lines = (await readFile(path, "utf8"))
    .trim()
    .split(/\r?\n/)
    .map((line) => line.split(","));
  const [nodes = [], metrics = [], statistics = []] = lines;
  const data = lines.slice(4);
  return nodes.slice(1).map((node, index) => {
    const points = data.flatMap((cells) => {
      const text = cells[index + 1] ?? "";
      return text === "" || !Number.isFinite(Number(text)) ? [] : [{ at: Math.round(Number(cells[0]) * 1_000), value: Number(text) }];
    });
    return {
      node,
      metric: metrics[index + 1] ?? "",
      statistic: statistics[index + 1] ?? "",
      atMs: points.map((point) => point.at),
      values: points.map((point) => point.value),
    };
  });
}

interface Target {
  readonly target: { readonly node: string; readonly metric: string; readonly timestamp: number };
  readonly root_cause: { readonly node: string };
}

async function readIssue(
  directory: string,
  options: { id: string; system: string; graph: Graph; normal: readonly Column[] },
): Promise<BenchCase> {
  const fault = await readMetrics(join(directory, "metrics.csv"));
  const target = JSON.parse(await readFile(join(directory, "target.json"), "utf8")) as Target;
  const times = fault.flatMap((column) => column.atMs);
  if (times.length === 0) throw new HeadwaterError("CASE_INVALID", `${directory}: metrics.csv has no values`);
  const fromMs = times.reduce((low, at) => Math.min(low, at), Number.MAX_SAFE_INTEGER);
  const toMs = times.reduce((high, at) => Math.max(high, at), 0);
  const normalTimes = options.normal.flatMap((column) => column.atMs);
  const normalLast = normalTimes.reduce((high, at) => Math.max(high, at), 0);
  const normalFirst = normalTimes.reduce((low, at) => Math.min(low, at), Number.MAX_SAFE_INTEGER);
  // The fault-free rows were recorded at another time; moved to end one step before the issue, they are its past.
  const shiftMs = fromMs - stepMs - normalLast;
  const nodes = [...new Set([...options.graph.nodes, ...fault.map((column) => column.node)])].sort(compareCodeUnits);
  const snapshot: EvidenceSnapshot = {
    schemaVersion: 1,
    windowMs: stepMs,
    normal: { fromMs: normalFirst + shiftMs, toMs: fromMs },
    fault: { fromMs, toMs },
    symptoms: [{ entity: target.target.node, metric: target.target.metric, atMs: Math.round(target.target.timestamp * 1_000) }],
    entities: entitiesOf(nodes, options.graph),
    dependencies: dependenciesOf(options.graph),
    series: seriesOf(options.normal, { fault, shiftMs }),
    operations: [],
    templates: [],
    invocations: [],
    events: [],
    changes: [],
    blindSpots: [],
  };
  return {
    id: options.id,
    system: options.system,
    faultType: target.target.metric,
    snapshot,
    truth: [{ type: "entity", id: target.root_cause.node, kind: target.target.metric }],
  };
}

function dependenciesOf(graph: Graph): SnapshotDependency[] {
  return sortedBy(
    graph.calls.map(([source, target]) => ({
      id: dependencyId(source, target),
      source,
      target,
      protocol: "http",
      validFromMs: null,
      validToMs: null,
      confidence: 1,
    })),
    (dependency) => dependency.id,
  );
}

function entitiesOf(nodes: readonly string[], graph: Graph): SnapshotEntity[] {
  const callees = new Set(graph.calls.map(([, target]) => target));
  return nodes.map((id) => ({
    id,
    type: typeOf(id),
    alias: aliasOf(id, { nodes, graph }),
    host: null,
    zone: null,
    entry: !callees.has(id) && graph.calls.some(([source]) => source === id),
  }));
}

function typeOf(id: string): SnapshotEntity["type"] {
  if (/Database::SQL$|DynamoDB::Table$/.test(id)) return "datastore";
  if (/SQS::Queue$/.test(id)) return "broker";
  return isEndpoint(id) || id.endsWith("_remote") ? "external" : "service";
}

/** An API of the cloud as its caller sees it: `STS_AWS::STS`. */
function isEndpoint(id: string): boolean {
  return /^(\w+)_AWS::\1$/.test(id);
}

/**
 * The node for which a pseudo-node stands: `X_client` and `x.elb_remote` for the service they belong to, X-Ray's segments of
 * one Lambda for its function, and endpoints of others for the only service that calls them, whose own view they are.
 */
function aliasOf(id: string, options: { nodes: readonly string[]; graph: Graph }): string | null {
  const { nodes, graph } = options;
  const real = nodes.filter((node) => node !== id && /_AWS::(ECS|Lambda::Function|StepFunctions::StateMachine)|^[A-Za-z]+$/.test(node));
  if (id.endsWith("_client")) {
    const stem = id.slice(0, -"_client".length);
    return real.find((node) => node.startsWith(`${stem}_AWS`)) ?? onlyCallee(id, graph);
  }
  const lambda = /^(.+?)(_AWS::Lambda)?$/.exec(id);
  const asFunction = `${lambda?.[1] ?? ""}_AWS::Lambda::Function`;
  if (asFunction !== id && nodes.includes(asFunction)) return asFunction;
  if (id.endsWith("_remote") || isEndpoint(id)) {
    const part = /^[a-z]+-([a-z]+)\./i.exec(id)?.[1]?.toLowerCase();
    const named = part === undefined ? [] : real.filter((node) => node.toLowerCase().includes(part));
    if (named.length === 1) return named[0] ?? null;
    return onlyCaller(id, options);
  }
  return null;
}

function onlyCallee(id: string, graph: Graph): string | null {
  const callees = graph.calls.filter(([source]) => source === id).map(([, target]) => target);
  return callees.length === 1 ? (callees[0] ?? null) : null;
}

function onlyCaller(id: string, options: { graph: Graph }): string | null {
  const callers = options.graph.calls.filter(([, target]) => target === id).map(([source]) => source);
  return callers.length === 1 ? (callers[0] ?? null) : null;
}

const statistics: Readonly<Record<string, Statistic>> = { Average: "mean", p50: "p50", p90: "p95", p95: "p95", p99: "p99", Sum: "rate" };

function seriesOf(normal: readonly Column[], options: { fault: readonly Column[]; shiftMs: number }): SnapshotSeries[] {
  const during = new Map(options.fault.map((column) => [columnKey(column), column]));
  const before = new Map(normal.map((column) => [columnKey(column), column]));
  const all: SnapshotSeries[] = [];
  for (const key of new Set([...before.keys(), ...during.keys()])) {
    const past = before.get(key);
    const present = during.get(key);
    const column = past ?? present;
    // p90 and p95 would be two series of one name; the latter says as much.
    if (column === undefined || column.statistic === "p90") continue;
    const statistic: Statistic = column.metric === "availability" ? "error_ratio" : (statistics[column.statistic] ?? "value");
    const name = { entity: column.node, metric: column.metric, statistic, attributes: "" };
    const nature = metricKind(column.metric, statistic);
    const atMs = [...(past?.atMs ?? []).map((at) => at + options.shiftMs), ...(present?.atMs ?? [])];
    const values = [...(past?.values ?? []), ...(present?.values ?? [])];
    all.push({
      id: `series:${seriesId(name)}`,
      ...name,
      kind: nature.kind,
      scope: nature.scope,
      unit: unitOf(column),
      atMs,
      values: values.map((value) => converted(column, value)),
    });
  }
  return sortedBy(all, (series) => series.id);
}

function columnKey(column: Column): string {
  return JSON.stringify([column.node, column.metric, column.statistic]);
}

function unitOf(column: Column): string {
  if (column.metric === "latency") return "s";
  return column.metric === "requests" ? "1/s" : "1";
}

/** Sums per step become rates; availability in percent becomes the share that failed. */
function converted(column: Column, value: number): number {
  if (column.metric === "requests") return value / stepSeconds;
  return column.metric === "availability" ? Math.max(0, 1 - value / 100) : value;
}

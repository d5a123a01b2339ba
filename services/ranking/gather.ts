/**
 * Gathers the evidence snapshot for a verdict request: graph, series, spans, templates and changes around the symptoms, before and
 * during the fault. Identical stores give an identical snapshot: every query is bounded by event time, every list is sorted.
 */
import type { EvidenceSnapshot, Interval } from "../../contract/evidence.ts";
import { isAgentMetric, kernelEvent, kernelEventOf } from "../../contract/kernel-telemetry.ts";
import type { DurationWindow, EventStore, GraphStore, TelemetryStore } from "../../contract/port.ts";
import type { VerdictRequest } from "../../contract/verdict.ts";
import type { KeptSpan } from "../../contract/window.ts";
import { awaitCompleteness } from "../../graph/await-graph.ts";
import { agentSpots } from "./agent-spots.ts";
import { blindSpots } from "./blind-spots.ts";
import type { ChangeLog } from "./change-log.ts";
import type { EarlierIncidents } from "./earlier-incidents.ts";
import { faultInterval, normalInterval, normalRange } from "./intervals.ts";
import { readGraph, type SelectedGraph, snapshotDependency, snapshotEntity } from "./select-graph.ts";
import { selectInvocations, selectOperations } from "./select-operations.ts";
import { selectSeries, selectTemplates } from "./select-series.ts";

export interface GatherPorts {
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly changes: ChangeLog;
  readonly earlier: EarlierIncidents;
  readonly windowMs: number;
  /** Looks at the graph, about 10 ms apart, before going on without its completeness. */
  readonly graphAttemptsMax: number;
  /** Called with the name of each bound that cut the evidence. */
  readonly onBound: (name: "graph" | "series" | "durations" | "spans" | "templates") => void;
}

/** How far behind detection the graph may be: topology waits for both halves of a call. */
const graphLagMs = 10_000;
const seriesMax = 5_000;
const durationRowsMax = 100_000;
const spansMax = 20_000;
const templateRowsMax = 50_000;
/** Changes this long before the onset may explain it. */
const changesBeforeMs = 1_800_000;
/** Spans are asked for by their start and belong to the window of their end. */
const spanLeadMs = 60_000;
/** Times that the normal interval is halved because its rows do not fit. */
const halvingsMax = 6;

export async function gatherSnapshot(request: VerdictRequest, ports: GatherPorts): Promise<EvidenceSnapshot> {
  const { windowMs } = ports;
  const { onsetMs, askedForMs } = request;
  const cut: string[] = [];
  const graph = await graphAround(request, ports, cut);
  const fault = faultInterval({ onsetMs, askedForMs, windowMs });
  const range = normalRange({ onsetMs, windowMs });
  const entities = graph.entities.map(({ id }) => id);
  const { durations, normal: range2 } = await durationsOf(entities, { fault, normal: range, ports, cut });
  const owners = [...entities, ...graph.dependencies.map(({ id }) => id)];
  const told =
    entities.length === 0 ? [] : await ports.telemetry.series({ entities: owners, fromMs: range2.fromMs, toMs: fault.toMs, seriesMax });
  // What an agent says of itself is no evidence of what it observes.
  const stored = told.filter(({ key }) => !isAgentMetric(key.metric));
  if (told.length >= seriesMax) boundHit(ports, cut, { name: "series", text: `only ${seriesMax} series were looked at` });
  const all = selectSeries(stored, graph);
  const earlier = await ports.earlier.endedBefore(onsetMs, request.incident);
  const firstSeenMs = earliest([...all.map(({ atMs }) => atMs[0]), ...durations.map((row) => row.windowStartMs)]);
  const normal = normalInterval(range2, { firstSeenMs, earlier, windowMs });
  const series = all.map((item) => since(item, normal.fromMs)).filter(({ atMs }) => atMs.length > 0);
  const spans = await spansOf(entities, { fault, normal, ports, cut });
  const operations = selectOperations({ durations, spans, normal, fault, graph });
  const templates = await templatesOf(entities, { fault, normal, ports, cut });
  const agents = await agentSpots(graph.entities, { telemetry: ports.telemetry, fault, windowMs });
  const changes = await ports.changes.between(onsetMs - changesBeforeMs, askedForMs);
  const known = new Set(owners);
  const changesOfNobody = changes.filter(({ entity }) => !known.has(entity)).map(({ id }) => id);
  return {
    schemaVersion: 1,
    windowMs,
    normal,
    fault,
    symptoms: request.symptoms,
    entities: graph.entities.map((entity) => snapshotEntity(entity, graph)),
    dependencies: graph.dependencies.map((dependency) => snapshotDependency(dependency, { onsetMs, windowMs })),
    series,
    operations,
    templates,
    invocations: selectInvocations(operations),
    events: [],
    changes: changes.filter(({ entity }) => known.has(entity)),
    blindSpots: [...blindSpots({ graph, stored, series, operations, cut, changesOfNobody }), ...agents],
  };
}

/** The graph as of the onset and as of the moment asked for, both old enough to be complete. */
async function graphAround(request: VerdictRequest, ports: GatherPorts, cut: string[]): Promise<SelectedGraph> {
  const throughMs = request.askedForMs - graphLagMs;
  const complete = await awaitCompleteness(ports.graph, { throughMs, attemptsMax: ports.graphAttemptsMax });
  if (complete === "no") boundHit(ports, cut, { name: "graph", text: "the dependency graph was not complete when it was read" });
  const symptoms = request.symptoms.map(({ entity }) => entity);
  return await readGraph(ports.graph, { onsetMs: Math.min(request.onsetMs, throughMs), askedMs: throughMs, symptoms });
}

interface Around {
  readonly fault: Interval;
  readonly normal: Interval;
  readonly ports: GatherPorts;
  readonly cut: string[];
}

function boundHit(ports: GatherPorts, cut: string[], hit: { name: Parameters<GatherPorts["onBound"]>[0]; text: string }): void {
  cut.push(hit.text);
  ports.onBound(hit.name);
}

/** Rows of both intervals; normal begins later when its rows do not fit, so that no entity is cut off by its name. */
async function durationsOf(entities: readonly string[], around: Around): Promise<{ durations: DurationWindow[]; normal: Interval }> {
  const { fault, ports, cut } = around;
  if (entities.length === 0) return { durations: [], normal: around.normal };
  const during = await ports.telemetry.durations({ entities, fromMs: fault.fromMs, toMs: fault.toMs, rowsMax: durationRowsMax });
  const text = `only ${durationRowsMax} rows of durations were looked at`;
  if (during.length >= durationRowsMax) boundHit(ports, cut, { name: "durations", text: `${text} of the fault` });
  let { normal } = around;
  for (let halving = 0; ; halving += 1) {
    const before = await ports.telemetry.durations({ entities, fromMs: normal.fromMs, toMs: normal.toMs, rowsMax: durationRowsMax });
    if (before.length < durationRowsMax) return { durations: [...before, ...during], normal };
    if (halving === 0) boundHit(ports, cut, { name: "durations", text: `${text} before the fault` });
    if (halving === halvingsMax) return { durations: [...before, ...during], normal };
    const middleMs = normal.fromMs + Math.ceil((normal.toMs - normal.fromMs) / 2 / ports.windowMs) * ports.windowMs;
    normal = { fromMs: Math.min(middleMs, normal.toMs - ports.windowMs), toMs: normal.toMs };
  }
}

async function spansOf(entities: readonly string[], { fault, normal, ports, cut }: Around): Promise<KeptSpan[]> {
  if (entities.length === 0) return [];
  const beginMs = normal.fromMs - spanLeadMs;
  const parts = [
    await ports.telemetry.spans({ entities, fromMs: beginMs, toMs: normal.toMs, failedOnly: "no", spansMax }),
    await ports.telemetry.spans({ entities, fromMs: normal.toMs, toMs: fault.toMs, failedOnly: "no", spansMax }),
    await ports.telemetry.spans({ entities, fromMs: beginMs, toMs: fault.toMs, failedOnly: "yes", spansMax }),
  ];
  if (parts.some((part) => part.length >= spansMax)) {
    boundHit(ports, cut, { name: "spans", text: `only ${spansMax} spans of an interval were looked at` });
  }
  return [...new Map(parts.flat().map((span) => [`${span.traceId}/${span.spanId}/${span.entity}`, span])).values()];
}

async function templatesOf(entities: readonly string[], { fault, normal, ports, cut }: Around) {
  if (entities.length === 0) return [];
  const range = { fromMs: normal.fromMs, toMs: fault.toMs };
  const counts = await ports.telemetry.templates({ entities, ...range, templatesMax: templateRowsMax });
  if (counts.length >= templateRowsMax) {
    boundHit(ports, cut, { name: "templates", text: `only ${templateRowsMax} rows of log templates were looked at` });
  }
  const told = counts.filter(({ text }) => kernelEventOf(text) !== kernelEvent.interval);
  return selectTemplates(told, { normal, fault });
}

function earliest(times: readonly (number | undefined)[]): number | null {
  let first: number | null = null;
  for (const atMs of times) if (atMs !== undefined && (first === null || atMs < first)) first = atMs;
  return first;
}

function since<T extends { atMs: number[]; values: number[] }>(series: T, fromMs: number): T {
  const from = series.atMs.findIndex((atMs) => atMs >= fromMs);
  if (from === 0) return series;
  return from < 0 ? { ...series, atMs: [], values: [] } : { ...series, atMs: series.atMs.slice(from), values: series.values.slice(from) };
}

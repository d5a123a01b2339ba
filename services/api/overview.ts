/** The first screen, computed from graph, telemetry and incidents; cheap enough to be asked for every second. */
import { contentHash } from "../../contract/canonical.ts";
import type { Entity } from "../../contract/entity.ts";
import { changeStream } from "../../contract/event-stream.ts";
import type { Clock, DurationWindow, EventStore, GraphStore, GraphView, SeriesSummary, TelemetryStore } from "../../contract/port.ts";
import type { Overview, ServiceSummary } from "../../contract/route.ts";
import { derivedMetric } from "../../contract/series.ts";
import { silentAgents } from "./agent-troubles.ts";
import { mergeBuckets, quantileOf } from "./duration-quantile.ts";
import type { IncidentIndex, IndexedIncident } from "./incident-index.ts";
import { createInstallation, type Installation, type InstallationOptions } from "./installation.ts";
import type { StoreAway } from "./trouble-facts.ts";
import { troublesOf } from "./troubles.ts";
import { createWatch, type Reading, type Watch } from "./watch.ts";

/** How long an answer is good for. */
const overviewFreshMs = 500;
const seriesMax = 50_000;
const durationRowsMax = 50_000;
const openIncidentsMax = 100;
const recentIncidentsMax = 10;
/** How far behind the newest window a service's own newest one may lie and still count as now. */
const windowsBack = 3;

export interface OverviewOptions extends Pick<InstallationOptions, "presence" | "queue" | "log"> {
  readonly clock: Clock;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly incidents: IncidentIndex;
  readonly windowMs: number;
  /** A source that is silent for longer no longer holds windows open. */
  readonly sourceSilentMs: number;
  readonly otlpUrl: () => string;
}

interface Sources {
  readonly graph: Watch<GraphView>;
  readonly telemetry: Watch<TelemetryNow>;
  readonly events: Watch<unknown>;
  readonly installation: Installation;
  /** When this API was started: what had ended by then is given time to begin again. */
  readonly sinceMs: number;
}

interface TelemetryNow {
  readonly summaries: readonly SeriesSummary[];
  readonly newestWindowMs: number | null;
  readonly durations: readonly DurationWindow[];
}

const nothingYet: TelemetryNow = { summaries: [], newestWindowMs: null, durations: [] };

/**
 * Answers the overview; calls within `overviewFreshMs` share one computation. It does not fail because a store is away: it answers what is
 * known, within about 2 s, and says in its troubles what is missing.
 */
export function createOverview(options: OverviewOptions): () => Promise<Overview> {
  const sources = sourcesOf(options);
  let computed: { atMs: number; overview: Promise<Overview> } | null = null;
  return () => {
    const nowMs = options.clock.nowMs();
    if (computed !== null && Math.abs(nowMs - computed.atMs) < overviewFreshMs)
      return computed.overview.then((known) => withIncidents(known, options));
    const overview = compute(options, sources, nowMs);
    computed = { atMs: nowMs, overview };
    return overview;
  };
}

/** The same as long as nothing changed in how Headwater itself is; ages and numbers that move by themselves are not in it. */
export function installationMark({ processes, troubles, unread }: Overview): string {
  return contentHash([
    processes.map(({ id, state, partitions }) => [id, state, partitions]),
    troubles.map(({ id, weight, sentence, meaning }) => [id, weight, sentence, meaning]),
    unread,
  ]);
}

function sourcesOf(options: OverviewOptions): Sources {
  const { clock, graph, telemetry, events } = options;
  const watch = <T>(name: string, ask: () => Promise<T>): Watch<T> => createWatch({ clock, name, ask });
  return {
    graph: watch("the graph", () => graph.asOf(clock.nowMs())),
    telemetry: watch("the telemetry store", () => readTelemetry(telemetry, options.windowMs)),
    events: watch("the event store", () => events.read(changeStream, { eventsMax: 1 })),
    installation: createInstallation(options),
    sinceMs: clock.nowMs(),
  };
}

/** Incidents are in memory: they are never served from the cache, so that an acknowledgement shows at once. */
function withIncidents(overview: Overview, options: OverviewOptions): Overview {
  const incidents = options.incidents.list();
  return {
    ...overview,
    ...listed(incidents),
    services: overview.services.map((service) => ({ ...service, openIncident: openIncidentOf(service.entity.id, incidents) })),
  };
}

async function compute(options: OverviewOptions, sources: Sources, nowMs: number): Promise<Overview> {
  const [graph, telemetry, , installation] = await Promise.all([
    sources.graph.read(),
    sources.telemetry.read(),
    sources.events.read(),
    sources.installation.read(),
  ]);
  const { summaries, newestWindowMs, durations } = telemetry.value ?? nothingYet;
  const view = graph.value ?? { completeThroughMs: 0, entities: [], dependencies: [] };
  const incidents = options.incidents.list();
  const services = serviceSummaries({ view, summaries, durations, incidents, windowMs: options.windowMs });
  const learning = summaries.filter((series) => series.state === "learning");
  const queue = installation.queueAway === null ? [] : [{ store: "queue", away: installation.queueAway, wasRead: "yes" } as const];
  return {
    nowMs,
    newestWindowMs,
    windowMs: options.windowMs,
    ...listed(incidents),
    services,
    seriesCount: summaries.length,
    learningCount: learning.length,
    readyAtMs: learning.reduce<number | null>((latest, series) => maxOf(latest, series.readyAtMs), null),
    unlinked: services.filter(isUnlinked).map((service) => unlinkedReason(service, options.otlpUrl())),
    otlpUrl: options.otlpUrl(),
    processes: [...installation.processes],
    troubles: troublesOf({
      ...installation,
      silentAgents: telemetry.away === null ? silentAgents(summaries, { ...options, newestWindowMs, nowMs, sinceMs: sources.sinceMs }) : [],
      stores: [...storesAway(sources), ...queue],
      graphThroughMs: graph.value?.completeThroughMs ?? null,
    }),
    unread: [...(graph.value === null ? ["graph" as const] : []), ...(telemetry.value === null ? ["telemetry" as const] : [])],
  };
}

function storesAway(sources: Sources): StoreAway[] {
  const readings = { events: sources.events.known(), graph: sources.graph.known(), telemetry: sources.telemetry.known() };
  return Object.entries(readings).flatMap(([store, { away, value }]: [string, Reading<unknown>]) =>
    away === null ? [] : [{ store: store as keyof typeof readings, away, wasRead: value === null ? "no" : "yes" }],
  );
}

async function readTelemetry(telemetry: TelemetryStore, windowMs: number): Promise<TelemetryNow> {
  const summaries = await telemetry.summaries({ entities: [], seriesMax });
  const newestWindowMs = summaries.reduce<number | null>((newest, series) => maxOf(newest, series.lastAtMs), null);
  if (newestWindowMs === null) return { summaries, newestWindowMs, durations: [] };
  const range = { fromMs: newestWindowMs - windowsBack * windowMs, toMs: newestWindowMs + windowMs };
  return { summaries, newestWindowMs, durations: await telemetry.durations({ ...range, entities: [], rowsMax: durationRowsMax }) };
}

function listed(incidents: readonly IndexedIncident[]): Pick<Overview, "openIncidents" | "recentIncidents"> {
  return {
    openIncidents: incidents
      .filter(isOpen)
      .slice(0, openIncidentsMax)
      .map((incident) => incident.summary),
    recentIncidents: incidents
      .filter((incident) => !isOpen(incident))
      .slice(0, recentIncidentsMax)
      .map((incident) => incident.summary),
  };
}

function isOpen(incident: IndexedIncident): boolean {
  return incident.summary.resolvedMs === null && incident.summary.status !== "resolved" && incident.summary.status !== "reviewed";
}

function openIncidentOf(entity: string, incidents: readonly IndexedIncident[]): string | null {
  return incidents.find((incident) => isOpen(incident) && incident.entities.has(entity))?.summary.id ?? null;
}

interface Observed {
  readonly view: GraphView;
  readonly summaries: readonly SeriesSummary[];
  readonly durations: readonly DurationWindow[];
  readonly incidents: readonly IndexedIncident[];
  readonly windowMs: number;
}

function serviceSummaries(observed: Observed): ServiceSummary[] {
  const callers = new Map<string, Set<string>>();
  const callees = new Map<string, Set<string>>();
  for (const dependency of observed.view.dependencies) {
    if (dependency.source === dependency.target) continue;
    addTo(callers, dependency.target, dependency.source);
    addTo(callees, dependency.source, dependency.target);
  }
  const seriesByEntity = groupBy(observed.summaries, (series) => series.key.entity);
  // The row without attributes is the sum over all operations.
  const served = observed.durations.filter((row) => row.attributes === "");
  const bySpans = groupBy(
    served.filter((row) => row.metric === derivedMetric.serverDuration),
    (row) => row.entity,
  );
  const byKernel = groupBy(
    served.filter((row) => row.metric === derivedMetric.kernelServerDuration),
    (row) => row.entity,
  );
  return observed.view.entities
    .filter((entity) => entity.type === "service")
    .map((entity) => ({
      entity,
      ...requestsOf(bySpans.get(entity.id) ?? byKernel.get(entity.id) ?? [], observed.windowMs),
      ...learningOf(seriesByEntity.get(entity.id) ?? []),
      callerCount: callers.get(entity.id)?.size ?? 0,
      calleeCount: callees.get(entity.id)?.size ?? 0,
      openIncident: openIncidentOf(entity.id, observed.incidents),
    }));
}

/** Rate, failures and p95 of the newest window in which the entity served anything. */
function requestsOf(
  rows: readonly DurationWindow[],
  windowMs: number,
): Pick<ServiceSummary, "requestsPerSecond" | "errorRatio" | "p95Seconds"> {
  const newest = rows.reduce<number | null>((latest, row) => maxOf(latest, row.windowStartMs), null);
  const current = rows.filter((row) => row.windowStartMs === newest);
  const count = current.reduce((sum, row) => sum + row.count, 0);
  if (count === 0) return { requestsPerSecond: null, errorRatio: null, p95Seconds: null };
  const failed = current.reduce((sum, row) => sum + row.failed, 0);
  const p95Ns = quantileOf(mergeBuckets(current.map((row) => row.buckets)), 0.95);
  return { requestsPerSecond: (count * 1_000) / windowMs, errorRatio: failed / count, p95Seconds: p95Ns === null ? null : p95Ns / 1e9 };
}

function learningOf(series: readonly SeriesSummary[]): Pick<ServiceSummary, "seriesCount" | "learningCount" | "readyAtMs"> {
  const learning = series.filter((one) => one.state === "learning");
  return {
    seriesCount: series.length,
    learningCount: learning.length,
    readyAtMs: learning.reduce<number | null>((latest, one) => maxOf(latest, one.readyAtMs), null),
  };
}

function isUnlinked(service: ServiceSummary): boolean {
  return service.callerCount === 0 && service.calleeCount === 0;
}

function unlinkedReason(service: ServiceSummary, otlpUrl: string): Overview["unlinked"][number] {
  const entity: Entity = service.entity;
  if (service.requestsPerSecond === null) {
    return {
      entity: entity.id,
      why: "No requests are seen: only metrics or logs arrive from it, or nobody calls it.",
      command: `export OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_ENDPOINT=${otlpUrl}`,
    };
  }
  return {
    entity: entity.id,
    why: "Its spans share no trace with another service: the trace context is not passed on, or the other side is not instrumented.",
    command: "export OTEL_PROPAGATORS=tracecontext,baggage",
  };
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key) ?? new Set();
  set.add(value);
  sets.set(key, set);
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

function maxOf(left: number | null, right: number | null): number | null {
  if (left === null || right === null) return left ?? right;
  return Math.max(left, right);
}

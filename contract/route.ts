/**
 * The API, one row a route (design §9): method, path, schemas in and out, role.
 * `services/api` serves the table, `client/` is typed from it, and OpenAPI will be generated from it.
 */
import { z } from "zod";
import { Change } from "./change.ts";
import { Dependency, Entity } from "./entity.ts";
import { EvidenceSnapshot } from "./evidence.ts";
import { Incident, IncidentEvent } from "./incident.ts";
import { Sample, SeriesKey, SeriesState } from "./series.ts";
import { StageName } from "./topic.ts";
import { Verdict } from "./verdict.ts";
import { KeptLine, KeptSpan } from "./window.ts";

export const Role = z.enum(["viewer", "responder", "admin", "ingest", "agent"]);
export type Role = z.infer<typeof Role>;

const Ms = z.coerce.number().int().min(0).max(9_000_000_000_000);
const Limit = z.coerce.number().int().min(1).max(1_000);
const Page = z.object({ cursor: z.string().max(200).optional(), limit: Limit.default(100) });
const Nothing = z.object({});
const paged = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), nextCursor: z.string().nullable() });

/** An incident in a list: without its verdicts' rankings and anomalies. */
export const IncidentSummary = z.object({
  id: z.string(),
  number: z.number(),
  status: Incident.shape.status,
  severity: Incident.shape.severity,
  onsetMs: z.number(),
  openedMs: z.number(),
  resolvedMs: z.number().nullable(),
  /** Sentence of the newest verdict, else what burns. */
  sentence: z.string(),
  impacts: Incident.shape.impacts,
});
export type IncidentSummary = z.infer<typeof IncidentSummary>;

export const ServiceSummary = z.object({
  entity: Entity,
  /** Newest window's rate, share of failed requests and p95; null where it serves none. */
  requestsPerSecond: z.number().nullable(),
  errorRatio: z.number().nullable(),
  p95Seconds: z.number().nullable(),
  seriesCount: z.number().int(),
  learningCount: z.number().int(),
  /** When the last learning series will be ready; null when none is learning. */
  readyAtMs: z.number().nullable(),
  /** Callers and callees known; 0 and 0 = not linked. */
  callerCount: z.number().int(),
  calleeCount: z.number().int(),
  openIncident: z.string().nullable(),
});
export type ServiceSummary = z.infer<typeof ServiceSummary>;

/** A process of this installation as the others see it. */
export const OverviewProcess = z.object({
  id: z.string(),
  roles: z.array(StageName),
  host: z.string(),
  pid: z.number().int(),
  version: z.string(),
  startedAtMs: z.number(),
  /**
   * What it says of itself, or `lost`: silent for more than 6 s, killed or paused, which cannot be told apart; `replaced`: lost, and another
   * one with its roles was started since; `unknown`: nobody can be heard while the queue's server is away.
   */
  state: z.enum(["starting", "ready", "waiting", "stopping", "lost", "replaced", "unknown"]),
  reasons: z.array(z.string()),
  /** Since it was heard of last. */
  silentMs: z.number(),
  /** When a process that is lost or replaced was heard of last, by the clock of the API; null otherwise. */
  lostSinceMs: z.number().nullable(),
  /** Partitions that it works on, by topic. */
  partitions: z.record(z.string(), z.array(z.number().int())),
});
export type OverviewProcess = z.infer<typeof OverviewProcess>;

/** Something that is wrong with Headwater itself, for the operator. */
export const Trouble = z.object({
  /** The same as long as it is the same trouble. */
  id: z.string(),
  /** `stopped`: a part of the flow does not work; `weakened`: all of it works, with less; `notice`: to be known. */
  weight: z.enum(["stopped", "weakened", "notice"]),
  sentence: z.string(),
  /** What that means for who uses Headwater, and what becomes of the data. */
  meaning: z.string(),
  /** Facts behind it: processes, what a server said. At most 20. */
  details: z.array(z.string()),
  command: z.string().nullable(),
  /** Where the command is to be run; null = anywhere. */
  commandHost: z.string().nullable(),
  sinceMs: z.number().nullable(),
});
export type Trouble = z.infer<typeof Trouble>;

/** The first screen: what arrives, from whom, what is learning and until when, what is not linked, and what to do about it. */
export const Overview = z.object({
  nowMs: z.number(),
  newestWindowMs: z.number().nullable(),
  windowMs: z.number(),
  openIncidents: z.array(IncidentSummary),
  recentIncidents: z.array(IncidentSummary),
  services: z.array(ServiceSummary),
  seriesCount: z.number().int(),
  learningCount: z.number().int(),
  readyAtMs: z.number().nullable(),
  unlinked: z.array(z.object({ entity: z.string(), why: z.string(), command: z.string() })),
  /** Where telemetry is sent to, for the empty state. */
  otlpUrl: z.string(),
  /** In the order of the flow; empty where the API is served alone. */
  processes: z.array(OverviewProcess),
  /** Heaviest first; empty when all is well. */
  troubles: z.array(Trouble),
  /** Stores that have not answered since this API was started: what they would tell is missing rather than nothing. */
  unread: z.array(z.enum(["graph", "telemetry"])),
});
export type Overview = z.infer<typeof Overview>;

export const SeriesWithBand = z.object({
  key: SeriesKey,
  unit: z.string(),
  state: SeriesState,
  readyAtMs: z.number().nullable(),
  samples: z.array(Sample),
});
export type SeriesWithBand = z.infer<typeof SeriesWithBand>;

export const Graph = z.object({ completeThroughMs: z.number(), entities: z.array(Entity), dependencies: z.array(Dependency) });

const Range = z.object({ fromMs: Ms, toMs: Ms });
const IncidentPath = z.object({ incident: z.string().min(1).max(64) });
const Note = z.object({ actor: z.string().min(1).max(200).default("on-call"), note: z.string().max(2_000).nullable().default(null) });

/** A message that a stage could not handle, see `DeadLetter` in `port.ts`. */
export const DeadLetterRow = z.object({
  id: z.string(),
  topic: z.string(),
  reader: z.string(),
  atMs: z.number(),
  attempts: z.number().int(),
  code: z.string(),
  message: z.string(),
  json: z.unknown(),
  bodyBytes: z.number().int(),
});
const DeadLetterPath = z.object({ id: z.string().min(1).max(600) });

/** RFC 9457. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  instance: z.string(),
  code: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type Problem = z.infer<typeof Problem>;

interface RouteRow {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly role: Role;
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType;
  readonly response: z.ZodType;
  readonly summary: string;
}

export const routes = {
  overview: {
    method: "GET",
    path: "/api/v1/overview",
    role: "viewer",
    params: Nothing,
    query: Nothing,
    body: Nothing,
    response: Overview,
    summary: "What arrives, what is learning, what is not linked, what is open",
  },
  services: {
    method: "GET",
    path: "/api/v1/services",
    role: "viewer",
    params: Nothing,
    query: Page,
    body: Nothing,
    response: paged(ServiceSummary),
    summary: "Every service seen",
  },
  incidents: {
    method: "GET",
    path: "/api/v1/incidents",
    role: "viewer",
    params: Nothing,
    query: Page.extend({ status: Incident.shape.status.optional() }),
    body: Nothing,
    response: paged(IncidentSummary),
    summary: "Incidents, newest first",
  },
  incident: {
    method: "GET",
    path: "/api/v1/incidents/:incident",
    role: "viewer",
    params: IncidentPath,
    query: Nothing,
    body: Nothing,
    response: Incident,
    summary: "One incident with its verdicts; the ETag is its sequence",
  },
  incidentEvents: {
    method: "GET",
    path: "/api/v1/incidents/:incident/events",
    role: "viewer",
    params: IncidentPath,
    query: Nothing,
    body: Nothing,
    response: z.object({ items: z.array(IncidentEvent) }),
    summary: "Everything that happened to it, in order",
  },
  incidentEvidence: {
    method: "GET",
    path: "/api/v1/incidents/:incident/evidence",
    role: "viewer",
    params: IncidentPath,
    query: Nothing,
    body: Nothing,
    response: EvidenceSnapshot,
    summary: "The sealed snapshot behind its newest verdict",
  },
  acknowledge: {
    method: "POST",
    path: "/api/v1/incidents/:incident/acknowledge",
    role: "responder",
    params: IncidentPath,
    query: Nothing,
    body: Note,
    response: Incident,
    summary: "Somebody is on it",
  },
  resolve: {
    method: "POST",
    path: "/api/v1/incidents/:incident/resolve",
    role: "responder",
    params: IncidentPath,
    query: Nothing,
    body: Note,
    response: Incident,
    summary: "Somebody says it is over",
  },
  verdicts: {
    method: "GET",
    path: "/api/v1/incidents/:incident/verdicts",
    role: "viewer",
    params: IncidentPath,
    query: Nothing,
    body: Nothing,
    response: z.object({ items: z.array(Verdict) }),
    summary: "Every version of the ranking",
  },
  graph: {
    method: "GET",
    path: "/api/v1/graph",
    role: "viewer",
    params: Nothing,
    query: z.object({ atMs: Ms.optional() }),
    body: Nothing,
    response: Graph,
    summary: "Who depends on whom, as of a moment",
  },
  graphDiff: {
    method: "GET",
    path: "/api/v1/graph/diff",
    role: "viewer",
    params: Nothing,
    query: Range,
    body: Nothing,
    response: z.object({
      entitiesAdded: z.array(Entity),
      entitiesRemoved: z.array(Entity),
      dependenciesAdded: z.array(Dependency),
      dependenciesRemoved: z.array(Dependency),
    }),
    summary: "What changed in the graph between two moments",
  },
  series: {
    method: "GET",
    path: "/api/v1/series",
    role: "viewer",
    params: Nothing,
    query: Range.extend({ entity: z.string().max(1_200).optional(), metric: z.string().max(256).optional(), limit: Limit.default(100) }),
    body: Nothing,
    response: z.object({ items: z.array(SeriesWithBand) }),
    summary: "Series with their bands",
  },
  spans: {
    method: "GET",
    path: "/api/v1/spans",
    role: "viewer",
    params: Nothing,
    query: Range.extend({
      entity: z.string().max(512).optional(),
      traceId: z
        .string()
        .regex(/^[0-9a-f]{32}$/)
        .optional(),
      failed: z.enum(["yes", "no"]).default("no"),
      limit: Limit.default(100),
    }),
    body: Nothing,
    response: z.object({ items: z.array(KeptSpan) }),
    summary: "Kept spans",
  },
  lines: {
    method: "GET",
    path: "/api/v1/lines",
    role: "viewer",
    params: Nothing,
    query: Range.extend({
      entity: z.string().max(512).optional(),
      template: z.string().max(64).optional(),
      traceId: z
        .string()
        .regex(/^[0-9a-f]{32}$/)
        .optional(),
      limit: Limit.default(100),
    }),
    body: Nothing,
    response: z.object({ items: z.array(KeptLine) }),
    summary: "Kept log lines",
  },
  changes: {
    method: "GET",
    path: "/api/v1/changes",
    role: "viewer",
    params: Nothing,
    query: Range.partial().extend({ entity: z.string().max(512).optional(), limit: Limit.default(100) }),
    body: Nothing,
    response: z.object({ items: z.array(Change) }),
    summary: "Recorded changes, newest first",
  },
  deadLetters: {
    method: "GET",
    path: "/api/v1/dead-letters",
    role: "viewer",
    params: Nothing,
    query: z.object({ limit: Limit.default(100) }),
    body: Nothing,
    response: z.object({ items: z.array(DeadLetterRow) }),
    summary: "Messages that could not be handled, newest first",
  },
  retryDeadLetter: {
    method: "POST",
    path: "/api/v1/dead-letters/:id/retry",
    role: "admin",
    params: DeadLetterPath,
    query: Nothing,
    body: Nothing,
    response: z.object({ id: z.string() }),
    summary: "Hands it out again to the reader that could not handle it",
  },
  dropDeadLetter: {
    method: "POST",
    path: "/api/v1/dead-letters/:id/drop",
    role: "admin",
    params: DeadLetterPath,
    query: Nothing,
    body: Nothing,
    response: z.object({ id: z.string() }),
    summary: "Forgets it for good",
  },
} as const satisfies Record<string, RouteRow>;

export type RouteName = keyof typeof routes;
export type RouteBody<R extends RouteName> = z.input<(typeof routes)[R]["body"]>;
export type RouteResponse<R extends RouteName> = z.infer<(typeof routes)[R]["response"]>;

/**
 * Served beside the table, not as JSON: reports (`/api/v1/incidents/:incident/report.{html,md,json}`),
 * server-sent events (`/api/v1/events`, event names `incident`, `window`, `installation`), `/metrics`, `/livez`, `/readyz`, and the page itself under `/`.
 */
export const reportFormats = ["html", "md", "json"] as const;
export type ReportFormat = (typeof reportFormats)[number];

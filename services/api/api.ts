/** The API and the page: the table of `contract/route.ts` over express, beside it events, reports, health and static files. */
import { createServer, type Server } from "node:http";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { collectDefaultMetrics } from "prom-client";
import type { Config } from "../../config/config.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { InvariantError, invariant } from "../../contract/invariant.ts";
import type { EventStore, GraphStore, PartitionLog, Presence, Queue, TelemetryStore } from "../../contract/port.ts";
import type { Platform } from "../platform.ts";
import type { Stage } from "../stage.ts";
import { type Access, createAccess } from "./access.ts";
import { createChangeIndex } from "./change-index.ts";
import { sameSite, secureHeaders } from "./guard.ts";
import type { ApiAnswer, ApiContext, DeadLetterQueue } from "./handler.ts";
import { mountHealth } from "./health.ts";
import { createIdempotencyKeys } from "./idempotency.ts";
import { createIncidentIndex } from "./incident-index.ts";
import { createLiveStream, type LiveStream } from "./live-stream.ts";
import { mountRoutes, onlyMethods } from "./mount.ts";
import { createOverview, installationMark } from "./overview.ts";
import { sendProblem, toApiError } from "./problem.ts";
import { mountReports } from "./report-route.ts";
import { shownIncidents } from "./shown-incidents.ts";
import { loadStaticPage } from "./static-page.ts";
import { createStoreHealth, type StoreHealth } from "./store-health.ts";

const connectionsMax = 1_000;
const headersTimeoutMs = 10_000;
const bodyTimeoutMs = 30_000;
/** How long requests that are under way may take at stop. */
const stopWithinMs = 2_000;

export interface ApiOptions {
  readonly platform: Platform;
  readonly queue: DeadLetterQueue & Pick<Queue, "depth">;
  /** Which processes there are; without it none are listed. */
  readonly presence?: Presence | null;
  /** The ordered log, where this process has it open, to see how far its readers are behind. */
  readonly log?: Pick<PartitionLog, "lag"> | null;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly http: Config["api"];
  readonly tokens: Config["tokens"];
  readonly windowMs: number;
  readonly sourceSilentMs: number;
  /** Where telemetry is sent to, for the empty state. */
  readonly otlpUrl: () => string;
  /** The built page (dist/web), or null to serve the API alone. */
  readonly webDirectory: string | null;
}

export interface Api extends Stage {
  /** `http://host:port` of where it listens; before start with the configured port, of which 0 is any. */
  url(): string;
}

/**
 * The stage that people and programs look at. `start` rejects with CONFIG_INVALID when it would be open to the network without tokens,
 * and with PORT_IN_USE.
 */
export function createApi(options: ApiOptions): Api {
  const { logger, metrics, clock } = options.platform;
  const counted = metrics.counter("headwater_api_bound_total", "What happened at the bounds of the API", ["reason"]);
  const count = (reason: string): void => counted.inc({ reason });
  let state: "starting" | "ready" | "stopping" = "starting";
  let server: Server | null = null;
  let { port } = options.http;
  const incidents = createIncidentIndex({
    events: options.events,
    onChange: (summary) => live.incidentChanged(summary),
    onCounted: (reason) => count(`incident-${reason}`),
  });
  const context: ApiContext = {
    clock,
    queue: options.queue,
    events: options.events,
    graph: options.graph,
    telemetry: options.telemetry,
    incidents: shownIncidents(incidents, () => ({ otlpUrl: options.otlpUrl(), apiUrl: urlOf(options.http.host, port) })),
    changes: createChangeIndex({ events: options.events, onCounted: (reason) => count(`change-${reason}`) }),
    overview: createOverview({ ...options, clock, incidents }),
  };
  const listening = metrics.gauge("headwater_api_sse_clients", "Clients that listen to live events");
  const live: LiveStream = createLiveStream({
    onClients: (clients) => listening.set(clients),
    clock,
    newestWindow: async () => (await context.overview()).newestWindowMs,
    installation: async () => installationMark(await context.overview()),
    onCounted: (reason) => count(`sse-client-${reason}`),
    onError: (error) => logger.warn({ error: String(error) }, "the newest window could not be read for live clients"),
  });
  const stores = createStoreHealth({ ...options, clock, logger });
  return {
    name: "api",
    async start() {
      const access = createAccess({ host: options.http.host, tokens: options.tokens });
      const app = await buildApp({ options, access, context, live, stores, state: () => state, count });
      await incidents.start();
      const created = createServer({ headersTimeout: headersTimeoutMs, requestTimeout: bodyTimeoutMs }, app);
      created.maxConnections = connectionsMax;
      try {
        port = await listen(created, options.http);
      } catch (error) {
        await incidents.stop();
        throw error;
      }
      server = created;
      live.start();
      stores.start();
      state = "ready";
      logger.info({ url: urlOf(options.http.host, port) }, "the API listens");
    },
    settle: () => incidents.refresh(),
    async stop() {
      if (state === "stopping") return;
      state = "stopping";
      live.stop();
      stores.stop();
      if (server !== null) await close(server, options.platform);
      await incidents.stop();
    },
    reasons: () => stores.reasons(),
    partitions: () => ({}),
    url: () => urlOf(options.http.host, port),
  };
}

interface AppParts {
  readonly options: ApiOptions;
  readonly access: Access;
  readonly context: ApiContext;
  readonly live: LiveStream;
  readonly stores: StoreHealth;
  readonly state: () => "starting" | "ready" | "stopping";
  readonly count: (reason: string) => void;
}

async function buildApp(parts: AppParts): Promise<Express> {
  const { options, access, context, live } = parts;
  const { metrics } = options.platform;
  if (metrics.registry.getSingleMetric("process_cpu_user_seconds_total") === undefined)
    collectDefaultMetrics({ register: metrics.registry });
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", "simple");
  app.use(observe(options.platform));
  app.use(secureHeaders);
  app.use(sameSite(options.http.host));
  mountHealth(app, { access, metrics, stores: parts.stores, state: parts.state });
  app.get("/api/v1/events", (request, response) => {
    response.locals.route = "events";
    access.require(access.callerOf(request.headers.authorization), "viewer");
    live.join(request, response);
  });
  app.all("/api/v1/events", onlyMethods(["GET"]));
  mountReports(app, { access, context });
  const idempotency = createIdempotencyKeys<ApiAnswer>({ onForgotten: () => parts.count("idempotency-key-forgotten") });
  mountRoutes(app, { access, context, idempotency });
  app.use(await loadStaticPage(options.webDirectory));
  app.use((request: Request) => {
    throw new HeadwaterError("NOT_FOUND", `There is nothing at ${request.path.slice(0, 200)}`);
  });
  app.use(answerErrors(options.platform));
  return app;
}

/** Counts and times every request by route, never by path: paths hold ids. */
function observe(platform: Platform): (request: Request, response: Response, next: NextFunction) => void {
  const requests = platform.metrics.counter("headwater_api_requests_total", "Requests answered", ["route", "status"]);
  const seconds = platform.metrics.histogram(
    "headwater_api_request_duration_seconds",
    "Time to answer a request",
    [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
    ["route"],
  );
  return (_request, response, next) => {
    const beganMs = platform.clock.nowMs();
    response.on("finish", () => {
      const route = String(response.locals.route ?? "other");
      requests.inc({ route, status: String(response.statusCode) });
      if (route !== "events") seconds.observe({ route }, Math.max(0, platform.clock.nowMs() - beganMs) / 1_000);
    });
    next();
  };
}

function answerErrors(platform: Platform) {
  // Express tells error handlers by their four parameters.
  return (thrown: unknown, request: Request, response: Response, _next: NextFunction): void => {
    const error = toApiError(thrown);
    if (error.code === "INTERNAL") {
      platform.logger.error({ path: request.path, error: error.message, stack: stackOf(thrown) }, "a request failed inside Headwater");
    }
    sendProblem(response, error, request.originalUrl.split("?")[0] ?? "/");
    if (thrown instanceof InvariantError) {
      // A programmer error ends the process (design §11), after the client got its answer.
      setImmediate(() => {
        throw thrown;
      });
    }
  };
}

function stackOf(error: unknown): string | undefined {
  return error instanceof Error ? error.stack : undefined;
}

function urlOf(host: string, port: number): string {
  const bare = withoutBrackets(host);
  return `http://${bare.includes(":") ? `[${bare}]` : bare}:${port}`;
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}

/** Resolves to the port that was bound. */
function listen(server: Server, http: Config["api"]): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") {
        reject(new HeadwaterError("PORT_IN_USE", `${http.host}:${http.port} is in use; set "api.port" to another one`, { cause: error }));
        return;
      }
      reject(new HeadwaterError("CONFIG_INVALID", `"api" ${http.host}:${http.port} cannot be bound: ${error.message}`, { cause: error }));
    });
    server.listen({ host: withoutBrackets(http.host), port: http.port }, () => {
      const address = server.address();
      invariant(address !== null && typeof address === "object", "a listening TCP server has an address");
      resolve(address.port);
    });
  });
}

function close(server: Server, platform: Platform): Promise<void> {
  return new Promise((resolve) => {
    const cancel = platform.clock.schedule(stopWithinMs, () => server.closeAllConnections());
    server.close(() => {
      cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}

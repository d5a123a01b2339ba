/** Opens the ports that a process needs, each by its adapter: the URL decides, here and nowhere else. */
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { invariant } from "../contract/invariant.ts";
import type { EventStore, GraphStore, PartitionLog, Presence, Queue, TelemetryStore } from "../contract/port.ts";
import { openMemoryGraphStore } from "../graph/memory/memory-graph-store.ts";
import { openNeo4jGraphStore } from "../graph/neo4j/neo4j-graph-store.ts";
import { lockDataDirectory } from "../store/data-directory.ts";
import { openDuckdbTelemetryStore } from "../store/duckdb/duckdb-telemetry-store.ts";
import { openHttpTelemetryStore } from "../store/http/http-telemetry-store.ts";
import { openTelemetryServer } from "../store/http/telemetry-server.ts";
import { openPostgresEventStore } from "../store/postgres/postgres-event-store.ts";
import { openSqliteEventStore } from "../store/sqlite/sqlite-event-store.ts";
import { openFilePartitionLog } from "./log/file-log.ts";
import { openRedisPartitionLog } from "./log/redis-log.ts";
import type { Platform } from "./platform.ts";
import { openMemoryPresence } from "./presence/memory-presence.ts";
import { openRedisPresence } from "./presence/redis-presence.ts";
import { openBullmqQueue } from "./queue/bullmq-queue.ts";
import { openMemoryQueue } from "./queue/memory-queue.ts";
import { queueMetrics } from "./queue/queue-metrics.ts";
import { isRemote, type PortName, portsOf, type Role } from "./role.ts";

/** By which adapter each port is reached, in words for people. */
export type Engines = Readonly<Record<PortName, string>>;

export interface PortsOptions {
  readonly config: Config;
  readonly platform: Platform;
  readonly roles: readonly Role[];
}

type Cleanups = (() => Promise<void> | void)[];

/** The open ports of a process. One that its roles do not need is not open; asking for it is a programmer error. */
export class Ports {
  readonly engines: Engines;
  readonly presence: Presence;
  readonly #opened: Opened;

  constructor(opened: Opened, presence: Presence, engines: Engines) {
    this.#opened = opened;
    this.presence = presence;
    this.engines = engines;
  }

  get queue(): Queue {
    return theOpen(this.#opened.queue, "queue");
  }

  get log(): PartitionLog {
    return theOpen(this.#opened.log, "log");
  }

  get graph(): GraphStore {
    return theOpen(this.#opened.graph, "graph");
  }

  get telemetry(): TelemetryStore {
    return theOpen(this.#opened.telemetry, "telemetry");
  }

  get events(): EventStore {
    return theOpen(this.#opened.events, "events");
  }

  /** Null where the roles of this process do not need it. */
  get logIfOpen(): PartitionLog | null {
    return this.#opened.log ?? null;
  }
}

interface Opened {
  readonly queue?: Queue;
  readonly log?: PartitionLog;
  readonly graph?: GraphStore;
  readonly telemetry?: TelemetryStore;
  readonly events?: EventStore;
}

function theOpen<T>(port: T | undefined, name: PortName): T {
  invariant(port !== undefined, `the port ${name} is not open in this process: no role of it needs it`);
  return port;
}

/** Opens what the roles need; what was opened is in `cleanups` in the order of opening, also when a later one fails. */
export async function openPorts(options: PortsOptions, cleanups: Cleanups): Promise<Ports> {
  const { config, roles } = options;
  const needed = portsOf(roles);
  const isHere = (port: PortName): boolean => needed.has(port) && !(isRemote(config, port) && !servesTelemetry(port, roles));
  if ([...needed].some(isHere)) cleanups.push(lockDataDirectory(config.dataDirectory));
  const opened = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
    const port = await opening;
    cleanups.push(() => port.close());
    return port;
  };
  const open: { -readonly [P in PortName]?: Opened[P] } = {};
  if (needed.has("events")) open.events = await opened(openEvents(options));
  if (needed.has("telemetry")) open.telemetry = await opened(openTelemetry(options));
  if (needed.has("graph")) open.graph = await opened(openGraph(options));
  if (needed.has("log")) open.log = await opened(openLog(options));
  if (needed.has("queue")) open.queue = await opened(openQueue(options, open.log ?? null));
  const presence = await opened(openPresence(options));
  return new Ports(open, presence, enginesOf(config));
}

/** The process that has the role `store` opens the files itself, whatever `urls.telemetry` tells the others. */
function servesTelemetry(port: PortName, roles: readonly Role[]): boolean {
  return port === "telemetry" && roles.includes("store");
}

/** The role `store` for other processes: the open telemetry store over HTTP. */
export async function serveTelemetry(options: PortsOptions, telemetry: TelemetryStore): Promise<{ url(): string; close(): Promise<void> }> {
  const { host, port, token } = options.config.store;
  return await openTelemetryServer({ host, port, token, store: telemetry, ...common(options, "telemetry-server") });
}

function common({ platform }: PortsOptions, port: string) {
  const bounds = platform.metrics.counter("headwater_bound_events_total", "What happened at a bound or to damaged data, by name", [
    "port",
    "name",
  ]);
  return { clock: platform.clock, onCounted: (name: string, amount: number) => bounds.inc({ port, name }, amount) };
}

function openEvents(options: PortsOptions): Promise<EventStore> {
  const { dataDirectory, urls } = options.config;
  if (urls.events !== null) return openPostgresEventStore({ url: urls.events, ...common(options, "event-store") });
  return openSqliteEventStore({ file: join(dataDirectory, "events.sqlite"), ...common(options, "event-store") });
}

function openTelemetry(options: PortsOptions): Promise<TelemetryStore> {
  const { dataDirectory, urls, tenant, store } = options.config;
  if (urls.telemetry !== null && !options.roles.includes("store")) {
    return openHttpTelemetryStore({ url: urls.telemetry, token: store.token, ...common(options, "telemetry-store") });
  }
  return openDuckdbTelemetryStore({ directory: join(dataDirectory, "telemetry"), tenant, ...common(options, "telemetry-store") });
}

function openGraph(options: PortsOptions): Promise<GraphStore> {
  const { dataDirectory, urls, redis } = options.config;
  if (urls.graph !== null) return openNeo4jGraphStore({ url: urls.graph, namespace: redis.prefix, ...common(options, "graph-store") });
  return openMemoryGraphStore({ directory: join(dataDirectory, "graph"), ...common(options, "graph-store") });
}

function openLog(options: PortsOptions): Promise<PartitionLog> {
  const { dataDirectory, urls, redis } = options.config;
  if (urls.queue !== null) return openRedisPartitionLog({ url: urls.queue, prefix: redis.prefix, ...common(options, "partition-log") });
  return openFilePartitionLog({ directory: join(dataDirectory, "log"), ...common(options, "partition-log") });
}

async function openQueue(options: PortsOptions, log: PartitionLog | null): Promise<Queue> {
  const { dataDirectory, urls, redis } = options.config;
  const reduced = log === null ? {} : { reduced: (ids: readonly string[]) => log.reduced(ids) };
  const queue =
    urls.queue === null
      ? await openMemoryQueue({ directory: join(dataDirectory, "queue"), ...common(options, "queue") })
      : await openBullmqQueue({ url: urls.queue, prefix: redis.prefix, ...reduced, ...common(options, "queue") });
  queueMetrics(queue, options.platform.metrics);
  return queue;
}

async function openPresence(options: PortsOptions): Promise<Presence> {
  const { urls, redis } = options.config;
  if (urls.queue === null) return openMemoryPresence(common(options, "presence"));
  return await openRedisPresence({ url: urls.queue, prefix: redis.prefix, ...common(options, "presence") });
}

function enginesOf({ urls }: Config): Engines {
  return {
    queue: urls.queue === null ? "memory with a journal" : "BullMQ on Redis",
    log: urls.queue === null ? "files" : "Redis Streams",
    graph: urls.graph === null ? "memory, kept on disk" : "Neo4j",
    events: urls.events === null ? "SQLite" : "PostgreSQL",
    telemetry: urls.telemetry === null ? "DuckDB" : "DuckDB behind the role store",
  };
}

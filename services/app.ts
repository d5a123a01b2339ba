/**
 * Wiring, start and stop of one process. Tests, the demo and the drill embed it; `headwater start` runs it.
 * Start order is list order; stop is the reverse; a start that fails gives back what it had taken.
 */
import { join } from "node:path";
import type { Config } from "../config/config.ts";
import { HeadwaterError } from "../contract/error.ts";
import type { EventStore, GraphStore, PartitionLog, Queue, TelemetryStore } from "../contract/port.ts";
import { openMemoryGraphStore } from "../graph/memory/memory-graph-store.ts";
import { lockDataDirectory } from "../store/data-directory.ts";
import { openDuckdbTelemetryStore } from "../store/duckdb/duckdb-telemetry-store.ts";
import { openSqliteEventStore } from "../store/sqlite/sqlite-event-store.ts";
import type { Api } from "./api/api.ts";
import type { Gateway } from "./gateway/gateway.ts";
import type { RecordedBody } from "./gateway/gateway-message.ts";
import { openFilePartitionLog } from "./log/file-log.ts";
import { buildPipeline, type Pipeline } from "./pipeline.ts";
import type { Platform } from "./platform.ts";
import { openMemoryQueue } from "./queue/memory-queue.ts";
import type { Addresses } from "./ranking/blind-spots.ts";

export interface Ports {
  readonly queue: Queue;
  readonly log: PartitionLog;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly events: EventStore;
}

export interface AppOptions {
  readonly config: Config;
  readonly platform: Platform;
  /** Names the batches that this process accepts; a replay fixes it. */
  readonly gatewayId: string;
  /** Directory of the built page, or null to serve the API alone. */
  readonly webDirectory: string | null;
  /** What the commands in verdicts name; where gateway and API are reached, unless told. A replay fixes it: ports bound differ from run to run. */
  readonly addresses?: Addresses;
  /** Told of every accepted body; how recordings are made. */
  readonly onRecorded?: (body: RecordedBody) => void;
}

/** One process of Headwater, embedded: every port in the data directory, every stage in this process. */
export class App {
  readonly ports: Ports;
  readonly #pipeline: Pipeline;
  readonly #cleanups: (() => Promise<void> | void)[];

  private constructor(ports: Ports, pipeline: Pipeline, cleanups: (() => Promise<void> | void)[]) {
    this.ports = ports;
    this.#pipeline = pipeline;
    this.#cleanups = cleanups;
  }

  /** Opens the ports and starts every stage. Throws the HeadwaterError of the first thing that cannot. */
  static async start(options: AppOptions): Promise<App> {
    const cleanups: (() => Promise<void> | void)[] = [];
    try {
      const ports = await openPorts(options, cleanups);
      const pipeline = buildPipeline({ ...options, ports });
      for (const stage of pipeline.stages) {
        await stage.start();
        cleanups.push(() => stage.stop());
      }
      return new App(ports, pipeline, cleanups);
    } catch (error) {
      await runAll(cleanups);
      throw error;
    }
  }

  get gateway(): Gateway {
    return this.#pipeline.gateway;
  }

  get api(): Api {
    return this.#pipeline.api;
  }

  /** Resolves when everything accepted so far has gone through every stage. */
  async settle(): Promise<void> {
    await this.#pipeline.settle();
  }

  /** Resolves when everything accepted so far is in the ordered logs. */
  async flush(): Promise<void> {
    await this.#pipeline.flush();
  }

  /** Stops the stages, drains what is begun and closes every port. Idempotent. */
  async stop(): Promise<void> {
    await runAll(this.#cleanups);
  }
}

async function runAll(cleanups: (() => Promise<void> | void)[]): Promise<void> {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
}

async function openPorts(options: AppOptions, cleanups: (() => Promise<void> | void)[]): Promise<Ports> {
  const { config, platform } = options;
  refuseServers(config);
  const directory = config.dataDirectory;
  cleanups.push(lockDataDirectory(directory));
  const bounds = platform.metrics.counter("headwater_bound_events_total", "What happened at a bound or to damaged data, by name", [
    "port",
    "name",
  ]);
  const common = (port: string) => ({
    clock: platform.clock,
    onCounted: (name: string, amount: number) => bounds.inc({ port, name }, amount),
  });
  const opened = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
    const port = await opening;
    cleanups.push(() => port.close());
    return port;
  };
  const events = await opened(openSqliteEventStore({ file: join(directory, "events.sqlite"), ...common("event-store") }));
  const telemetry = await opened(
    openDuckdbTelemetryStore({ directory: join(directory, "telemetry"), tenant: config.tenant, ...common("telemetry-store") }),
  );
  const graph = await opened(openMemoryGraphStore({ directory: join(directory, "graph"), ...common("graph-store") }));
  const log = await opened(openFilePartitionLog({ directory: join(directory, "log"), ...common("partition-log") }));
  const queue = await opened(openMemoryQueue({ directory: join(directory, "queue"), ...common("queue") }));
  return { queue, log, graph, telemetry, events };
}

/** The distributed adapters come with issue 4; until then a URL is refused rather than ignored. */
function refuseServers(config: Config): void {
  for (const [key, url] of Object.entries(config.urls)) {
    if (url !== null) throw new HeadwaterError("CONFIG_INVALID", `urls.${key} is set, but this version runs embedded only; leave it null`);
  }
}

/**
 * Wiring, start and stop of one process. Tests, the demo and the drill embed it; `headwater start` runs it.
 * Start order is list order; stop is the reverse; a start that fails gives back what it had taken.
 */
import { hostname } from "node:os";
import type { Config } from "../config/config.ts";
import { invariant } from "../contract/invariant.ts";
import type { ProcessStatus } from "../contract/port.ts";
import type { Api } from "./api/api.ts";
import type { Gateway } from "./gateway/gateway.ts";
import type { RecordedBody } from "./gateway/gateway-message.ts";
import { buildPipeline, type Pipeline } from "./pipeline.ts";
import type { Platform } from "./platform.ts";
import { openPorts, type Ports, serveTelemetry } from "./ports.ts";
import { createAnnouncer } from "./presence/announcer.ts";
import { startRetention } from "./retention.ts";
import { allRoles, type Role, refuseUnshared } from "./role.ts";
import { productVersion } from "./version.ts";

export interface AppOptions {
  readonly config: Config;
  readonly platform: Platform;
  /** Names the batches that this process accepts, and the process itself; a replay fixes it. */
  readonly gatewayId: string;
  /** Directory of the built page, or null to serve the API alone. */
  readonly webDirectory: string | null;
  /** All unless told. */
  readonly roles?: readonly Role[];
  /** What else is not as it should be and belongs to this process, as sentences: the agent that it runs. */
  readonly otherReasons?: () => readonly string[];
  /** Told of every accepted body; how recordings are made. */
  readonly onRecorded?: (body: RecordedBody) => void;
}

type Cleanups = (() => Promise<void> | void)[];

/** One process of Headwater: all of the flow, or some roles of it. */
export class App {
  readonly ports: Ports;
  readonly #pipeline: Pipeline;
  readonly #storeUrl: string | null;
  readonly #cleanups: Cleanups;

  private constructor(parts: { ports: Ports; pipeline: Pipeline; storeUrl: string | null; cleanups: Cleanups }) {
    this.ports = parts.ports;
    this.#pipeline = parts.pipeline;
    this.#storeUrl = parts.storeUrl;
    this.#cleanups = parts.cleanups;
  }

  /** Opens the ports and starts every stage. Throws the HeadwaterError of the first thing that cannot. */
  static async start(options: AppOptions): Promise<App> {
    const { config, platform, roles = allRoles } = options;
    refuseUnshared(config, roles);
    const cleanups: Cleanups = [];
    const startedAtMs = platform.clock.nowMs();
    let state: ProcessStatus["state"] = "starting";
    try {
      const ports = await openPorts({ config, platform, roles }, cleanups);
      const pipeline = buildPipeline({ ...options, ports, roles });
      const announcer = createAnnouncer({
        presence: ports.presence,
        clock: platform.clock,
        status: () => statusOf({ options, pipeline, startedAtMs, state }),
        onError: (error) => platform.logger.warn({ code: error.code, reason: error.message }, "this process cannot announce itself"),
        onRecovered: (outage) => platform.logger.info(outage, "this process announces itself again"),
      });
      await announcer.start();
      cleanups.push(() => announcer.stop());
      // Whoever opens the files keeps them within their retention.
      if (roles.includes("store")) cleanups.push(startRetention(ports.telemetry, platform));
      const storeUrl = await serve({ config, platform, roles }, { ports, cleanups });
      for (const stage of pipeline.stages) {
        await stage.start();
        cleanups.push(() => stage.stop());
      }
      state = "ready";
      cleanups.push(() => {
        state = "stopping";
      });
      return new App({ ports, pipeline, storeUrl, cleanups });
    } catch (error) {
      await runAll(cleanups);
      throw error;
    }
  }

  get gateway(): Gateway {
    const { gateway } = this.#pipeline;
    invariant(gateway !== null, "this process has not the role gateway");
    return gateway;
  }

  get api(): Api {
    const { api } = this.#pipeline;
    invariant(api !== null, "this process has not the role api");
    return api;
  }

  /** Where people and programs reach this process, by what for. */
  get addresses(): Readonly<Record<"api" | "gateway" | "store", string | null>> {
    const { api, gateway } = this.#pipeline;
    return { api: api?.url() ?? null, gateway: gateway?.url() ?? null, store: this.#storeUrl };
  }

  /** Why not all is well, as sentences; empty when it is. */
  reasons(): readonly string[] {
    return this.#pipeline.stages.flatMap((stage) => stage.reasons());
  }

  /** Resolves when everything accepted so far has gone through every stage of this process. */
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

/** With the role `store` beside others missing, the telemetry files are served to the other processes. */
async function serve(
  options: { config: Config; platform: Platform; roles: readonly Role[] },
  parts: { ports: Ports; cleanups: Cleanups },
): Promise<string | null> {
  const { roles, config } = options;
  if (!roles.includes("store") || (roles.length === allRoles.length && config.urls.telemetry === null)) return null;
  const server = await serveTelemetry(options, parts.ports.telemetry);
  parts.cleanups.push(() => server.close());
  return server.url();
}

function statusOf(from: { options: AppOptions; pipeline: Pipeline; startedAtMs: number; state: ProcessStatus["state"] }): ProcessStatus {
  const { options, pipeline, startedAtMs, state } = from;
  const reasons = pipeline.stages.flatMap((stage) => stage.reasons());
  return {
    id: options.gatewayId,
    roles: options.roles ?? allRoles,
    host: hostname(),
    pid: process.pid,
    version: productVersion,
    startedAtMs,
    state: state === "ready" && reasons.length > 0 ? "waiting" : state,
    reasons: [...reasons, ...(options.otherReasons?.() ?? [])].slice(0, 20),
    partitions: Object.assign({}, ...pipeline.stages.map((stage) => stage.partitions())),
    lostBatches: pipeline.stages.flatMap((stage) => stage.lostBatches?.() ?? []),
  };
}

async function runAll(cleanups: Cleanups): Promise<void> {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
}

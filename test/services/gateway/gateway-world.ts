/** A listening gateway on the real queue, and what it published. */
import { afterEach } from "vitest";
import type { Change } from "../../../contract/change.ts";
import type { Queue } from "../../../contract/port.ts";
import type { TelemetryBatch } from "../../../contract/telemetry.ts";
import { createGateway, type Gateway, type GatewayOptions } from "../../../services/gateway/gateway.ts";
import { createLogger, createMetrics, type Platform, SystemClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import { temporaryFolder } from "../../conformance/temporary.ts";

export interface GatewayWorld {
  readonly gateway: Gateway;
  readonly queue: Queue;
  readonly platform: Platform;
  readonly batches: TelemetryBatch[];
  readonly changes: Change[];
  readonly recorded: { path: string; contentType: string; body: Uint8Array }[];
  post(path: string, body: Uint8Array<ArrayBuffer> | string, headers: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
  readonly text: string;
}

interface WorldOptions {
  readonly tokens?: GatewayOptions["tokens"];
  readonly http?: Partial<GatewayOptions["http"]>;
  readonly gatewayId?: string;
  readonly idleMs?: number;
  /** `no` leaves what is published in the queue. */
  readonly read?: "yes" | "no";
  /** Stands between the gateway and the queue, to make publishing fail. */
  readonly wrap?: (queue: Queue) => Queue;
}

export async function gatewayWorld(options: WorldOptions = {}): Promise<GatewayWorld> {
  const folder = await temporaryFolder();
  const platform: Platform = { clock: new SystemClock(), logger: createLogger("silent"), metrics: createMetrics(), random: () => 0.5 };
  const queue = await openMemoryQueue({ directory: folder.path, clock: platform.clock, onCounted: () => undefined });
  const batches: TelemetryBatch[] = [];
  const changes: Change[] = [];
  const recorded: GatewayWorld["recorded"] = [];
  if (options.read !== "no") {
    await queue.subscribe("telemetry", "ingest", async (batch) => void batches.push(batch), { concurrency: 1 });
    await queue.subscribe("change", "incident", async (change) => void changes.push(change), { concurrency: 1 });
  }
  const gateway = createGateway({
    idleMs: options.idleMs ?? 60_000,
    platform,
    queue: options.wrap?.(queue) ?? queue,
    tenant: "default",
    gatewayId: options.gatewayId ?? "gw",
    http: { host: "127.0.0.1", port: 0, bodyBytesMax: 1_000_000, bodyTimeoutMs: 10_000, ...options.http },
    tokens: options.tokens ?? [],
    onRecorded: (body) => recorded.push(body),
  });
  const close = async (): Promise<void> => {
    await gateway.stop();
    await queue.close();
    await folder.remove();
  };
  try {
    await gateway.start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    gateway,
    queue,
    platform,
    batches,
    changes,
    recorded,
    async post(path, body, headers) {
      const response = await fetch(gateway.url() + path, { method: "POST", body, headers });
      const bytes = new Uint8Array(await response.arrayBuffer());
      return { status: response.status, headers: response.headers, bytes, text: new TextDecoder().decode(bytes) };
    },
    close,
  };
}

export const protobuf = { "content-type": "application/x-protobuf" };
export const json = { "content-type": "application/json" };

/** Opens gateway worlds for the tests of a file, and closes them after each. */
export function useGatewayWorlds(): (options?: WorldOptions) => Promise<GatewayWorld> {
  const worlds: GatewayWorld[] = [];
  afterEach(async () => {
    for (const world of worlds.splice(0)) await world.close();
  });
  return async (options) => {
    const world = await gatewayWorld(options);
    worlds.push(world);
    return world;
  };
}

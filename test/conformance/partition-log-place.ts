/** A Redis of the test file's own, and logs and processes on it that are closed and forgotten after each test. */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll } from "vitest";
import type { Clock, PartitionLog, PartitionOwner } from "../../contract/port.ts";
import { openRedisPartitionLog } from "../../services/log/redis-log.ts";
import { SystemClock } from "../../services/platform.ts";
import { redisKeys } from "../../services/redis/redis-keys.ts";
import { LogProcess } from "./partition-log-child.ts";
import { type RestartableRedis, startRestartableRedis } from "./restartable-redis.ts";
import { aWindowEntry } from "./sample-messages.ts";
import { Counts } from "./temporary.ts";

export const all = { entriesMax: 1_000_000, waitMs: 0 };
export const keys = redisKeys("log");
export const systemClock = new SystemClock();

export function windowEntry(partition: number, source: string) {
  return { topic: "window" as const, partition, value: aWindowEntry(source) };
}

export function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, n) => `${from + n}`);
}

/** Of the entries after the owner's checkpoint. */
export async function sources(owner: PartitionOwner<"window">): Promise<string[]> {
  return (await owner.read(owner.checkpoint.offset, all)).map((entry) => entry.value.progress[0]?.source ?? "");
}

export function stateOf(owner: PartitionOwner<"window">): string {
  return new TextDecoder().decode(owner.checkpoint.chunks.get("state"));
}

interface OpenOptions {
  readonly url?: string;
  readonly memberId?: string;
  readonly leaseMs?: number;
  readonly renewMs?: number;
  readonly clock?: Clock;
  readonly prefix?: string;
  readonly marksMax?: number;
}

export class RedisLogs {
  readonly redis: RestartableRedis;
  readonly client: Redis;
  counts = new Counts();
  #opened: PartitionLog[] = [];
  #processes: LogProcess[] = [];

  private constructor(redis: RestartableRedis) {
    this.redis = redis;
    this.client = new Redis(redis.url);
    this.client.on("error", () => undefined);
  }

  static async start(): Promise<RedisLogs> {
    return new RedisLogs(await startRestartableRedis());
  }

  async open(options: OpenOptions = {}): Promise<PartitionLog> {
    const base = { url: this.redis.url, prefix: "log", clock: systemClock, onCounted: this.counts.onCounted };
    const log = await openRedisPartitionLog({ ...base, ...options });
    this.#opened.push(log);
    return log;
  }

  /** A process of its own. */
  async startProcess(memberId: string, lease: { leaseMs: number; renewMs: number }): Promise<LogProcess> {
    const started = await LogProcess.start({ url: this.redis.url, prefix: "log", memberId, ...lease });
    this.#processes.push(started);
    return started;
  }

  async forget(): Promise<void> {
    await Promise.all(this.#processes.splice(0).map((process) => process.kill()));
    await Promise.all(this.#opened.splice(0).map((log) => log.close()));
    await this.client.flushall();
    this.counts = new Counts();
  }

  async stop(): Promise<void> {
    this.client.disconnect();
    await this.redis.stop();
  }
}

/** Call at the top of a `describe`; the answer holds what there is while a test runs. */
export function useRedisLogs(): { readonly logs: RedisLogs } {
  let logs: RedisLogs | null = null;
  beforeAll(async () => {
    logs = await RedisLogs.start();
  });
  afterEach(async () => {
    await logs?.forget();
  });
  afterAll(async () => {
    await logs?.stop();
  });
  return {
    get logs() {
      if (logs === null) throw new Error("there is a Redis only while a test runs");
      return logs;
    },
  };
}

/**
 * Real servers for tests and for people: Redis and PostgreSQL on free loopback ports, their data in a temporary folder.
 * As a program (`npx tsx scripts/servers.ts [--redis] [--postgres]`, none = both) it prints one JSON line with their URLs and runs until Ctrl-C.
 */
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { HeadwaterError } from "../contract/error.ts";
import type { RunningServer } from "../lab/guarded-server.ts";
import { LabError } from "../lab/lab-error.ts";
import * as lab from "../lab/servers.ts";

/** Starts Redis, which writes nothing to disk unless `arguments` say so. Throws LAB_FAILED naming what is missing. */
export function startRedis(options: lab.RedisOptions = {}): Promise<RunningServer> {
  return orHeadwaterError(lab.startRedis(options));
}

/** Starts PostgreSQL, every local user trusted, not durable. Throws LAB_FAILED naming what is missing. */
export function startPostgres(options: lab.PostgresOptions = {}): Promise<lab.RunningPostgres> {
  return orHeadwaterError(lab.startPostgres(options));
}

/** What `startServers` was asked for; null where it was not. */
export interface Servers {
  readonly redis: RunningServer | null;
  readonly postgres: lab.RunningPostgres | null;
  /** Ends both. Idempotent. */
  stop(): Promise<void>;
}

/** Starts what is asked for, side by side; when one fails the other is ended again. Throws LAB_FAILED. */
export async function startServers(wanted: { redis?: lab.RedisOptions; postgres?: lab.PostgresOptions }): Promise<Servers> {
  const results = await Promise.allSettled([
    wanted.redis === undefined ? null : startRedis(wanted.redis),
    wanted.postgres === undefined ? null : startPostgres(wanted.postgres),
  ]);
  const stop = async (): Promise<void> => {
    await Promise.all(results.map((result) => (result.status === "fulfilled" ? result.value?.stop() : undefined)));
  };
  const [redis, postgres] = results;
  if (redis.status === "fulfilled" && postgres.status === "fulfilled") return { redis: redis.value, postgres: postgres.value, stop };
  await stop();
  throw redis.status === "rejected" ? redis.reason : (postgres as PromiseRejectedResult).reason;
}

async function orHeadwaterError<T>(start: Promise<T>): Promise<T> {
  try {
    return await start;
  } catch (error) {
    if (error instanceof LabError) throw new HeadwaterError(error.code, error.message, { cause: error });
    throw error;
  }
}

async function main(): Promise<void> {
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({ options: { redis: flag, postgres: flag } });
  const both = !values.redis && !values.postgres;
  const servers = await startServers({
    ...(values.redis || both ? { redis: {} } : {}),
    ...(values.postgres || both ? { postgres: {} } : {}),
  });
  process.stdout.write(`${JSON.stringify({ redis: servers.redis?.url ?? null, postgres: servers.postgres?.url ?? null })}\n`);
  await new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
  await servers.stop();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}

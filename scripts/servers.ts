/**
 * Real servers for tests and for people: Redis, Neo4j and PostgreSQL on free loopback ports, their data in a temporary folder.
 * As a program (`npm run servers -- [--redis] [--neo4j] [--postgres] [--json] [--while-input]`, none of the three = all) it prints where they are, as the
 * `urls` of a configuration or as one line of JSON, and runs until Ctrl-C. Exit code 3: one of them is not installed.
 */
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { HeadwaterError } from "../contract/error.ts";
import type { RunningServer } from "../lab/guarded-server.ts";
import { LabError } from "../lab/lab-error.ts";
import { findNeo4j, neo4jRemedy } from "../lab/neo4j-jars.ts";
import * as neo4j from "../lab/neo4j-server.ts";
import * as lab from "../lab/servers.ts";

/** Starts Redis, which writes nothing to disk unless `arguments` say so. Throws LAB_FAILED naming what is missing. */
export function startRedis(options: lab.RedisOptions = {}): Promise<RunningServer> {
  return orHeadwaterError(lab.startRedis(options));
}

/** Starts PostgreSQL, every local user trusted, not durable. Throws LAB_FAILED naming what is missing. */
export function startPostgres(options: lab.PostgresOptions = {}): Promise<lab.RunningPostgres> {
  return orHeadwaterError(lab.startPostgres(options));
}

/** Starts Neo4j, nobody asked who they are unless a password is given. Throws LAB_FAILED naming what is missing. */
export function startNeo4j(options: neo4j.Neo4jOptions = {}): Promise<RunningServer> {
  return orHeadwaterError(neo4j.startNeo4j(options));
}

/** What `startServers` was asked for; null where it was not. */
export interface Servers {
  readonly redis: RunningServer | null;
  readonly neo4j: RunningServer | null;
  readonly postgres: lab.RunningPostgres | null;
  /** Ends all. Idempotent. */
  stop(): Promise<void>;
}

export interface WantedServers {
  readonly redis?: lab.RedisOptions;
  readonly neo4j?: neo4j.Neo4jOptions;
  readonly postgres?: lab.PostgresOptions;
}

/** Starts what is asked for, side by side; when one fails the others are ended again. Throws LAB_FAILED. */
export async function startServers(wanted: WantedServers): Promise<Servers> {
  const results = await Promise.allSettled([
    wanted.redis === undefined ? null : startRedis(wanted.redis),
    wanted.neo4j === undefined ? null : startNeo4j(wanted.neo4j),
    wanted.postgres === undefined ? null : startPostgres(wanted.postgres),
  ]);
  const stop = async (): Promise<void> => {
    await Promise.all(results.map((result) => (result.status === "fulfilled" ? result.value?.stop() : undefined)));
  };
  const [redis, graph, postgres] = results;
  if (redis.status === "fulfilled" && graph.status === "fulfilled" && postgres.status === "fulfilled") {
    return { redis: redis.value, neo4j: graph.value, postgres: postgres.value, stop };
  }
  await stop();
  throw (results.find((result) => result.status === "rejected") as PromiseRejectedResult).reason;
}

async function orHeadwaterError<T>(start: Promise<T>): Promise<T> {
  try {
    return await start;
  } catch (error) {
    if (error instanceof LabError) throw new HeadwaterError(error.code, error.message, { cause: error });
    throw error;
  }
}

/** Of a server for people and demos: nothing acknowledged is lost when it is killed, but up to a second of Redis. */
const kept: Required<WantedServers> = {
  redis: { arguments: ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"] },
  neo4j: {},
  postgres: { settings: { synchronous_commit: "on" } },
};

/** One sentence for each server that cannot be started here: what is missing, and how to install it. */
function missingServers(names: readonly (keyof WantedServers)[]): string[] {
  const reasons: Record<keyof WantedServers, () => string | null> = {
    redis: () => (lab.findRedis() === null ? "there is no redis-server on the PATH (Debian: apt-get install redis-server)" : null),
    neo4j: () => (findNeo4j() === null ? neo4jRemedy : null),
    postgres: () => (lab.postgresMissing() === null ? null : `${lab.postgresMissing()} (Debian: apt-get install postgresql)`),
  };
  return names.flatMap((name) => {
    const reason = reasons[name]();
    return reason === null ? [] : [`${titles[name]} is missing: ${reason}`];
  });
}

const titles: Record<keyof WantedServers, string> = { redis: "Redis", neo4j: "Neo4j", postgres: "PostgreSQL" };

function urlsText(urls: Record<keyof WantedServers, string | null>): string {
  const lines = [
    ["queue", urls.redis],
    ["graph", urls.neo4j],
    ["events", urls.postgres],
  ].flatMap(([name, url]) => (url === null ? [] : [`  ${name}: ${url}\n`]));
  return `urls:\n${lines.join("")}`;
}

/** 0 when it was told to end, 3 when a server is missing. */
async function main(): Promise<number> {
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({ options: { redis: flag, neo4j: flag, postgres: flag, json: flag, "while-input": flag } });
  const all = ["redis", "neo4j", "postgres"] as const;
  const asked = all.filter((name) => values[name]);
  const names = asked.length === 0 ? all : asked;
  const missing = missingServers(names);
  for (const sentence of missing) process.stderr.write(`${sentence}\n`);
  if (missing.length > 0) return 3;
  // Told to end while they start, they are ended as soon as they have: each may be half there.
  const told = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
    // A parent that dies of SIGKILL can send no signal, but its end of the pipe closes.
    if (values["while-input"]) process.stdin.once("end", resolve).resume();
  });
  const servers = await startServers(Object.fromEntries(names.map((name) => [name, kept[name]])));
  const urls = { redis: servers.redis?.url ?? null, neo4j: servers.neo4j?.url ?? null, postgres: servers.postgres?.url ?? null };
  process.stdout.write(values.json ? `${JSON.stringify(urls)}\n` : urlsText(urls));
  if (!values.json) process.stderr.write("Servers run until Ctrl-C; then their data are removed.\n");
  await told;
  await servers.stop();
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main().then(
    (exitCode) => {
      process.exitCode = exitCode;
    },
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = 1;
    },
  );
}

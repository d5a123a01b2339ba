/** Starts real servers on free loopback ports, with their data in a temporary folder: for the lab, the demo and the tests. */
import { spawn } from "node:child_process";
import { accessSync, appendFileSync, constants, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { embeddedPostgresFolder } from "./embedded-postgres.ts";
import {
  type Account,
  dataFolder,
  freePort,
  type GuardedOptions,
  type RunningServer,
  startGuarded,
  unprivilegedAccount,
} from "./guarded-server.ts";
import { LabError, textOf } from "./lab-error.ts";
import { type RestartableServer, startRestartable } from "./restartable-server.ts";

const readyWaitMs = 60_000;
const initWaitMs = 60_000;
/** A port that was free may be taken before the server has it. */
const attemptsMax = 3;
const debianFolder = "/usr/lib/postgresql";

export interface RedisOptions {
  /** Further arguments of `redis-server`, e.g. `["--appendonly", "yes"]`; without them nothing is written to disk. */
  readonly arguments?: readonly string[];
}

export interface PostgresOptions {
  /** `installed`: Debian's; `embedded`: of the npm package; by default the first of the two that is there. */
  readonly source?: "installed" | "embedded";
  readonly connectionsMax?: number;
  /** Further settings, e.g. `{ synchronous_commit: "off" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A running PostgreSQL and where its binaries came from. */
export interface RunningPostgres extends RunningServer {
  readonly source: "installed" | "embedded";
}

/** The path of `redis-server`, or null. */
export function findRedis(): string | null {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, "redis-server")).find(isExecutable) ?? null;
}

/** Starts Redis. Throws LAB_FAILED where `redis-server` is not on the PATH or does not start. */
export async function startRedis(options: RedisOptions = {}): Promise<RunningServer> {
  const file = findRedis();
  if (file === null) throw new LabError("Redis is missing: there is no redis-server on the PATH (Debian: apt-get install redis-server)");
  return attempt(async () => {
    const port = await freePort();
    const folder = dataFolder("redis", null);
    const fixed = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
    return startGuarded({
      name: "Redis",
      file,
      arguments: [...fixed, ...(options.arguments ?? ["--appendonly", "no"])],
      folder,
      account: null,
      isReady: () => answersPing(port),
      readyWaitMs,
      url: `redis://127.0.0.1:${port}`,
    });
  });
}

/** Starts PostgreSQL without durability, every local user trusted. Throws LAB_FAILED naming what is missing or what it said. */
export async function startPostgres(options: PostgresOptions = {}): Promise<RunningPostgres> {
  const { bin, account, source } = findPostgres(options);
  const settings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", ...options.settings };
  const { connectionsMax = 150 } = options;
  return { ...(await attempt(async () => startGuarded(await cluster({ bin, account, connectionsMax, settings })))), source };
}

/** Starts PostgreSQL as it comes, with every commit synced to the disk; it can be killed and started again on the same data and port. */
export async function startDurablePostgres(options: PostgresOptions = {}): Promise<RestartableServer> {
  const { bin, account } = findPostgres(options);
  const { connectionsMax = 150, settings = {} } = options;
  return await attempt(async () => startRestartable(await cluster({ bin, account, connectionsMax, settings })));
}

/** Why there is no PostgreSQL to be started, in one sentence; null where there is one. */
export function postgresMissing(): string | null {
  try {
    findPostgres({});
    return null;
  } catch (error) {
    return textOf(error);
  }
}

function findPostgres({ source }: PostgresOptions): { bin: string; account: Account | null; source: RunningPostgres["source"] } {
  const account = unprivilegedAccount();
  const installed = source === "embedded" ? null : findInstalledPostgres();
  if (source === "installed" && installed === null) throw new LabError(`PostgreSQL is missing: nothing in ${debianFolder}`);
  if (installed !== null) return { bin: installed, account, source: "installed" };
  return { bin: embeddedPostgresFolder(account), account, source: "embedded" };
}

/** The newest of Debian's versions that has both programs, or null. */
function findInstalledPostgres(): string | null {
  let versions: string[];
  try {
    versions = readdirSync(debianFolder);
  } catch {
    return null;
  }
  const newestFirst = versions.sort((left, right) => Number.parseFloat(right) - Number.parseFloat(left));
  const folders = newestFirst.map((version) => join(debianFolder, version, "bin"));
  return folders.find((folder) => isExecutable(join(folder, "initdb")) && isExecutable(join(folder, "postgres"))) ?? null;
}

// PostgreSQL 18 has libraries beside its programs; LC_ALL, since a locale of ours may not exist for it.
const environment = { LC_ALL: "C", TZ: "UTC" };

interface ClusterOptions {
  readonly bin: string;
  readonly account: Account | null;
  readonly connectionsMax: number;
  readonly settings: Readonly<Record<string, string>>;
}

/** Makes a fresh cluster; answers how to start it. */
async function cluster(options: ClusterOptions): Promise<GuardedOptions & { readonly folder: string }> {
  const port = await freePort();
  const folder = dataFolder("postgres", options.account);
  const data = join(folder, "data");
  try {
    await initialise({ ...options, data });
    // The services of a shop come from addresses of their own, and initdb trusts 127.0.0.1 alone.
    appendFileSync(join(data, "pg_hba.conf"), "host all all 127.0.0.0/8 trust\n");
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: String(options.connectionsMax),
    shared_buffers: "16MB",
    autovacuum: "off",
    logging_collector: "off",
    log_min_messages: "fatal",
    ...options.settings,
  };
  return {
    name: "PostgreSQL",
    file: join(options.bin, "postgres"),
    arguments: ["-D", data, "-p", String(port), ...Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`])],
    folder,
    account: options.account,
    environment,
    isReady: () => answersStartup(port),
    readyWaitMs,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
  };
}

function initialise(options: { bin: string; account: Account | null; data: string }): Promise<void> {
  const flags = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"];
  return new Promise((resolve, reject) => {
    const child = spawn(join(options.bin, "initdb"), ["-D", options.data, ...flags], {
      cwd: "/",
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ...environment },
      timeout: initWaitMs,
      killSignal: "SIGKILL",
      ...(options.account ?? {}),
    });
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-1_000);
    });
    child.on("error", (error) => reject(new LabError(`initdb: ${error.message}`)));
    child.on("close", (code) => (code === 0 ? resolve() : reject(new LabError(`initdb ended with ${code}: ${said.trim()}`))));
  });
}

/** Starts again when another had taken the port that was free. */
export async function attempt<T>(start: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count += 1) {
    try {
      return await start();
    } catch (error) {
      const portTaken = /in use/i.test(textOf(error));
      if (!portTaken || count >= attemptsMax) throw error;
    }
  }
}

/** Whether it is a program that this account may run. */
export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether what listens on a port answers `question` with something that begins with one of these. */
export function answers(port: number, options: { question: string | Buffer; expected: string }): Promise<boolean> {
  const waitMs = 500;
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const finish = (ready: boolean): void => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(waitMs, () => finish(false));
    socket.on("error", () => finish(false));
    socket.on("close", () => finish(false));
    socket.on("connect", () => socket.write(options.question));
    socket.on("data", (chunk: Buffer) => finish(chunk.toString("latin1").startsWith(options.expected)));
  });
}

function answersPing(port: number): Promise<boolean> {
  return answers(port, { question: "PING\r\n", expected: "+PONG" });
}

/** A start-up message for the user `postgres`; `R` is the answer of a server that takes connections (an `E` says: starting up). */
function answersStartup(port: number): Promise<boolean> {
  const parameters = Buffer.from("user\0postgres\0database\0postgres\0\0");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + parameters.length, 0);
  head.writeInt32BE(196_608, 4);
  return answers(port, { question: Buffer.concat([head, parameters]), expected: "R" });
}

/** Starts a real Neo4j on a free loopback port, small and soon ready. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dataFolder, freePort, type GuardedOptions, type RunningServer, startGuarded } from "./guarded-server.ts";
import { LabError } from "./lab-error.ts";
import { findNeo4j, type Neo4jInstallation, neo4jRemedy } from "./neo4j-jars.ts";
import { type RestartableServer, startRestartable } from "./restartable-server.ts";
import { answers, attempt } from "./servers.ts";

const readyWaitMs = 120_000;
const passwordWaitMs = 120_000;
/** A store that was not closed in order cannot be dumped, and a busy machine takes its time for it. */
const stopWaitMs = 30_000;
/** Writing the archive of classes happens while it ends. */
const archiveWaitMs = 120_000;

export interface Neo4jOptions {
  /** Of the user `neo4j`; it is in the answered URL. Without one nobody has to say who they are. */
  readonly password?: string;
  /** Of the heap, in MiB; 512 unless told. */
  readonly heapMebibytesMax?: number;
}

/** Starts Neo4j. Throws LAB_FAILED where Java or the jars are missing, or when it does not start. */
export async function startNeo4j(options: Neo4jOptions = {}): Promise<RunningServer> {
  const installed = installation();
  return await attempt(async () => startGuarded(await server(installed, options)));
}

/** Starts Neo4j so that it can be killed and started again on the same data and port. Throws LAB_FAILED. */
export async function startRestartableNeo4j(options: Neo4jOptions = {}): Promise<RestartableServer> {
  const installed = installation();
  return await attempt(async () => startRestartable(await server(installed, options)));
}

function installation(): Neo4jInstallation {
  const installed = findNeo4j();
  if (installed === null) throw new LabError(`Neo4j is missing: ${neo4jRemedy}`);
  return installed;
}

/**
 * Makes the archive of loaded classes where there is none for this Java: starts Neo4j once, and stops it. Costs 15 s once and saves some
 * seconds at each start. Two that do it at once do not disturb each other.
 */
export async function archiveNeo4jClasses(say: (text: string) => void): Promise<void> {
  const installed = findNeo4j();
  if (installed === null || existsSync(installed.archive)) return;
  say("preparing Neo4j so that it starts in 4 s (about 15 s once)");
  const written = `${installed.archive}.part-${process.pid}`;
  const options = await server(installed, {});
  const isArchive = (flag: string): boolean => flag.startsWith("-XX:SharedArchiveFile=");
  const flags = [`-XX:ArchiveClassesAtExit=${written}`, ...options.arguments.filter((flag) => !isArchive(flag))];
  const running = await startGuarded({ ...options, arguments: flags, stopWaitMs: archiveWaitMs });
  await running.stop();
  if (existsSync(written)) renameSync(written, installed.archive);
  rmSync(written, { force: true });
}

/** Configures a fresh one; answers how to start it. */
async function server(installed: Neo4jInstallation, options: Neo4jOptions): Promise<GuardedOptions & { readonly folder: string }> {
  const { password } = options;
  const port = await freePort();
  const folder = dataFolder("neo4j", null);
  try {
    writeSettings(folder, { port, authentication: password === undefined ? "off" : "on" });
    if (password !== undefined) setPassword(installed, folder, password);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const archive = existsSync(installed.archive) ? [`-XX:SharedArchiveFile=${installed.archive}`] : [];
  const classes = ["-cp", join(installed.lib, "*"), "org.neo4j.server.CommunityEntryPoint"];
  const login = password === undefined ? "" : `neo4j:${encodeURIComponent(password)}@`;
  return {
    name: "Neo4j",
    file: installed.java,
    arguments: [
      ...[...jvmFlags(options.heapMebibytesMax ?? 512), ...archive, ...classes],
      ...[`--home-dir=${folder}`, `--config-dir=${join(folder, "conf")}`],
    ],
    folder,
    account: null,
    isReady: () => answersBolt(port),
    readyWaitMs,
    stopWaitMs,
    stopSignal: "TERM",
    url: `bolt://${login}127.0.0.1:${port}`,
  };
}

/** Small heap, one compiler: what a few thousand nodes need, on a machine that has other work. */
function jvmFlags(heapMebibytesMax: number): string[] {
  const opened = ["java.nio", "java.io", "sun.nio.ch", "java.util.concurrent"];
  return [
    ...["-Xms64m", `-Xmx${heapMebibytesMax}m`, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=96m"],
    ...["-XX:ReservedCodeCacheSize=64m", "-Xss512k", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"],
    ...opened.map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`),
    ...["-Dlog4j2.disable.jmx=true", "-Djava.awt.headless=true"],
  ];
}

function writeSettings(home: string, of: { port: number; authentication: "on" | "off" }): void {
  const settings = {
    "server.default_listen_address": "127.0.0.1",
    "server.bolt.listen_address": `127.0.0.1:${of.port}`,
    "server.bolt.advertised_address": `127.0.0.1:${of.port}`,
    "server.http.enabled": "false",
    "server.https.enabled": "false",
    "dbms.security.auth_enabled": of.authentication === "on" ? "true" : "false",
    "dbms.usage_report.enabled": "false",
    "server.memory.pagecache.size": "16m",
    "server.bolt.thread_pool_min_size": "2",
    "server.bolt.thread_pool_max_size": "20",
    "db.tx_log.preallocate": "false",
    "db.tx_log.rotation.size": "16m",
    "db.tx_log.rotation.retention_policy": "32M size",
    // Without early checkpoints the recovery after SIGKILL takes a minute.
    "db.checkpoint.interval.time": "1m",
    "db.logs.query.enabled": "OFF",
    "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
  };
  mkdirSync(join(home, "conf"), { recursive: true });
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(join(home, "conf", "neo4j.conf"), lines.join(""));
}

function setPassword(installed: Neo4jInstallation, home: string, password: string): void {
  const flags = ["-cp", join(installed.lib, "*"), "org.neo4j.cli.AdminTool", "dbms", "set-initial-password", password];
  const environment = { ...process.env, NEO4J_HOME: home, NEO4J_CONF: join(home, "conf") };
  const result = spawnSync(installed.java, flags, { env: environment, stdio: ["ignore", "pipe", "pipe"], timeout: passwordWaitMs });
  const said = `${result.stdout}${result.stderr}`.replaceAll(password, "***").trim().slice(-500);
  if (result.status !== 0) throw new LabError(`Neo4j's password could not be set (${result.signal ?? result.status}): ${said}`);
}

/** The greeting of Bolt with the versions 5.8 to 5.0 and 4.4; a server that takes connections answers with one of them. */
function answersBolt(port: number): Promise<boolean> {
  const question = Buffer.from("6060b01700080805000004040000000000000000", "hex");
  return answers(port, { question, expected: "\0\0" });
}

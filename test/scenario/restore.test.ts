import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createClient } from "../../client/client.ts";
import { contentHash, partitionCount } from "../../contract/canonical.ts";
import type { Incident } from "../../contract/incident.ts";
import { findNeo4j } from "../../lab/neo4j-jars.ts";
import { startRestartableNeo4j } from "../../lab/neo4j-server.ts";
import type { RestartableServer } from "../../lab/restartable-server.ts";
import { startDurablePostgres } from "../../lab/servers.ts";
import { DistributedPlatform } from "../../services/command/distributed-platform.ts";
import { readRecording } from "../../services/command/recording.ts";
import { SystemClock } from "../../services/platform.ts";
import { openBullmqQueue } from "../../services/queue/bullmq-queue.ts";
import { connectRedis } from "../../services/redis/redis-connection.ts";
import type { Role } from "../../services/role.ts";
import { startRestartableRedis } from "../conformance/restartable-redis.ts";
import { replayDistributed } from "./distributed-replay.ts";
import { eventually } from "./headwater-process.ts";
import { commandsOf, runCommands } from "./operating-commands.ts";
import { sendTraces, traceBody } from "./otlp-json.ts";
import { serversMissing } from "./servers-missing.ts";
import { type Stretch, shownOn } from "./shown.ts";
import { storedSpans } from "./stored-spans.ts";

/** It takes more than a minute. */
const full = process.env.HEADWATER_TEST_FULL === "yes";
const fixtures = join(import.meta.dirname, "../fixture");
const [fixture = ""] = readdirSync(fixtures).filter((name) => name.endsWith(".br"));
const [, backUp = "", restore = ""] = commandsOf("Without Compose");
const spanCount = 4;
/** Seconds of event time: a new service is healthy, then it fails for as long as it is heard of, so that its incident stays open. */
const healthySeconds = 60;
const secondsSent = 77;

interface Machine {
  readonly directory: string;
  readonly redis: RestartableServer;
  readonly neo4j: RestartableServer;
  readonly postgres: RestartableServer;
}

/** Servers in new folders on new ports, as empty as they come. */
async function newMachine(): Promise<Machine> {
  const directory = mkdtempSync(join(tmpdir(), "headwater-restore-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "data"));
  const [redis, neo4j, postgres] = await Promise.all([startRestartableRedis(), startRestartableNeo4j(), startDurablePostgres()]);
  for (const server of [redis, neo4j, postgres]) onTestFinished(() => server.stop());
  return { directory, redis, neo4j, postgres };
}

async function startRoles(machine: Machine, processCount: Partial<Record<Role, number>> = {}): Promise<DistributedPlatform> {
  const urls = { redis: machine.redis.url, neo4j: machine.neo4j.url, postgres: machine.postgres.url };
  const platform = await DistributedPlatform.start({ directory: machine.directory, say: () => undefined, urls, processCount });
  onTestFinished(() => platform.stop());
  return platform;
}

/** Neo4j's own command line, which the jars that the lab starts it from have no program for. */
function installNeo4jAdmin(folder: string): void {
  const { java = "", lib = "" } = findNeo4j() ?? {};
  mkdirSync(folder);
  const file = join(folder, "neo4j-admin");
  writeFileSync(file, `#!/bin/sh\nexec "${java}" -Xmx256m -XX:TieredStopAtLevel=1 -cp "${lib}/*" org.neo4j.cli.AdminTool "$@"\n`);
  chmodSync(file, 0o755);
}

/** Runs commands of the operating guide on a machine, with Redis and Neo4j stopped as it demands. */
async function onStopped(machine: Machine, commands: string, directory: string): Promise<void> {
  const { redis, neo4j, postgres } = machine;
  await Promise.all([redis.end(), neo4j.end()]);
  const environment = {
    PATH: `${join(directory, "bin")}${delimiter}${process.env.PATH ?? ""}`,
    EVENTS_URL: postgres.url,
    REDIS_DIR: redis.folder,
    STORE_DIR: join(machine.directory, "data"),
    NEO4J_HOME: neo4j.folder,
    NEO4J_CONF: join(neo4j.folder, "conf"),
  };
  runCommands(commands, { directory, environment });
}

/** What Redis keeps of the partitions: how far each was worked on, and what was learned. */
async function keptInRedis(url: string): Promise<ReadonlyMap<string, string>> {
  const redis = connectRedis({ url, prefix: "headwater", whenAway: "report", onError: () => undefined });
  try {
    const keys = await redis.keys("{headwater}:*");
    const ofPartitions = keys.filter((key) => /:(?:partition|chunks):/.test(key)).sort();
    const hashes = await Promise.all(ofPartitions.map((key) => redis.hgetall(key)));
    return new Map(ofPartitions.map((key, index) => [key, contentHash(hashes[index])]));
  } finally {
    redis.disconnect();
  }
}

/** Waits until no queue holds anything and what is shown stands still, and answers it. */
async function settled(machine: Machine, platform: DistributedPlatform, stretch: Stretch): Promise<ReadonlyMap<string, string>> {
  const place = { url: machine.redis.url, prefix: "headwater" };
  const queue = await openBullmqQueue({ ...place, clock: new SystemClock(), onCounted: () => undefined });
  try {
    let before: ReadonlyMap<string, string> = new Map();
    return await eventually(
      async () => {
        const depths = [...(await queue.depths()).values()];
        const after = await shownOn(platform.apiUrl, stretch);
        const isStill = depths.every((depth) => depth === 0) && [...after].every(([path, text]) => before.get(path) === text);
        before = after;
        await new Promise((resolve) => setTimeout(resolve, 500));
        return { isStill, shown: after };
      },
      ({ isStill }) => isStill,
      "the queues are empty and what is shown stands still",
    ).then(({ shown }) => shown);
  } finally {
    await queue.close();
  }
}

/** Which answers differ, shortly: the answers themselves are too long for a message. */
function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((path) => {
    const [left = "nothing", right = "nothing"] = [before.get(path), after.get(path)];
    if (left === right) return [];
    const at = [...left].findIndex((letter, index) => letter !== right[index]);
    return [`${path}: …${left.slice(Math.max(0, at - 80), at + 80)}… became …${right.slice(Math.max(0, at - 80), at + 80)}…`];
  });
}

async function incidentOf(platform: DistributedPlatform, service: string): Promise<Incident | null> {
  const client = createClient({ baseUrl: platform.apiUrl });
  const { items } = await client.call("incidents", { query: { limit: 1_000 } });
  const ofService = items.find(({ impacts }) => impacts.some(({ entity }) => entity === service));
  return ofService === undefined ? null : await client.call("incident", { params: { incident: ofService.id } });
}

/** A service that nobody knew fails: its spans are stored once, an incident opens, gets a verdict and is acknowledged. */
async function worksOn(platform: DistributedPlatform, service: string, ageMs: number): Promise<void> {
  const startMs = Math.floor((Date.now() - ageMs) / 1_000) * 1_000;
  for (let from = 0; from < secondsSent; from += 10) {
    const seconds = Array.from({ length: Math.min(10, secondsSent - from) }, (_, index) => from + index);
    const resourceSpans = seconds.flatMap((second): unknown[] => {
      const failedCount = second >= healthySeconds ? spanCount : 0;
      const body = JSON.parse(traceBody({ service, spanCount, endMs: startMs + second * 1_000 + 500, failedCount }));
      return body.resourceSpans;
    });
    expect(await sendTraces(platform.otlpUrl, JSON.stringify({ resourceSpans }))).toBe(true);
  }
  const opened = await eventually(
    () => incidentOf(platform, service),
    (incident) => (incident?.verdicts.length ?? 0) > 0,
    `an incident of ${service} opens and gets a verdict`,
  );
  const client = createClient({ baseUrl: platform.apiUrl });
  const request = { params: { incident: opened?.id ?? "" }, body: { actor: "maria", note: "mine" } };
  expect(await client.call("acknowledge", request)).toMatchObject({ status: "acknowledged", acknowledgedBy: "maria" });
  // The last windows are closed once the gateway has told that nothing more comes.
  await eventually(
    () => storedSpans(platform, service, startMs),
    (count) => count === secondsSent * spanCount,
    `the spans of ${service} are stored, each once`,
  );
  expect((await client.call("deadLetters", { query: {} })).items).toEqual([]);
}

/** What was open when Redis was lost is taken up: nobody is hurt by a service that is not heard of any more, so it ends, once. */
async function endsOnce(platform: DistributedPlatform, service: string): Promise<void> {
  const ended = await eventually(
    () => incidentOf(platform, service),
    (incident) => incident?.status === "resolved" && incident.verdicts.at(-1)?.reason === "close",
    `the incident of ${service} ends`,
  );
  const { items } = await createClient({ baseUrl: platform.apiUrl }).call("incidentEvents", { params: { incident: ended?.id ?? "" } });
  for (const type of ["opened", "acknowledged", "recovered", "resolved"]) {
    expect(items.filter((event) => event.type === type).length, `${type} of ${service}`).toBe(1);
  }
}

if (serversMissing !== null) console.warn(`restoring a backup is not tested: ${serversMissing}`);

describe.skipIf(serversMissing !== null || !full)("a backup taken by the commands of the operating guide", () => {
  it("restored onto empty servers shows the same bytes and works on, and so does what is left when Redis is lost", {
    timeout: 600_000,
  }, async () => {
    const backup = mkdtempSync(join(tmpdir(), "headwater-backup-"));
    onTestFinished(() => rmSync(backup, { recursive: true, force: true }));
    installNeo4jAdmin(join(backup, "bin"));

    const recording = readRecording(join(fixtures, fixture));
    const { startedAtMs: fromMs } = recording.header;
    const stretch = { fromMs, toMs: recording.bodies.at(-1)?.receivedAtMs ?? fromMs };
    const first = await newMachine();
    // A recording is sent through a gateway of its own, on the recording's clock.
    let platform = await startRoles(first, { gateway: 0 });
    await replayDistributed(recording, platform.configFile);
    const client = createClient({ baseUrl: platform.apiUrl });
    await eventually(
      () => client.call("incidents", { query: {} }),
      ({ items }) => items.length > 0,
      "the recording has an incident",
    );
    const before = await settled(first, platform, stretch);
    expect([...before.keys()].filter((path) => path.endsWith("/verdicts") && before.get(path)?.includes('"ranking"'))).not.toEqual([]);
    await platform.stop();
    const kept = await keptInRedis(first.redis.url);
    expect(kept.size).toBeGreaterThan(partitionCount);
    await onStopped(first, backUp, backup);
    await first.postgres.end();

    const second = await newMachine();
    await onStopped(second, restore, backup);
    await Promise.all([second.redis.restart(), second.neo4j.restart()]);
    expect(await keptInRedis(second.redis.url)).toEqual(kept);
    platform = await startRoles(second);
    expect(differences(before, await settled(second, platform, stretch))).toEqual([]);
    await worksOn(platform, "after-restore", 400_000);
    const sizes = readdirSync(join(backup, "backup")).map((name) => `${name} ${statSync(join(backup, "backup", name)).size} B`);
    console.info(`restored: ${before.size} answers are the same; the backup is ${sizes.join(", ")}`);
    const newest = { fromMs: Date.now() - 500_000, toMs: Date.now() };
    const later = await settled(second, platform, newest);
    await platform.stop();

    const withoutRedis = { ...second, redis: await startRestartableRedis() };
    onTestFinished(() => withoutRedis.redis.stop());
    platform = await startRoles(withoutRedis);
    expect(differences(later, await settled(withoutRedis, platform, newest))).toEqual([]);
    await worksOn(platform, "without-redis", 200_000);
    await endsOnce(platform, "after-restore");
    platform.check();
  });
});

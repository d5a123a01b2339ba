/** The whole way on a real kernel: uninstrumented services, `headwater agent` as a process, a platform; then the agent is killed. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseConfig } from "../../config/config.ts";
import { hostEntityId } from "../../contract/entity.ts";
import { agentMetric } from "../../contract/kernel-telemetry.ts";
import type { Overview } from "../../contract/route.ts";
import { LabGroups } from "../../lab/cgroup.ts";
import { findRedis, startRedis } from "../../lab/servers.ts";
import { App } from "../../services/app.ts";
import { labSpec } from "../../services/command/lab-config.ts";
import { createPlatform } from "../../services/platform.ts";
import { ChangeLog } from "../../services/ranking/change-log.ts";
import { EarlierIncidents } from "../../services/ranking/earlier-incidents.ts";
import { gatherSnapshot } from "../../services/ranking/gather.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import type { AgentProcessPlan } from "./agent-process.ts";
import { eventually } from "./headwater-process.ts";
import type { LiveServicePlan } from "./live-service.ts";

const skipReason = noKernelPrograms ?? (findRedis() === null ? "redis-server is not installed" : null) ?? noGroups();
if (skipReason !== null) process.stdout.write(`test/scenario/agent-live.test.ts: ${skipReason}\n`);
const suite = skipReason === null ? describe : describe.skip;

const requests = 60;
const failures = 12;
const patience = { timeout: 100_000 };
const kernelServer = "kernel.server.duration";

function noGroups(): string | null {
  try {
    void LabGroups.open(process.pid).close();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

suite(`an agent beside a platform${skipReason === null ? "" : `: ${skipReason}`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), "headwater-live-"));
  const children: ChildProcess[] = [];
  let groups: LabGroups;
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let app: App;
  let agent: ChildProcess;
  let web = "";
  let outside = "";
  let beganMs = 0;
  let endedMs = 0;

  const api = async <T>(path: string): Promise<T> => (await (await fetch(`${app.addresses.api}${path}`)).json()) as T;
  /** A call whose other side never tells of it is a dependency too, but later. */
  const isWhole = ({ completeThroughMs }: { completeThroughMs: number }) => completeThroughMs >= endedMs;
  const graph = () =>
    api<{ completeThroughMs: number; dependencies: { id: string; learnedFrom: string }[]; entities: { id: string }[] }>("/api/v1/graph");

  async function service(plan: LiveServicePlan, group: string | null): Promise<string> {
    const child = tsx("live-service.ts", JSON.stringify(plan));
    children.push(child);
    if (group !== null) groups.placeServer(group, child.pid ?? 0);
    return `http://127.0.0.1:${await firstLine(child, (line) => Number(line) > 0)}`;
  }

  /** Requests served by an entity in the windows since the load began: how many, and how many of them failed. */
  async function served(entity: string): Promise<[count: number, failed: number]> {
    const range = { fromMs: beganMs - 2_000, toMs: Date.now() + 60_000, entities: [entity], rowsMax: 10_000 };
    const rows = (await app.ports.telemetry.durations(range)).filter((row) => row.metric === kernelServer && row.attributes === "");
    return [rows.reduce((sum, { count }) => sum + count, 0), rows.reduce((sum, { failed }) => sum + failed, 0)];
  }

  async function startAgent(): Promise<void> {
    const config = join(directory, "agent.yaml");
    const spec = { logLevel: "warn", agent: { cgroups: [groups.path], intervalMs: 1_000, cpuBudget: 2, memoryMaxMb: 2_000 } };
    writeFileSync(config, JSON.stringify({ apiVersion: "headwater/v1", kind: "Configuration", spec }));
    const plan: AgentProcessPlan = { config, gateway: app.addresses.gateway ?? "" };
    agent = tsx("agent-process.ts", JSON.stringify(plan));
    children.push(agent);
    await firstLine(agent, (line) => line === "ready");
    const range = {
      fromMs: 0,
      toMs: Number.MAX_SAFE_INTEGER,
      entities: [hostEntityId(hostname())],
      metric: agentMetric.level,
      seriesMax: 10,
    };
    await eventually(
      () => app.ports.telemetry.series(range),
      (list) => (list[0]?.samples.length ?? 0) >= 2,
      "the agent tells",
    );
  }

  beforeAll(async () => {
    groups = LabGroups.open(process.pid);
    const platform = createPlatform({ level: "silent" });
    const config = parseConfig(labSpec(join(directory, "data")));
    app = await App.start({ config, platform, gatewayId: "live", webDirectory: null });
    redis = await startRedis();
    groups.placeServer("redis", redis.pid);
    const gateway = app.addresses.gateway ?? "";
    const cart = await service({ redisPort: Number(new URL(redis.url).port) }, "cart");
    web = await service({ callee: cart, gateway }, "web");
    outside = await service({}, null);
    await startAgent();
    beganMs = Date.now();
    for (let request = 0; request < requests; request += 1) {
      const path = request % (requests / failures) === 3 ? "/fail" : "/item";
      await (await fetch(`${web}${path}`)).text();
      await (await fetch(`${outside}${path}`)).text();
    }
    await (await fetch(`${web}/run`)).text();
    endedMs = Date.now();
  }, 120_000);

  afterAll(async () => {
    for (const child of children) await ended(child);
    await redis?.stop();
    await app?.stop();
    await groups?.close();
    rmSync(directory, { recursive: true, force: true });
  }, 60_000);

  it("shows who calls whom, and neither what is outside of its groups nor where telemetry goes", patience, async () => {
    const store = `redis@127.0.0.1:${new URL(redis.url).port}`;
    const wanted = [`cart>${store}`, "web>cart"];
    const { dependencies, entities } = await eventually(graph, isWhole, "the map");
    expect(dependencies.map(({ id, learnedFrom }) => `${id} ${learnedFrom}`)).toEqual(wanted.map((id) => `${id} kernel`));
    expect(entities.map(({ id }) => id)).toEqual(["cart", hostEntityId(hostname()), store, "web"]);
    const { items } = await api<{ items: { entity: { id: string } }[] }>("/api/v1/services");
    expect(items.map(({ entity }) => entity.id).sort()).toEqual(["cart", "web"]);
  });

  it("counts exactly the requests that were sent, and those that failed", patience, async () => {
    const store = `redis@127.0.0.1:${new URL(redis.url).port}`;
    for (const entity of ["web", "cart"]) {
      expect([
        entity,
        ...(await eventually(
          () => served(entity),
          ([count]) => count > requests,
          entity,
        )),
      ]).toEqual([entity, requests + 1, failures]);
    }
    expect(
      await eventually(
        () => served(store),
        ([count]) => count > requests,
        store,
      ),
    ).toEqual([requests + 1, 0]);
  });

  it("tells that a service started a program, and that it ended", patience, async () => {
    const [fromMs, toMs] = [beganMs - 5_000, Date.now() + 60_000];
    const lines = () => api<{ items: { body: string; batch?: string }[] }>(`/api/v1/lines?entity=web&fromMs=${fromMs}&toMs=${toMs}`);
    const end = /^headwater\.process\.exit: false \(pid \d+\) of web ended with exit code 1$/;
    const { items } = await eventually(lines, ({ items: list }) => list.some(({ body }) => end.test(body)), "the end is told");
    expect(items.find(({ body }) => end.test(body))?.batch).toMatch(/^live-\d+$/);
    const templates = await app.ports.telemetry.templates({ fromMs, toMs, entities: ["web"], templatesMax: 1_000 });
    expect(templates.map(({ text }) => text).join("\n")).toMatch(/headwater\.process\.exec: web started \/bin\/false/);
  });

  it("leaves nothing in the kernel when it is killed, and its silence is told within 30 s", { timeout: 90_000 }, async () => {
    const pid = agent.pid ?? 0;
    const held = heldIds(pid);
    expect(held.prog?.length).toBeGreaterThan(10);
    expect(there("prog", held.prog)).toEqual(held.prog);
    const killedMs = Date.now();
    agent.kill("SIGKILL");
    await once(agent, "close");
    const left = async () => [...there("prog", held.prog), ...there("map", held.map), ...there("link", held.link)];
    await eventually(left, (ids) => ids.length === 0, "nothing of the agent is left in the kernel");
    const told = await eventually(
      () => api<Overview>("/api/v1/overview"),
      ({ troubles }) => troubles.length > 0,
      "the silence is told",
    );
    expect(Date.now() - killedMs).toBeLessThan(30_000);
    expect(told.troubles).toMatchObject([
      { id: `agent/${hostname()}`, weight: "weakened", sentence: `The agent on ${hostname()} is silent.`, commandHost: hostname() },
    ]);
    const sinceMs = told.troubles[0]?.sinceMs ?? 0;
    expect(Math.abs(sinceMs - killedMs)).toBeLessThan(4_000);
    // Windows that were open when it was killed are closed a moment later: a verdict knows the silence once they are.
    const spotsNow = async () => (await snapshot()).blindSpots.filter(({ what }) => what.startsWith("the agent"));
    const [spot, ...more] = await eventually(spotsNow, (list) => list.length > 0, "the silence is a blind spot");
    expect(Date.now() - killedMs).toBeLessThan(30_000);
    expect([spot?.cost, spot?.command, more]).toEqual([
      "what the kernel saw is missing for services on it",
      "headwater agent --config headwater.yaml",
      [],
    ]);
    const since = new RegExp(`^the agent on ${hostname()} has been silent since (\\S+) (\\S+) UTC$`).exec(spot?.what ?? "");
    expect(Math.abs(Date.parse(`${since?.[1]}T${since?.[2]}Z`) - killedMs)).toBeLessThan(4_000);
    process.stdout.write(`programs ${held.prog?.length}, told after ${Date.now() - killedMs} ms\n`);
  });

  /** As for a verdict of a fault that began while the agent worked. */
  async function snapshot() {
    const { events, graph: store, telemetry } = app.ports;
    const request = {
      ...{ incident: "i-1", version: 1, reason: "opened", onsetMs: beganMs, askedForMs: Date.now() },
      symptoms: [{ entity: "web", metric: kernelServer, atMs: beganMs }],
    } as const;
    const ports = { events, graph: store, telemetry, changes: new ChangeLog(events), earlier: new EarlierIncidents(events) };
    return await gatherSnapshot({ ...request, symptoms: [...request.symptoms] } as never, {
      ...ports,
      ...{ windowMs: 1_000, graphAttemptsMax: 1, onBound: () => undefined },
    });
  }
});

function tsx(file: string, ...args: string[]): ChildProcess {
  const path = join(import.meta.dirname, file);
  return spawn(process.execPath, ["--import", "tsx", path, ...args], { stdio: ["pipe", "pipe", "inherit"] });
}

async function firstLine(child: ChildProcess, fits: (line: string) => boolean): Promise<string> {
  for await (const line of createInterface({ input: child.stdout ?? expect.fail("no output") })) if (fits(line)) return line;
  return expect.fail("the process ended before it was ready");
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "close");
  child.stdout?.resume();
  child.stdin?.end();
  await gone;
}

/** Ids of what of the kernel a process holds open, by kind. */
function heldIds(pid: number): Record<string, number[]> {
  const ids: Record<string, Set<number>> = { prog: new Set(), map: new Set(), link: new Set() };
  for (const file of readdirSync(`/proc/${pid}/fdinfo`)) {
    for (const [, kind = "", id] of readFileSync(`/proc/${pid}/fdinfo/${file}`, "utf8").matchAll(/^(prog|map|link)_id:\s*(\d+)$/gm)) {
      ids[kind]?.add(Number(id));
    }
  }
  return Object.fromEntries(Object.entries(ids).map(([kind, found]) => [kind, [...found].sort((left, right) => left - right)]));
}

/** Which of them are in the kernel; those of others do not matter. */
function there(kind: "prog" | "map" | "link", ids: readonly number[] = []): number[] {
  const { stdout } = spawnSync("bpftool", ["-j", kind, "list"], { encoding: "utf8", maxBuffer: 33_554_432 });
  const all = new Set((JSON.parse(stdout) as { id: number }[]).map(({ id }) => id));
  return ids.filter((id) => all.has(id));
}

/**
 * Who calls whom over several network namespaces, as several hosts would be: a virtual address that is translated, a client's address and port
 * that serve another connection a moment later, an address that moves to another service, two networks with the same addresses. The agent's
 * bodies go through gateway and topology.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LabGroups } from "../../lab/cgroup.ts";
import { findRedis } from "../../lab/servers.ts";
import { Agent } from "../../services/agent/agent.ts";
import { CgroupFiles } from "../../services/agent/cgroup-files.ts";
import { type LiveKernel, openLiveKernel } from "../../services/agent/live-kernel.ts";
import { ProcessFiles } from "../../services/agent/process-files.ts";
import { replay } from "../../services/command/replay.ts";
import type { RecordedBody } from "../../services/gateway/gateway-message.ts";
import { createMetrics, SystemClock } from "../../services/platform.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { startFromTypeScript } from "../services/agent/typescript-worker.ts";
import { type Call, type ServicePlan, serviceScript } from "./kernel-map-service.ts";

const skipReason =
  noKernelPrograms ??
  (spawnSync("ip", ["-V"]).status === 0 ? null : "iproute2 is not installed") ??
  (spawnSync("nft", ["--version"]).status === 0 ? null : "nftables is not installed") ??
  (findRedis() === null ? "redis-server is not installed" : null);
if (skipReason !== null) process.stdout.write(`test/scenario/kernel-map.test.ts: ${skipReason}\n`);
const suite = skipReason === null ? describe : describe.skip;

/** Names of interfaces are short. */
const prefix = `hm${process.pid % 1_000_000}`;
const network = "10.77.0";
const virtual = { host: "10.96.0.10", port: 80 };
const api = { host: `${network}.3`, port: 8080 };
const stock = { host: `${network}.6`, port: 8080 };
const redisPort = 6379;

function ip(...args: readonly string[]): void {
  const result = spawnSync("ip", args, { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`ip ${args.join(" ")}: ${result.stderr}`);
}

const inSpace = (name: string, command: string, ...args: readonly string[]): string[] => [
  "netns",
  "exec",
  `${prefix}-${name}`,
  command,
  ...args,
];

/** Namespaces on a bridge that is in one of its own. */
class Network {
  readonly #spaces: string[] = [];
  readonly #inside = new Map<string, string>();
  #links = 0;

  bridge(name: string): void {
    this.#space(name);
    ip(...inSpace(name, "ip", "link", "add", "bridge", "type", "bridge"));
    ip(...inSpace(name, "ip", "addr", "add", `${network}.1/24`, "dev", "bridge"));
    ip(...inSpace(name, "ip", "link", "set", "bridge", "up"));
  }

  /** `address` null: it gets one later. */
  host(name: string, options: { address: string | null; bridge: string }): void {
    this.#space(name);
    const [outside, inside] = [`${prefix}o${this.#links}`, `${prefix}i${this.#links}`];
    this.#links += 1;
    const bridge = `${prefix}-${options.bridge}`;
    ip("link", "add", outside, "netns", bridge, "type", "veth", "peer", "name", inside, "netns", `${prefix}-${name}`);
    ip(...inSpace(options.bridge, "ip", "link", "set", outside, "master", "bridge"));
    ip(...inSpace(options.bridge, "ip", "link", "set", outside, "up"));
    ip(...inSpace(name, "ip", "link", "set", inside, "up"));
    this.#inside.set(name, inside);
    if (options.address !== null) this.give(name, options.address);
    this.#translate(name);
  }

  give(name: string, address: string): void {
    ip(...inSpace(name, "ip", "addr", "add", `${address}/24`, "dev", this.#inside.get(name) ?? ""));
    ip(...inSpace(name, "ip", "route", "add", "default", "via", `${network}.1`));
  }

  /** From now on the address is another host's. */
  move(address: string, from: string, to: string): void {
    ip(...inSpace(from, "ip", "addr", "del", `${address}/24`, "dev", this.#inside.get(from) ?? ""));
    this.give(to, address);
  }

  close(): void {
    for (const name of this.#spaces) spawnSync("ip", ["netns", "del", `${prefix}-${name}`]);
  }

  #space(name: string): void {
    ip("netns", "add", `${prefix}-${name}`);
    this.#spaces.push(name);
    ip(...inSpace(name, "ip", "link", "set", "lo", "up"));
  }

  /** The virtual address, as a cluster has them on every node. */
  #translate(name: string): void {
    const rule = `ip daddr ${virtual.host} tcp dport ${virtual.port} dnat to ${api.host}:${api.port}`;
    const rules = `table ip hw { chain output { type nat hook output priority -100; ${rule}; }; };\n`;
    const nft = spawnSync("ip", inSpace(name, "nft", "-f", "-"), { input: rules, encoding: "utf8" });
    if (nft.status !== 0) throw new Error(`nft in ${name}: ${nft.stderr}`);
  }
}

class Service {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(space: string, plan: ServicePlan) {
    const args = inSpace(space, "python3", "-c", serviceScript, JSON.stringify(plan));
    this.#child = spawn("ip", args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout ?? expect.fail("no output") })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async says(word: string): Promise<void> {
    const { value, done } = await this.#lines.next();
    if (done || value !== word) expect.fail(`a service said ${done ? "nothing" : value} instead of ${word}`);
  }

  /** One connection. */
  async call(to: Call): Promise<void> {
    this.#child.stdin?.write(`${JSON.stringify(to)}\n`);
    await this.says("done");
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
  }
}

suite(`the map of several namespaces${skipReason === null ? "" : `: ${skipReason}`}`, () => {
  const spaces = new Network();
  const bodies: RecordedBody[] = [];
  const services = new Map<string, Service>();
  let redis: ChildProcess | null = null;
  let groups: LabGroups;
  let kernel: LiveKernel;
  let directory: string;
  let view: { readonly dependencies: readonly string[]; readonly entities: readonly string[] };

  async function start(name: string, plan: ServicePlan, at: { address: string | null; bridge?: string }): Promise<Service> {
    spaces.host(name, { bridge: "near", ...at });
    const service = new Service(name, plan);
    services.set(name, service);
    await service.says("ready");
    groups.placeServer(name, service.pid);
    return service;
  }

  async function startRedisIn(name: string, address: string): Promise<void> {
    spaces.host(name, { address, bridge: "near" });
    const args = [
      "--port",
      String(redisPort),
      "--bind",
      address,
      "--protected-mode",
      "no",
      "--save",
      "",
      "--appendonly",
      "no",
      "--dir",
      directory,
    ];
    redis = spawn("ip", inSpace(name, "redis-server", ...args), { stdio: ["ignore", "pipe", "inherit"] });
    groups.placeServer(name, redis.pid ?? 0);
    for await (const line of createInterface({ input: redis.stdout ?? expect.fail("no output") })) {
      if (line.includes("Ready to accept connections")) break;
    }
    redis.stdout?.resume();
  }

  async function watched(): Promise<Agent> {
    const platform = {
      clock: new SystemClock(),
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      metrics: createMetrics(),
      random: () => 0.5,
    };
    const cgroups = new CgroupFiles();
    const opened = await openLiveKernel({
      ...{ platform, level: "streams", syscalls: "off", startWorker: startFromTypeScript },
      watchedGroups: () => cgroups.idsBelow([groups.path], 100),
    });
    if (!opened.ok) throw new Error(opened.reason);
    kernel = opened.kernel;
    const places = {
      processes: new ProcessFiles(),
      cgroups,
      interfaceNames: () => ({ netns: 0, names: new Map() }),
      dropReasons: new Map(),
    };
    return new Agent({
      ...{ platform, source: kernel.source, control: kernel, places, host: "one", version: "0.0.0", intervalMs: 1_000, syscallScale: 1 },
      ...{ cgroups: [groups.path], level: "streams", cpuBudget: 10, memoryMaxBytes: 1e12 },
      usage: () => ({ cpuUs: 0, memoryBytes: 1 }),
      send: (signal, body) =>
        bodies.push({
          receivedAtMs: Date.now(),
          path: `/v1/${signal}`,
          contentType: "application/x-protobuf",
          body: Uint8Array.from(body),
        }),
    });
  }

  /** They are there before the agent is, which looks for new groups once a second. */
  async function startAll(): Promise<void> {
    spaces.bridge("near");
    spaces.bridge("far");
    await startRedisIn("db", `${network}.4`);
    await start("api", { listen: api.port, redis: [`${network}.4`, redisPort] }, { address: api.host });
    await start("stock", { listen: stock.port }, { address: stock.host });
    await start("fe", {}, { address: `${network}.2` });
    await start("batch", {}, { address: `${network}.5` });
    await start("before", {}, { address: `${network}.7` });
    await start("after", {}, { address: null });
    await start("till", { listen: api.port }, { address: api.host, bridge: "far" });
    await start("kiosk", {}, { address: `${network}.2`, bridge: "far" });
  }

  const called = (name: string, to: Call) => (services.get(name) ?? expect.fail(`no service ${name}`)).call(to);

  /** Addresses and ports of clients are used again as soon as they are free. */
  async function calls(): Promise<void> {
    for (let round = 0; round < 3; round++) {
      await called("fe", { ...virtual, count: 5 });
      await called("batch", { ...virtual, localPort: 40_000, count: 5 });
      await called("batch", { ...stock, localPort: 40_000, count: 5 });
      await called("before", { ...virtual, localPort: 41_000, count: 5 });
      await pause(300);
    }
    spaces.move(`${network}.7`, "before", "after");
    await called("after", { ...stock, localPort: 41_000, count: 5 });
    // Four ends of two connections with the same addresses at the same time.
    const twice = { ...api, localPort: 42_000, count: 5 };
    await Promise.all([called("kiosk", twice), called("fe", twice)]);
    await called("kiosk", { ...api, count: 5 });
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "headwater-map-"));
    groups = LabGroups.open(process.pid);
    await startAll();
    const startedAtMs = Date.now();
    const agent = await watched();
    const work = agent.run();
    await kernel.start();
    await calls();
    // Long enough for the windows of the last calls to be closed by what the agent says when nothing happens.
    await pause(4_000);
    await agent.stop();
    await work;
    const recording = { header: { recording: 1 as const, startedAtMs, windowMs: 1_000, timeScale: 60 }, bodies };
    const app = await replay({ recording, dataDirectory: join(directory, "data"), webDirectory: null });
    try {
      const graph = await app.ports.graph.asOf(Date.now());
      view = {
        dependencies: graph.dependencies.map(({ id }) => id),
        entities: graph.entities.map(({ id, type }) => `${id} ${type}`),
      };
    } finally {
      await app.stop();
    }
  }, 60_000);

  afterAll(async () => {
    await kernel?.close();
    redis?.kill("SIGKILL");
    await Promise.all([...services.values()].map((service) => service.end()));
    spaces.close();
    await groups?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it("has every dependency that there is, and none that there is not", () => {
    const redisName = `redis@${network}.4:${redisPort}`;
    expect([...view.dependencies].sort()).toEqual(
      [`api>${redisName}`, "fe>api", "batch>api", "batch>stock", "before>api", "after>stock", "kiosk>till"].sort(),
    );
  });

  it("has everybody who called or was called, and nobody else", () => {
    expect([...view.entities].sort()).toEqual(
      [
        ...["after", "api", "batch", "before", "fe", "kiosk", "stock", "till"].map((name) => `${name} service`),
        `redis@${network}.4:${redisPort} datastore`,
        "host/one host",
      ].sort(),
    );
  });
});

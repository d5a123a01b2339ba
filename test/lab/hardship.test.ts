/** Each way to hurt a service from outside, on the real kernel: as root, with nftables and control groups. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { addressOf, type Place, standInOf } from "../../lab/address.ts";
import { drawShop } from "../../lab/draw-shop.ts";
import { noRules } from "../../lab/firewall.ts";
import { diskOf, Hardships } from "../../lab/hardship.ts";
import { type Machine, openMachine, wholeMachine } from "../../lab/machine.ts";
import { until } from "../conformance/temporary.ts";

const shop = drawShop({ seed: 20_261, namespace: null });
const [victim, caller] = shop.services.map(({ name }) => name) as [string, string];
const address = addressOf(shop, victim);
const file = join(tmpdir(), `headwater-hardship-${process.pid}`);

/** A service in small: answers with who asks, works, writes and takes memory as the path says. */
const source = `
  const { createServer } = require("node:http");
  const { openSync, writeSync, fdatasyncSync } = require("node:fs");
  const kept = [];
  let journal;
  const server = createServer((request, response) => {
    const [, what, amount] = request.url.split("/");
    if (what === "work") for (const end = process.cpuUsage(); ; ) { const used = process.cpuUsage(end); if (used.user + used.system >= amount * 1000) break; }
    if (what === "write") { journal ??= openSync(process.argv[2], "w"); writeSync(journal, Buffer.alloc(4096), 0, 4096, 0); fdatasyncSync(journal); }
    if (what === "eat") kept.push(Buffer.alloc(Number(amount), 1));
    response.end(request.socket.remoteAddress + ":" + request.socket.remotePort);
  });
  server.keepAliveTimeout = 0;
  server.listen(0, process.argv[1], () => process.stdout.write(String(server.address().port)));
  process.stdin.on("end", () => process.exit()).resume();`;

const machine: Machine = await openMachine();
const skipReason = machine.groups === null || machine.firewall === null ? machine.missing.join("; ") : null;
if (skipReason !== null) process.stdout.write(`test/lab/hardship.test.ts: ${skipReason}\n`);

let service: ChildProcess;
let place: Place;
let hardships: Hardships;
let agent: Agent;

afterAll(async () => {
  await machine.close();
});

async function startService(): Promise<void> {
  const { groups, firewall } = wholeMachine(machine);
  service = spawn(process.execPath, ["-e", source, address, file], { stdio: ["pipe", "pipe", "inherit"] });
  groups.place(victim, service.pid!);
  const [port] = await once(service.stdout!, "data");
  place = { host: address, port: Number(port) };
  hardships = new Hardships({ spec: shop, groups, firewall, placeOf: () => place });
  agent = new Agent({ keepAlive: true, maxSockets: 1, localAddress: addressOf(shop, caller) });
}

async function stopService(): Promise<void> {
  agent.destroy();
  await hardships.stop();
  await wholeMachine(machine).firewall.set(noRules);
  service.stdin?.end();
  if (service.exitCode === null && service.signalCode === null) await once(service, "exit");
  rmSync(file, { force: true });
}

/** One request on the connection that stays; what it answered, or the code of its failure, and how long it took. */
function ask(path: string): Promise<{ text: string; ms: number; localPort: number }> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    let localPort = 0;
    const finish = (text: string): void => resolve({ text, ms: performance.now() - startedMs, localPort });
    const sent = request({ ...place, path, agent }, (response) => {
      localPort = response.socket.localPort ?? 0;
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on("end", () => finish(text));
      response.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? "failed"));
    });
    sent.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? "failed"));
    sent.end();
  });
}

/** Whichever of the two hierarchies has the file. */
function groupFile(controller: string, name: string): string {
  const folders = [`/sys/fs/cgroup/${controller}`, "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
  const found = folders.map((folder) => join(folder, `headwater-lab-${process.pid}`, victim, name)).find((path) => existsSync(path));
  return found === undefined ? "" : readFileSync(found, "utf8");
}

const throttled = (): number => Number(/^nr_throttled (\d+)$/m.exec(groupFile("cpu", "cpu.stat"))?.[1] ?? 0);

describe.skipIf(skipReason !== null)("the machine of a service", () => {
  beforeEach(startService);
  afterEach(stopService);

  it("loses a share of its packets, so that requests wait for the next attempt, and none afterwards", async () => {
    await ask("/");
    await hardships.losePackets(victim, 0.25);
    const during = [];
    for (let count = 0; count < 14; count += 1) during.push(await ask("/"));
    // Nothing is sent again before 200 ms have passed; 44 % of exchanges lose one of their two packets.
    expect(during.filter(({ ms }) => ms > 190).length).toBeGreaterThanOrEqual(1);
    await hardships.losePackets(victim, 0);
    const after = [];
    for (let count = 0; count < 12; count += 1) after.push(await ask("/"));
    expect(after.filter(({ ms }) => ms > 190).length).toBeLessThanOrEqual(3);
  });

  it("refuses connections and resets those that are open, until it does not", async () => {
    const from = `${addressOf(shop, caller)}:`;
    expect((await ask("/")).text).toContain(from);
    await hardships.refuseConnections(victim, "yes");
    expect((await ask("/")).text).toBe("ECONNRESET");
    expect((await ask("/")).text).toBe("ECONNREFUSED");
    await hardships.refuseConnections(victim, "no");
    expect((await ask("/")).text).toContain(from);
  });

  it("stands still when its quota of processor time is used up", async () => {
    const { groups } = wholeMachine(machine);
    await ask("/work/20");
    expect(throttled()).toBe(0);
    groups.limitCpu(victim, { quotaUs: 10_000, periodUs: 100_000 });
    expect((await ask("/work/40")).ms).toBeGreaterThan(150);
    expect(throttled()).toBeGreaterThan(0);
    groups.limitCpu(victim, null);
    const before = throttled();
    await ask("/work/40");
    expect(throttled()).toBe(before);
  });

  it("takes a quota from what the service used while it was well", async () => {
    const { groups } = wholeMachine(machine);
    expect(groups.cpuUs(victim)).toBeGreaterThan(0);
    hardships.limitCpu(victim, 0.5);
    // Nothing was measured yet: the least that the kernel takes.
    expect(groupFile("cpu", "cpu.cfs_quota_us") || groupFile("cpu", "cpu.max")).toMatch(/^1000\b/);
    hardships.limitCpu(victim, null);
  });

  it("writes slowly when its disk is slow", async () => {
    await ask("/write");
    hardships.limitWrites(victim, 16_384);
    expect((await ask("/write")).ms).toBeGreaterThan(200);
    hardships.limitWrites(victim, null);
    const after = [await ask("/write"), await ask("/write"), await ask("/write")];
    expect(Math.min(...after.map(({ ms }) => ms))).toBeLessThan(200);
    expect(diskOf(tmpdir())).toMatch(/^\d+:\d+$/);
  });

  it("kills a service that takes more memory than there is", async () => {
    const { groups } = wholeMachine(machine);
    groups.limitMemory(victim, groups.memoryBytes(victim) + 16_777_216);
    const ended = once(service, "exit");
    for (let count = 0; count < 16 && service.signalCode === null; count += 1) await ask("/eat/8388608");
    expect(await ended).toEqual([null, "SIGKILL"]);
    expect(groupFile("memory", "memory.oom_control") || groupFile("memory", "memory.events")).toMatch(/^oom_kill [1-9]/m);
    groups.limitMemory(victim, null);
  });

  it("is shared with somebody who works without a pause, and is the service's own again", async () => {
    const { groups } = wholeMachine(machine);
    const neighbour = spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" });
    try {
      const limit = { quotaUs: 20_000, periodUs: 100_000 };
      groups.share("node-1", { services: [victim], neighbour: [neighbour.pid!], weight: 16_384, ...limit });
      await until("the neighbour works", () => readFileSync(`/proc/${neighbour.pid}/cgroup`, "utf8").includes("neighbour"), 5_000);
      const during = [await ask("/work/10"), await ask("/work/10"), await ask("/work/10")];
      expect(Math.max(...during.map(({ ms }) => ms))).toBeGreaterThan(80);
    } finally {
      neighbour.kill("SIGKILL");
      await once(neighbour, "exit");
    }
    await groups.unshare("node-1", [victim]);
    expect(readFileSync(`/proc/${service.pid}/cgroup`, "utf8")).toContain(`/headwater-lab-${process.pid}/${victim}`);
    expect(readFileSync(`/proc/${service.pid}/cgroup`, "utf8")).not.toContain("host-node-1");
  });
});

describe.skipIf(skipReason !== null)("a detour", () => {
  let relay: ChildProcess;

  beforeAll(async () => {
    await startService();
    const program = join(import.meta.dirname, "../../dist/lab/relay.js");
    if (!existsSync(program)) throw new Error(`${program} is missing: build first (npm run build)`);
    relay = fork(program, [], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  });

  afterAll(async () => {
    relay.disconnect();
    await once(relay, "exit");
    await stopService();
  });

  async function tell(message: object): Promise<{ ports?: Record<string, number> }> {
    const answer = once(relay, "message");
    relay.send(message);
    return (await answer)[0] as { ports?: Record<string, number> };
  }

  it("delays new connections, leaves open ones alone, and shows nobody that it is there", async () => {
    const { firewall } = wholeMachine(machine);
    const from = addressOf(shop, caller);
    const standIn = standInOf(shop, caller);
    const { ports } = await tell({ type: "edges", edges: ["a>b"] });
    await tell({ type: "target", edge: "a>b", place, standIn });
    await tell({ type: "delay", edge: "a>b", delayMs: 300 });
    const before = await ask("/");
    await firewall.set({ ...noRules, detours: [{ caller: from, callee: place, relayPort: ports!["a>b"]!, standIn }] });
    const open = await ask("/");
    expect(open).toMatchObject({ text: before.text, localPort: before.localPort });
    agent.destroy();
    const delayed = await ask("/");
    expect(delayed.ms).toBeGreaterThan(290);
    expect(delayed.text).toBe(`${from}:${delayed.localPort}`);
    // Somebody else is not led around.
    const other = connect({ ...place, localAddress: "127.0.0.1" });
    await once(other, "connect");
    other.destroy();
    await firewall.set(noRules);
    expect((await ask("/")).text).toBe(delayed.text);
    agent.destroy();
    const after = await ask("/");
    expect(after.text).toBe(`${from}:${after.localPort}`);
    expect(after.ms).toBeLessThan(delayed.ms);
  });
});

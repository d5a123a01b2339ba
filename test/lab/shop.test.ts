import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { addressOf } from "../../lab/address.ts";
import { findHierarchies, groupFolders } from "../../lab/cgroup.ts";
import { drawShop } from "../../lab/draw-shop.ts";
import { tableOf } from "../../lab/firewall.ts";
import { openMachine } from "../../lab/machine.ts";
import { edgesOf } from "../../lab/spec.ts";
import { until } from "../conformance/temporary.ts";
import { OtlpSink } from "./otlp-sink.ts";

/** Generous, since a machine busy with other tests starts a dozen processes slowly. */
const waitMs = 90_000;
const program = join(import.meta.dirname, "../../dist/lab/main.js");

interface LabEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** The shop as a program, as demo and drill use it. */
class RunningLab {
  readonly events: LabEvent[] = [];
  readonly process: ChildProcessWithoutNullStreams;
  readonly ended: Promise<number | null>;

  constructor(words: readonly string[]) {
    this.process = spawn(process.execPath, [program, ...words]);
    this.process.stderr.pipe(process.stderr);
    let rest = "";
    this.process.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      this.events.push(...lines.map((line) => JSON.parse(line) as LabEvent));
    });
    this.ended = new Promise((resolve) => this.process.once("close", resolve));
  }

  async event(name: string): Promise<LabEvent> {
    await until(`the shop says ${name}`, () => this.events.some((event) => event.event === name || event.event === "failed"), waitMs);
    const failed = this.events.find((event) => event.event === "failed");
    if (failed !== undefined && name !== "failed") throw new Error(`the shop failed: ${String(failed.text)}`);
    return this.events.find((event) => event.event === name)!;
  }

  say(command: object): void {
    this.process.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** Ids of all processes below it. */
  family(): number[] {
    const parents = new Map<number, number>();
    for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
      const parent = statusOf(Number(name)).match(/^PPid:\s+(\d+)/m)?.[1];
      if (parent !== undefined) parents.set(Number(name), Number(parent));
    }
    const found = new Set([this.process.pid!]);
    for (let round = 0; round < 5; round += 1) for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
    return [...found];
  }
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "";
  }
}

const running = (pids: readonly number[]): number[] => pids.filter((pid) => /^State:\s+[^ZX]/m.test(statusOf(pid)));

/** As a process's environment has it. */
function identityOf(pid: number): { name: string; attributes: string } {
  const lines = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  const value = (name: string): string => lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
  return { name: value("OTEL_SERVICE_NAME"), attributes: value("OTEL_RESOURCE_ATTRIBUTES") };
}

/** An address as `/proc/net/tcp` writes it on machines of our byte order. */
function hexOf(address: string): string {
  const parts = address.split(".").reverse();
  return parts.map((part) => Number(part).toString(16).padStart(2, "0").toUpperCase()).join("");
}

const machine = await openMachine();
await machine.close();
const skipReason = machine.groups === null || machine.firewall === null ? machine.missing.join("; ") : null;
if (skipReason !== null) process.stdout.write(`test/lab/shop.test.ts: ${skipReason}\n`);

let sink: OtlpSink;
let folder = "";
let lab: RunningLab | null = null;

function start(options: readonly string[] = []): RunningLab {
  if (!existsSync(program)) throw new Error(`${program} is missing: build first (npm run build)`);
  lab = new RunningLab(["--otlp", sink.url, "--changes", `${sink.url}/v1/changes`, ...options]);
  return lab;
}

beforeEach(async () => {
  sink = await OtlpSink.start();
  folder = mkdtempSync(join(tmpdir(), "lab-test-"));
});

afterEach(async () => {
  lab?.process.stdin.end();
  await lab?.ended;
  lab = null;
  await sink.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("the shop as a program", { timeout: waitMs * 2 }, () => {
  it("reports by OpenTelemetry, breaks as told, recovers, and leaves nothing behind", async () => {
    const truthFile = join(folder, "truth.jsonl");
    const shop = start(["--seed", "5", "--namespace", "lab", "--truth", truthFile]);
    const ready = await shop.event("ready");
    const services = (ready.services as string[]).map((id) => id.replace("lab/", ""));
    expect(services).toHaveLength(6);
    shop.say({ command: "cycle", fault: "crash", cycle: 2, settleSeconds: 1, durationSeconds: 4 });
    const begins = await shop.event("fault-begins");
    expect(begins).toEqual({ event: "fault-begins", cycle: 2, fault: "crash", atMs: expect.any(Number) });
    const healthy = [...sink.spans];
    const ends = await shop.event("fault-ends");
    const recovered = await shop.event("recovered");
    expect(recovered).toMatchObject({ cycle: 2, healthy: "yes" });

    const lines = readFileSync(truthFile, "utf8").trim().split("\n");
    const [first, last] = lines.map((line) => JSON.parse(line));
    expect(first).toMatchObject({ cycle: 2, fault: "crash", fromMs: begins.atMs, toMs: null });
    expect(last).toEqual({ ...first, toMs: ends.atMs });
    expect(last.truth).toEqual([{ type: "entity", id: last.victim, kind: "crash" }]);
    expect(JSON.stringify(shop.events)).not.toContain(`"victim"`);

    const victim = String(last.victim).replace("lab/", "");
    const served = sink.spans.filter((span) => span.service === victim && span.kind === 2);
    const [fromMs, toMs] = [Number(begins.atMs), Number(ends.atMs)];
    expect(served.some((span) => span.startMs < fromMs)).toBe(true);
    expect(served.filter((span) => span.startMs > fromMs + 200 && span.startMs < toMs)).toEqual([]);
    await until(
      "spans come after the fault",
      () => sink.spans.some((span) => span.service === victim && span.kind === 2 && span.startMs > toMs),
      5_000,
    );
    const entry = String(last.entry).replace("lab/", "");
    const asked = sink.spans.filter(
      (span) => span.service === entry && span.kind === 2 && span.startMs > fromMs + 200 && span.startMs < toMs - 500,
    );
    expect(asked.filter((span) => span.failed).length).toBeGreaterThan(asked.length * 0.7);
    expect(asked.find((span) => span.failed)!.exceptions).toBe(1);
    expect(sink.lines.some((line) => line.severity === "ERROR" && line.service === entry && line.traceId !== "")).toBe(true);

    expectTraces(healthy, { services, entries: (ready.entries as string[]).map((id) => id.replace("lab/", "")) });
    expectMetricsAndChanges(services, String(last.victim));

    const family = shop.family();
    expect(family.length).toBeGreaterThan(services.length + 2);
    shop.say({ command: "quit" });
    expect(await shop.ended).toBe(0);
    await until("no process of the shop runs", () => running(family).length === 0, 5_000);
  });

  it("runs quietly on what the lab has itself and without rights, refuses nonsense, and ends with its parent", async () => {
    const shop = start(["--seed", "4", "--datastores", "own", "--rights", "none"]);
    const ready = await shop.event("ready");
    expect(ready.datastores).toBe("embedded-postgres+lab-cache");
    expect(shop.events.filter((event) => event.event === "progress").map((event) => event.text)).toContain(
      "started the lab's own cache service instead of Redis",
    );
    shop.say({ command: "cycle", fault: "fire", cycle: 1 });
    expect((await shop.event("refused")).text).toContain(`"fault" must be one of`);
    shop.say({ command: "cycle", fault: "refused", cycle: 2, settleSeconds: 0 });
    await until("the shop refuses", () => shop.events.some((event) => event.cycle === 2), 5_000);
    expect(shop.events.at(-1)).toEqual({ event: "refused", cycle: 2, text: "this fault needs root: the lab was told to do without" });
    shop.say({ command: "quiet", minutes: 0.05 });
    const quiet = await shop.event("quiet-ends");
    expect(quiet.requests).toBeGreaterThan(10);
    expect(quiet.dropped).toBe(0);
    // None on an idle machine; one that stands still for seconds lets a few run into their timeouts.
    expect(quiet.failed).toBeLessThan(Number(quiet.requests) * 0.1);
    const systems = new Set(sink.spans.map((span) => span.attributes["db.system.name"]).filter((system) => system !== undefined));
    expect([...systems].sort()).toEqual(["postgresql", "redis"]);
    const family = shop.family();
    shop.process.kill("SIGKILL");
    await until("no process of the shop runs", () => running(family).length === 0, 10_000);
  });

  it.skipIf(skipReason !== null)("says nothing of itself when only the kernel is to tell, and who it is to the kernel", async () => {
    const shop = start(["--seed", "5", "--namespace", "lab", "--telemetry", "kernel"]);
    const ready = await shop.event("ready");
    const services = (ready.services as string[]).map((id) => id.replace("lab/", ""));
    const group = String(ready.cgroup);
    expect(group).toBe(`/headwater-lab-${shop.process.pid}`);
    const environments = shop.family().map((pid) => ({ pid, ...identityOf(pid) }));
    for (const name of services) {
      const [found, ...others] = environments.filter((one) => one.name === name);
      expect(others).toEqual([]);
      expect(found!.attributes).toMatch(/^service\.namespace=lab,service\.version=\d+\.\d+\.\d+,service\.instance\.id=[0-9a-f-]{36}$/);
      expect(readFileSync(`/proc/${found!.pid}/cgroup`, "utf8")).toContain(`0::${group}/${name}\n`);
    }
    const spec = drawShop({ seed: 5, namespace: "lab" });
    await until(
      "a service is called from another's address",
      () => {
        const connections = readFileSync("/proc/net/tcp", "utf8");
        return edgesOf(spec).some(({ caller, callee }) => {
          const [from, to] = [caller, callee].map((name) => hexOf(addressOf(spec, name, shop.process.pid)));
          return new RegExp(`${from}:\\w+ ${to}:\\w+ 01 `).test(connections);
        });
      },
      10_000,
    );
    shop.say({ command: "cycle", fault: "slow-dependency", cycle: 1, settleSeconds: 3, durationSeconds: 4 });
    const ends = await shop.event("fault-ends");
    const felt = ends.felt as { requests: number; failed: number; p95Ms: number; usualP95Ms: number };
    expect(felt.p95Ms > 2 * felt.usualP95Ms || felt.failed > 0).toBe(true);
    expect(await shop.event("recovered")).toMatchObject({ healthy: "yes" });
    expect([...sink.spans, ...sink.lines, ...sink.metrics]).toEqual([]);
    expect(sink.changes.length).toBeGreaterThan(0);
    shop.say({ command: "quit" });
    expect(await shop.ended).toBe(0);
    const left = groupFolders(findHierarchies(), group.slice(1)).filter((folder) => existsSync(folder));
    expect(left).toEqual([]);
    expect(execFileSync("nft", ["list", "tables"]).toString()).not.toContain(tableOf(shop.process.pid!));
  });

  it("says what is wrong with its arguments", async () => {
    expect(await start(["--seed", "x"]).ended).toBe(2);
    expect(await start(["--seed", "1", "--telemetry", "bpf"]).ended).toBe(2);
  });

  it("fails with a reason when a server it was told to use is not there", async () => {
    const shop = start(["--seed", "4", "--postgres", "postgres://postgres@127.0.0.1:1/postgres"]);
    expect(await shop.event("failed")).toMatchObject({ code: "LAB_FAILED", text: expect.stringContaining("ECONNREFUSED") });
    expect(await shop.ended).toBe(1);
  });
});

/** Every service serves; only entries have no parent; all others have a client span of another service as theirs. */
function expectTraces(spans: OtlpSink["spans"], shop: { services: string[]; entries: string[] }): void {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const server = spans.filter((span) => span.kind === 2);
  expect(new Set(server.map((span) => span.service)).size).toBeGreaterThanOrEqual(shop.services.length - 1);
  expect(new Set(server.filter((span) => span.parentSpanId === "").map((span) => span.service))).toEqual(new Set(shop.entries));
  const inner = server.filter((span) => span.parentSpanId !== "" && byId.has(span.parentSpanId));
  expect(inner.length).toBeGreaterThan(20);
  for (const span of inner) {
    const parent = byId.get(span.parentSpanId)!;
    expect(parent).toMatchObject({ kind: 3, traceId: span.traceId });
    expect(parent.service).not.toBe(span.service);
    expect(parent.attributes).toMatchObject({ "server.address": expect.stringMatching(/^127\./), "server.port": expect.any(Number) });
  }
  const well = server.filter((span) => span.attributes["http.response.status_code"] === 200 && !span.failed);
  expect(well.length).toBeGreaterThan(server.length * 0.9);
  const statements = spans.filter((span) => span.attributes["db.system.name"] === "postgresql");
  expect(statements.length).toBeGreaterThan(10);
  expect(statements.every((span) => ["SELECT", "UPDATE"].includes(String(span.attributes["db.operation.name"])))).toBe(true);
}

function expectMetricsAndChanges(services: string[], victim: string): void {
  const process = ["process.cpu.utilization", "process.memory.usage", "nodejs.eventloop.delay.p99", "process.uptime"];
  const pool = ["db.client.connection.count", "db.client.connection.pending_requests", "db.client.connection.max"];
  for (const service of services) expect([...sink.metrics.get(service)!]).toEqual(expect.arrayContaining(process));
  const pooled = services.filter((service) => pool.every((name) => sink.metrics.get(service)!.has(name)));
  expect(pooled.length).toBeGreaterThanOrEqual(3);
  expect(services.filter((service) => sink.metrics.get(service)!.has("http.server.request.duration")).length).toBeGreaterThan(4);
  expect(sink.contentTypes).toContain("/v1/traces application/x-protobuf");
  expect(sink.contentTypes).toContain("/v1/changes application/cloudevents+json");
  const deploys = sink.changes.filter((change) => change.type === "headwater.change.deploy");
  expect(deploys.length).toBeGreaterThan(0);
  for (const change of deploys) {
    expect(change).toMatchObject({ specversion: "1.0", datacontenttype: "application/json", id: expect.stringMatching(/^[0-9a-f]{16}$/) });
    expect(change.subject).not.toBe(victim);
    expect(services).toContain(String(change.subject).replace("lab/", ""));
    const { version } = sink.spans.filter((span) => span.service === String(change.subject).replace("lab/", "")).at(-1)!;
    expect((change.data as { summary: string }).summary.endsWith(` to ${version}`)).toBe(true);
  }
}

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CgroupFiles } from "../../../services/agent/cgroup-files.ts";
import { parseCgroups } from "../../../services/agent/cgroup-path.ts";
import { CounterDeltas } from "../../../services/agent/counter-delta.ts";
import type { BlockCounter, ScheduleCounter, SyscallCounter } from "../../../services/agent/decode-counters.ts";
import { HostSignals, readInterfaceNames } from "../../../services/agent/host-signals.ts";
import { IdentityBook } from "../../../services/agent/identity.ts";
import { MetricSums } from "../../../services/agent/metric-sums.ts";
import type { Metric } from "../../../services/agent/otlp-item.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { ProcessSignals } from "../../../services/agent/process-signals.ts";
import { syscallNumber } from "../../../services/agent/syscall-names.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { makeProc } from "./agent-world.ts";

const folder = useTemporaryFolder();
const hostOwner = { key: "host", resource: { "host.name": "h" } };

function sumsOf(counted: string[] = [], pointsMax = 1_000): MetricSums {
  return new MetricSums({ pointsMax, onCounted: (what) => counted.push(what) });
}

/** `name attributes` → value, for numbers; → `count/sum` for histograms. */
function values(sums: MetricSums, service?: string): Record<string, unknown> {
  const resources = sums.metrics().filter(({ resource }) => resource["service.name"] === service);
  const rows = (metric: Metric): [string, unknown][] =>
    metric.kind === "histogram"
      ? metric.points.map((point) => [`${metric.name} ${Object.values(point.attributes)}`.trim(), `${point.count}/${point.sum}`])
      : metric.points.map((point) => [`${metric.name} ${Object.values(point.attributes)}`.trim(), point.value]);
  return Object.fromEntries(resources.flatMap(({ items }) => items.flatMap(rows)));
}

function signals(changed: { processesReadMax?: number; syscallScale?: number } = {}) {
  const counted: string[] = [];
  const files = new ProcessFiles(join(folder.path, "proc"));
  const book = { host: "h", cgroups: [], selfTgid: 1, processesMax: 100, readsPerSecondMax: 100, onCounted: () => undefined };
  const identities = new IdentityBook({ files, ...book });
  const processes = new ProcessSignals({
    ...{ identities, processes: files, cgroups: new CgroupFiles(join(folder.path, "cgroup")), hostOwner },
    ...{ processesReadMax: 100, syscallsPerServiceMax: 2, syscallScale: 1, ...changed },
    onCounted: (what) => counted.push(what),
  });
  return { processes, identities, counted };
}

function buckets(place: number, count: number): Float64Array {
  const list = new Float64Array(36);
  list[place] = count;
  return list;
}

const cart = { OTEL_SERVICE_NAME: "cart" };

describe("differences of counters", () => {
  it("begin with the second reading, at 0 for what is new, and anew for what shrank", () => {
    const deltas = new CounterDeltas<{ count: number }>();
    const read = (atMs: number, rows: Record<string, number>): string[] => {
      const found: string[] = [];
      const of = { atMs, key: ([key]: [string, number]) => key, counters: ([, count]: [string, number]) => ({ count }) };
      deltas.read(Object.entries(rows), of, ([key], { counters, elapsedMs }) => found.push(`${key} ${counters.count} in ${elapsedMs}`));
      return found;
    };
    expect(read(1_000, { a: 100 })).toEqual([]);
    expect(read(2_000, { a: 130, b: 7 })).toEqual(["a 30 in 1000", "b 7 in 1000"]);
    expect(read(3_000, { a: 130, b: 2 })).toEqual(["b 2 in 1000"]);
    expect(read(4_000, {})).toEqual([]);
    expect(deltas.size).toBe(0);
  });

  it("take the last words of what is no more, and begin at 0 when it comes back", () => {
    const deltas = new CounterDeltas<{ count: number }>();
    const read = (atMs: number, rows: Record<string, number>, what: "all" | "gone" = "all"): string[] => {
      const found: string[] = [];
      const of = { atMs, rows: what, key: ([key]: [string, number]) => key, counters: ([, count]: [string, number]) => ({ count }) };
      deltas.read(Object.entries(rows), of, ([key], { counters }) => found.push(`${key} ${counters.count}`));
      return found;
    };
    expect(read(1_000, { a: 100, b: 5 })).toEqual([]);
    expect(read(1_001, { a: 103 }, "gone")).toEqual(["a 3"]);
    expect(read(2_000, { a: 400, b: 5 })).toEqual(["a 400"]);
  });
});

describe("signals of processes", () => {
  it("are processor time and waiting of all processes of a service, as shares of the time between two readings", () => {
    makeProc(join(folder.path, "proc"), [
      { pid: 10, command: "node", environment: cart },
      { pid: 11, command: "node", environment: cart, parent: 10 },
      { pid: 12, command: "stranger" },
    ]);
    const { processes } = signals();
    const row = (tgid: number, runNs: number, waitNs: number): ScheduleCounter => ({
      ...{ cgroup: 1n, tgid, runNs, waitNs, waitCount: 0, switches: 0, ioWaitNs: 0, ioWaitCount: 0, waitBuckets: new Float64Array(36) },
    });
    const sums = sumsOf();
    processes.schedules([row(10, 0, 0), row(11, 0, 0), row(12, 0, 0)], { atMs: 1_000, atNs: 1 }, sums);
    processes.schedules([row(10, 2e8, 1e8), row(11, 3e8, 0), row(12, 9e8, 9e8)], { atMs: 2_000, atNs: 2 }, sums);
    expect(values(sums, "cart")).toEqual({ "process.cpu.utilization": 0.5, "kernel.cpu.wait.utilization": 0.1 });
    processes.schedules([row(10, 3e8, 1e8), row(11, 3e8, 0)], { atMs: 3_000, atNs: 3 }, sums);
    expect(values(sums, "cart")).toEqual({ "process.cpu.utilization": 0.3, "kernel.cpu.wait.utilization": 0.05 });
  });

  it("are system calls by name, the rarer ones together, scaled where they are sampled", () => {
    makeProc(join(folder.path, "proc"), [{ pid: 10, command: "node", environment: cart }]);
    const { processes } = signals({ syscallScale: 10 });
    const row = (name: string, count: number): SyscallCounter => {
      return { tgid: 10, number: syscallNumber(name) ?? 0, cgroup: 1n, count, errors: 1, sumNs: count * 1_000, buckets: buckets(9, count) };
    };
    const sums = sumsOf();
    processes.syscalls([], { atMs: 1_000, atNs: 1 }, sums);
    processes.syscalls([row("read", 5), row("write", 6), row("futex", 7), row("openat", 8)], { atMs: 2_000, atNs: 2 }, sums);
    expect(values(sums, "cart")).toMatchObject({
      "kernel.syscall.count read": 50,
      "kernel.syscall.count write": 60,
      "kernel.syscall.count other": 150,
      "kernel.syscall.errors other": 20,
      "kernel.syscall.duration read": "50/0.00005",
    });
  });

  it("are memory, threads, files, throttling of either hierarchy, and block devices by group", () => {
    const root = join(folder.path, "cgroup");
    for (const path of ["unified/shop/cart", "cpu/cart", "blkio/cart"]) mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, "unified/cgroup.controllers"), "");
    const throttle = (ns: number) => writeFileSync(join(root, "cpu/cart/cpu.stat"), `nr_periods 1\nthrottled_time ${ns}\n`);
    const cgroup = "3:cpu:/cart\n2:blkio:/cart\n0::/shop/cart\n";
    makeProc(join(folder.path, "proc"), [
      { pid: 10, command: "node", environment: cart, cgroup },
      { pid: 11, command: "node", environment: cart, cgroup, parent: 10 },
    ]);
    const { processes, identities } = signals();
    for (const pid of [10, 11]) identities.of(pid, 5n, 0);
    throttle(1e9);
    processes.files(1_000, sumsOf());
    throttle(1.25e9);
    const sums = sumsOf();
    processes.files(2_000, sums);
    const files = new CgroupFiles(root);
    const id = files.id("blkio", parseCgroups(cgroup)) ?? 0n;
    expect(files.idsBelow(["/shop"], 10)).toContain(files.id("v2", parseCgroups(cgroup)));
    const block = (bytes: number, group: bigint): BlockCounter => ({
      ...{ cgroup: group, hierarchy: "blkio", major: 8, minor: 0, operation: "write", count: 2, errors: 0, bytes, sumNs: 4e6 },
      buckets: buckets(21, 2),
    });
    processes.blocks([], { atMs: 1_000, atNs: 1 }, sums);
    processes.blocks([block(8_192, id), block(100, 0n)], { atMs: 2_000, atNs: 2 }, sums);
    expect(values(sums, "cart")).toEqual({
      "process.memory.usage": 2 * 500 * 4_096,
      "process.thread.count": 14,
      "process.open_file_descriptor.count": 6,
      "kernel.cpu.throttled.utilization": 0.25,
      "process.disk.io write": 8_192,
      "kernel.disk.io.duration write": "2/0.004",
    });
    expect(values(sums)).toMatchObject({ "process.disk.io write": 100 });
  });

  it("reads no more processes than its bound, counted, and knows throttling of the unified hierarchy", () => {
    const root = join(folder.path, "cgroup");
    mkdirSync(join(root, "cart"), { recursive: true });
    writeFileSync(join(root, "cgroup.controllers"), "cpu");
    writeFileSync(join(root, "cart/cpu.stat"), "usage_usec 5\nthrottled_usec 77\n");
    expect(new CgroupFiles(root).throttledNs(parseCgroups("0::/cart\n"))).toBe(77_000);
    expect(new CgroupFiles(root).throttledNs(parseCgroups("0::/../cart\n"))).toBeNull();
    makeProc(
      join(folder.path, "proc"),
      [10, 11, 12].map((pid) => ({ pid, command: "node", environment: cart })),
    );
    const { processes, identities, counted } = signals({ processesReadMax: 1 });
    for (const pid of [10, 11, 12]) identities.of(pid, 0n, 0);
    processes.files(1_000, sumsOf());
    expect(counted).toEqual(["processes-not-read", "processes-not-read"]);
  });
});

describe("signals of a host", () => {
  it("are packets and bytes by interface and direction, and drops by reason", () => {
    const host = new HostSignals({
      owner: hostOwner,
      dropReasons: new Map([[2, "no_socket"]]),
      interfaceNames: () => ({ netns: 1, names: new Map([[3, "eth0"]]) }),
    });
    const row = (netns: number, index: number, by: number) => {
      return { netns, interface: index, packetsReceived: by, bytesReceived: by * 100, packetsSent: by * 2, bytesSent: by * 200 };
    };
    const sums = sumsOf();
    host.interfaces([row(1, 3, 5), row(9, 2, 5)], { atMs: 1_000, atNs: 1 }, sums);
    host.interfaces([row(1, 3, 7), row(9, 2, 6)], { atMs: 2_000, atNs: 2 }, sums);
    host.drops([], { atMs: 1_000, atNs: 1 }, sums);
    host.drops(
      [
        { reason: 2, netns: 1, count: 4 },
        { reason: 3, netns: 1, count: 1 },
      ],
      { atMs: 2_000, atNs: 2 },
      sums,
    );
    expect(values(sums)).toMatchObject({
      "system.network.packet.count eth0,receive": 2,
      "system.network.io eth0,transmit": 400,
      "system.network.packet.count netns-9:2,transmit": 2,
      "system.network.packet.dropped no_socket": 4,
      "system.network.packet.dropped reason-3": 1,
    });
  });

  it("names this machine's own interfaces", () => {
    const { netns, names } = readInterfaceNames();
    expect(netns).toBeGreaterThan(0);
    expect([...names.values()]).toContain("lo");
    expect(readInterfaceNames({ net: "/no/such", namespace: "/no/such" }).names.size).toBe(0);
  });
});

describe("sums of metrics", () => {
  it("are bounded in points, counted, and keep what they have", () => {
    const counted: string[] = [];
    const sums = sumsOf(counted, 3);
    for (const name of ["a", "b", "c", "d", "a"]) sums.add({ owner: hostOwner, name, unit: "1", attributes: {} }, 1);
    expect(values(sums)).toEqual({ a: 2, b: 1, c: 1 });
    expect(counted).toEqual(["points-refused"]);
  });
});

import { describe, expect, it } from "vitest";
import type { EvidenceSnapshot, SnapshotOperation, SnapshotSeries, SpanStatistics } from "../../contract/evidence.ts";
import { EvidenceSnapshot as EvidenceSnapshotSchema } from "../../contract/evidence.ts";
import { isFromKernel } from "../../contract/kernel-telemetry.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import type { Statistic } from "../../contract/series.ts";
import { RankResult } from "../../contract/verdict.ts";
import { rankCauses } from "../../graph/rank-causes.ts";

const normal = { fromMs: 0, toMs: 58_000 };
const fault = { fromMs: 60_000, toMs: 80_000 };

interface Told {
  readonly entity: string;
  readonly metric: string;
  readonly statistic?: Statistic;
  readonly attributes?: string;
  readonly before: number;
  readonly after: number;
}

/** One sample a second, with a little noise. */
function series({ entity, metric, statistic = "value", attributes = "", before, after }: Told): SnapshotSeries {
  const { kind, scope, unit } = metricKind(metric, statistic);
  const atMs = Array.from({ length: 80 }, (_, second) => second * 1_000);
  const level = (at: number): number => (at < fault.fromMs ? before : after);
  return {
    ...{ id: `series:${entity}|${metric}|${statistic}|${attributes}`, entity, metric, statistic, attributes, kind, scope, unit, atMs },
    values: atMs.map((at, index) => level(at) * (1 + 0.02 * Math.sin(index * 1.7))),
    ...(isFromKernel({ metric, attributes }) ? { source: "kernel" as const } : {}),
  };
}

const statistics = (count: number, failed: number, p50Ns: number, failedAtOrigin = 0): SpanStatistics => ({
  ...{ count, failed, failedAtOrigin, p50Ns, p95Ns: p50Ns * 1.5, selfP50Ns: null, selfP95Ns: null },
});

function operation(entity: string, of: { callee?: string; normal: SpanStatistics; abnormal: SpanStatistics }): SnapshotOperation {
  const side = of.callee === undefined ? "server" : "client";
  const name = of.callee === undefined ? "GET /" : `${of.callee}:80`;
  const id = side === "client" ? `operation:${entity}|client||${name}` : `operation:${entity}|server|${name}|`;
  const { normal: before, abnormal } = of;
  return {
    id,
    entity,
    operation: name,
    side,
    callee: of.callee ?? null,
    normal: before,
    abnormal,
    examples: [],
    exception: null,
    source: "kernel",
  };
}

function snapshot(more: Partial<EvidenceSnapshot>): EvidenceSnapshot {
  const services = ["web", "cart", "mail"].map((id) => ({
    id,
    type: "service" as const,
    alias: null,
    host: "host/one",
    zone: null,
    entry: id === "web",
  }));
  const call = (source: string, target: string) => ({
    id: `${source}>${target}`,
    source,
    target,
    protocol: "http",
    validFromMs: null,
    validToMs: null,
    confidence: 1,
  });
  return EvidenceSnapshotSchema.parse({
    ...{ schemaVersion: 1, windowMs: 1_000, normal, fault, symptoms: [{ entity: "web", metric: "latency", atMs: fault.fromMs }] },
    ...{ entities: [...services, { id: "host/one", type: "host", alias: null, host: null, zone: null, entry: false }] },
    ...{ dependencies: [call("web", "cart"), call("web", "mail")], series: [], operations: [], templates: [], invocations: [] },
    ...{ events: [], changes: [], blindSpots: [] },
    ...more,
  });
}

const ranked = (more: Partial<EvidenceSnapshot>) => RankResult.parse(rankCauses(snapshot(more)));

describe("requests that only the kernel saw", () => {
  const calls = (target: string, of: { slow?: number; failed?: number; origin?: number }) =>
    operation("web", {
      callee: target,
      normal: statistics(600, 0, 5e6),
      abnormal: statistics(200, of.failed ?? 0, of.slow ?? 5e6, of.origin ?? 0),
    });
  const served = (id: string, of: { slow?: number; failed?: number; origin?: number }) =>
    operation(id, { normal: statistics(600, 0, 4e6), abnormal: statistics(200, of.failed ?? 0, of.slow ?? 4e6, of.origin ?? 0) });

  it("blame the callee whose own time rose, and every claim of it says who saw it", () => {
    const operations = [
      served("web", { slow: 210e6 }),
      calls("cart", { slow: 205e6 }),
      calls("mail", {}),
      served("cart", { slow: 200e6 }),
      served("mail", {}),
    ];
    const [first] = ranked({ operations }).ranking;
    expect(first).toMatchObject({ id: "cart", type: "entity" });
    expect(first?.claims.filter(({ stance }) => stance === "for").map(({ source }) => source)).toEqual(["kernel"]);
  });

  it("blame the way between where the caller waits and the callee answers as ever", () => {
    const operations = [
      served("web", { slow: 210e6 }),
      calls("cart", { slow: 205e6 }),
      calls("mail", {}),
      served("cart", {}),
      served("mail", {}),
    ];
    const [first, second] = ranked({ operations }).ranking;
    expect([first?.id, second?.id].sort()).toEqual(["cart", "web>cart"]);
    expect(first?.kind).toBe("network");
    expect(first?.claims[0]).toMatchObject({ source: "kernel", text: expect.stringContaining("which its answers do not explain") });
  });

  it("blame the entity whose failures its own calls do not explain", () => {
    const operations = [
      ...[served("web", { failed: 100 }), calls("cart", { failed: 100 }), calls("mail", {})],
      ...[served("cart", { failed: 100, origin: 100 }), served("mail", {})],
    ];
    const [first] = ranked({ operations }).ranking;
    expect(first).toMatchObject({ id: "cart", kind: "code-error" });
    expect(first?.claims[0]?.source).toBe("kernel");
  });
});

describe("waiting for a processor", () => {
  const wait = (entity: string, after: number) => series({ entity, metric: "kernel.cpu.wait.utilization", before: 0.02, after });
  const cpu = (entity: string, after: number) =>
    series({ entity, metric: "process.cpu.utilization", attributes: "source=kernel", before: 0.1, after });

  it("is the entity's own where nobody beside it takes more", () => {
    const [first] = ranked({ series: [wait("cart", 0.6), wait("mail", 0.02), cpu("mail", 0.1), cpu("cart", 0.1)] }).ranking;
    expect(first).toMatchObject({ id: "cart", kind: "cpu" });
    expect(first?.claims[0]?.text).toMatch(/^waited for a processor 60 % of the time instead of 2/);
  });

  it("speaks of the neighbour that takes what the others lack", () => {
    const [first, ...others] = ranked({
      series: [wait("cart", 0.6), wait("web", 0.5), wait("mail", 0.3), cpu("mail", 1.6), cpu("cart", 0.1), cpu("web", 0.1)],
    }).ranking.filter(({ type }) => type === "entity");
    expect(first?.id).toBe("mail");
    expect(first?.claims.some(({ text }) => /cart, web on its host wait for a processor/.test(text))).toBe(true);
    expect(others.find(({ id }) => id === "cart")?.claims[0]?.text).toMatch(/while mail on its host takes more$/);
  });
});

describe("connections", () => {
  const retransmits = (target: string, after: number) =>
    series({
      entity: `web>${target}`,
      metric: "kernel.tcp.retransmits",
      statistic: "rate",
      attributes: `peer=${target}:80`,
      before: 0,
      after,
    });

  it("that lose packets on one way speak of that way", () => {
    const [first] = ranked({ series: [retransmits("cart", 40), retransmits("mail", 0)] }).ranking;
    expect(first).toMatchObject({ id: "web>cart", type: "dependency", kind: "network" });
    expect(first?.claims[0]).toMatchObject({
      source: "kernel",
      text: expect.stringMatching(/^kernel.tcp.retransmits of the connections from web to cart rose from 0\/s to 40/),
    });
  });

  it("that are refused speak of who refuses", () => {
    const failed = series({
      entity: "web>cart",
      metric: "kernel.tcp.connections.failed",
      statistic: "rate",
      attributes: "peer=cart:80",
      before: 0,
      after: 20,
    });
    expect(ranked({ series: [failed] }).ranking[0]).toMatchObject({ id: "cart", type: "entity", kind: "crash" });
  });

  it("that appear in the fault for the first time began from nothing", () => {
    const all = retransmits("cart", 40);
    const late = { ...all, atMs: all.atMs.slice(60), values: all.values.slice(60) };
    expect(ranked({ series: [late] })).toMatchObject({ conclusion: "cause", ranking: [{ id: "web>cart" }, {}, {}, {}, {}, {}] });
  });
});

describe("system calls", () => {
  it("that fail more often speak of the entity, unless they wait for others", () => {
    const errors = (entity: string, call: string) =>
      series({ entity, metric: "kernel.syscall.errors", statistic: "rate", attributes: `syscall=${call}`, before: 1, after: 200 });
    const [first, ...others] = ranked({ series: [errors("cart", "openat"), errors("mail", "connect"), errors("web", "recvfrom")] }).ranking;
    expect(first).toMatchObject({ id: "cart", kind: "disk" });
    expect(others.flatMap(({ claims }) => claims.filter(({ stance }) => stance === "for"))).toEqual([]);
  });
});

describe("processes that end", () => {
  const template = (id: string, severity: "ERROR" | "INFO", text: string, counts: [normal: number, abnormal: number]) => ({
    ...{ id: `template:${id}|1`, entity: id, text, severity, normalCount: counts[0], abnormalCount: counts[1] },
    ...{ firstSeenMs: fault.fromMs + 1_000, source: "kernel" as const },
  });

  it("are a crash, killed for lack of memory are that, and neither where it was always so or in order", () => {
    const exit = ranked({ templates: [template("cart", "ERROR", "headwater.process.exit: node by signal <number>", [0, 1])] }).ranking[0];
    expect(exit).toMatchObject({ id: "cart", kind: "crash", claims: [{ source: "kernel" }] });
    const killed = ranked({ templates: [template("cart", "ERROR", "headwater.process.oom_kill: node", [0, 1])] }).ranking[0];
    expect(killed).toMatchObject({ id: "cart", kind: "memory" });
    expect(killed?.claims[0]?.text).toBe("was killed for lack of memory 1 times (before: 0)");
    for (const usual of [
      template("cart", "ERROR", "headwater.process.exit: worker", [60, 20]),
      template("cart", "INFO", "headwater.process.exit: node", [0, 1]),
    ]) {
      expect(ranked({ templates: [usual] }).ranking[0]?.kind).not.toBe("crash");
    }
  });
});

it("a process that merely stops doing I/O has not fallen silent, while others of its kind go on", () => {
  const io = (entity: string, statistic: Statistic) =>
    series({ entity, metric: "kernel.disk.io.duration", statistic, attributes: "disk.io.direction=read", before: 1, after: 1 });
  const stopped = (all: SnapshotSeries) => ({ ...all, atMs: all.atMs.slice(0, 60), values: all.values.slice(0, 60) });
  const memory = series({ entity: "cart", metric: "process.memory.usage", attributes: "source=kernel", before: 1e8, after: 1e8 });
  const statistics = ["p50", "p95", "p99", "mean"] as const;
  const reads = [...statistics.map((statistic) => stopped(io("cart", statistic))), ...statistics.map((statistic) => io("mail", statistic))];
  const kindOf = (all: SnapshotSeries[]) => ranked({ series: all }).ranking.find(({ id }) => id === "cart")?.kind ?? null;
  expect(kindOf([memory, ...reads])).toBeNull();
  const others = series({ entity: "mail", metric: "process.memory.usage", attributes: "source=kernel", before: 1e8, after: 1e8 });
  expect(kindOf([stopped(memory), others, ...reads])).toBe("crash");
});

describe("the only host that there is", () => {
  const wait = (entity: string, after: number) => series({ entity, metric: "kernel.cpu.wait.utilization", before: 0.02, after });
  const throttled = (entity: string, after: number) => series({ entity, metric: "kernel.cpu.throttled.utilization", before: 0.02, after });

  it("is the cause where all on it lack the same and none of them takes it", () => {
    const [first] = ranked({ series: [wait("web", 0.6), wait("cart", 0.6), wait("mail", 0.6)] }).ranking;
    expect(first).toMatchObject({ id: "host/one", kind: "noisy-neighbour" });
  });

  it("is not where one is in trouble and drags the others along", () => {
    const all = [throttled("cart", 0.9), wait("cart", 0.9), wait("web", 0.25), wait("mail", 0.25)];
    expect(ranked({ series: all }).ranking[0]).toMatchObject({ id: "cart", kind: "cpu" });
  });
});

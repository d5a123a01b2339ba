import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { partitionOf } from "../../contract/canonical.ts";
import { kernelScope } from "../../contract/kernel-telemetry.ts";
import type { DurationPartial, HalfDependency } from "../../contract/window.ts";
import { boundedDurations } from "../../native/duration-bounds.ts";
import { bucketIndex, mergeBuckets, sortedBuckets } from "../../native/histogram.ts";
import { batchOf, nanos, receivedAtMs, spanOf, stringAttributes } from "./otlp-bodies.ts";
import { merged, partialsOf, rejectsOf, spansOf, windowStartMs } from "./reduced.ts";

const windowEndMs = windowStartMs + 10_000;

function kernelMetrics(metrics: unknown[], resource: Record<string, string> = { "service.name": "cart" }): Record<string, unknown> {
  const attributes = stringAttributes(resource);
  return { resourceMetrics: [{ resource: { attributes }, scopeMetrics: [{ scope: { name: kernelScope }, metrics }] }] };
}

function kernelSpans(spans: unknown[], service = "cart"): Record<string, unknown> {
  const attributes = stringAttributes({ "service.name": service });
  return { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ scope: { name: kernelScope }, spans }] }] };
}

interface Requests {
  readonly metric: string;
  readonly ns: readonly number[];
  readonly attributes?: Record<string, string>;
  readonly endMs?: number;
}

const histogramOf = (values: readonly number[]) => {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(bucketIndex(value), (counts.get(bucketIndex(value)) ?? 0) + 1);
  return sortedBuckets(counts);
};

/** The requests of one interval as the agent sends them. */
function requests({ metric, ns, attributes = {}, endMs = windowEndMs }: Requests): unknown {
  const dataPoints = boundedDurations(histogramOf(ns), 256).map(({ bounds, counts }) => ({
    attributes: stringAttributes(attributes),
    startTimeUnixNano: nanos(endMs - 1_000),
    timeUnixNano: nanos(endMs),
    count: String(counts.reduce((sum, count) => sum + count, 0)),
    sum: ns.reduce((sum, value) => sum + value, 0) / 1e9,
    explicitBounds: bounds,
    bucketCounts: counts.map(String),
  }));
  return { name: metric, histogram: { aggregationTemporality: 1, dataPoints } };
}

const durations = (result: ReturnType<typeof merged>): DurationPartial[] =>
  partialsOf(result).filter((partial): partial is DurationPartial => partial.kind === "duration");

describe("requests that the kernel saw", () => {
  it("become durations of served operations, the failed ones told apart, in the window that their interval ends with", () => {
    const route = { "http.request.method": "GET", "http.route": "/cart/{id}" };
    const body = kernelMetrics([
      requests({ metric: "http.server.request.duration", ns: [5_000_000, 7_000_000], attributes: route }),
      requests({ metric: "http.server.request.duration", ns: [90_000_000], attributes: { ...route, "error.type": "503" } }),
    ]);
    for (const encoding of ["protobuf", "json"] as const) {
      expect(durations(merged([batchOf("metrics", body, { encoding })]))).toEqual([
        {
          ...{ kind: "duration", entity: "cart", metric: "kernel.server.duration", attributes: "operation=GET /cart/{id}", windowStartMs },
          ...{ count: 3, failed: 1, sumNs: 102_000_000, minNs: 4_980_736, maxNs: 92_274_687 },
          buckets: histogramOf([5_000_000, 7_000_000, 90_000_000]),
        },
      ]);
    }
  });

  it("become durations of calls by the address as spans name it, and operations have the names of their protocol", () => {
    const to = { "server.address": "127.0.0.1", "server.port": "6379", "db.system.name": "redis" };
    const body = kernelMetrics([
      requests({ metric: "db.client.operation.duration", ns: [400_000], attributes: { ...to, "db.operation.name": "GET" } }),
      requests({ metric: "rpc.server.call.duration", ns: [1_000], attributes: { "rpc.method": "shop.Cart/Add" } }),
      requests({
        metric: "db.server.operation.duration",
        ns: [1_000],
        attributes: { "db.operation.name": "SELECT", "db.collection.name": "a,b" },
      }),
      requests({ metric: "http.server.request.duration", ns: [1_000] }),
    ]);
    expect(durations(merged([batchOf("metrics", body)])).map(({ metric, attributes }) => `${metric} ${attributes}`)).toEqual([
      "kernel.client.duration peer=redis@127.0.0.1:6379",
      "kernel.server.duration operation=(unnamed)",
      "kernel.server.duration operation=SELECT a;b",
      "kernel.server.duration operation=shop.Cart/Add",
    ]);
  });

  it("merge exactly, however they fell into intervals, points and batches, whatever was measured", () => {
    const duration = fc
      .oneof(fc.integer({ min: 2, max: 100 }), fc.nat(2_000_000_000), fc.nat(60_000_000_000))
      .map((ns) => Math.max(ns, 16));
    const interval = fc.record({ ns: fc.array(duration, { minLength: 1, maxLength: 30 }), failed: fc.boolean() });
    const spread = fc.array(fc.tuple(interval, fc.nat(2)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(spread, fc.nat(9), (parts, second) => {
        const metric = "http.server.request.duration";
        const metricOf = ({ ns, failed }: (typeof parts)[number][0]): unknown =>
          requests({ metric, ns, attributes: failed ? { "error.type": "500" } : {}, endMs: windowStartMs + 1_000 + second * 1_000 });
        const batches = [0, 1, 2].map((sequence) => {
          const own = parts.filter(([, batch]) => batch === sequence).map(([part]) => metricOf(part));
          return batchOf("metrics", kernelMetrics(own), { sequence });
        });
        const all = parts.flatMap(([{ ns }]) => [...ns]);
        const [whole, ...others] = durations(merged(batches));
        expect(others).toEqual([]);
        expect(whole).toMatchObject({
          count: all.length,
          sumNs: all.reduce((sum, ns) => sum + ns, 0),
          buckets: histogramOf(all),
          windowStartMs,
        });
        expect(whole?.failed).toBe(parts.reduce((sum, [{ ns, failed }]) => sum + (failed ? ns.length : 0), 0));
        expect(merged([...batches].reverse()).windows.map(({ partials }) => partials)).toEqual(
          merged(batches).windows.map(({ partials }) => partials),
        );
        expect(whole?.buckets).toEqual(parts.map(([{ ns }]) => histogramOf(ns)).reduce(mergeBuckets, []));
      }),
      { numRuns: 60 },
    );
  });

  it("are refused where no durations can be read from their bounds, and stay histograms when another scope sends them", () => {
    const point = { timeUnixNano: nanos(windowEndMs - 1), count: "1", sum: 1, explicitBounds: [-1, 1], bucketCounts: ["0", "1", "0"] };
    const metric = { name: "http.server.request.duration", histogram: { aggregationTemporality: 1, dataPoints: [point] } };
    const result = merged([batchOf("metrics", kernelMetrics([metric]))]);
    expect(rejectsOf(result)).toEqual({ "histogram-malformed": 1 });
    const other = {
      resourceMetrics: [
        {
          resource: { attributes: stringAttributes({ "service.name": "cart" }) },
          scopeMetrics: [{ scope: { name: "sdk" }, metrics: [metric] }],
        },
      ],
    };
    expect(partialsOf(merged([batchOf("metrics", other)])).map(({ kind, metric: name }) => [kind, name])).toEqual([
      ["histogram", "http.server.request.duration"],
    ]);
  });
});

describe("other metrics of the agent", () => {
  const sum = (name: string, attributes: Record<string, string>, endMs = windowEndMs) => ({
    name,
    sum: {
      aggregationTemporality: 1,
      isMonotonic: true,
      dataPoints: [
        { attributes: stringAttributes(attributes), startTimeUnixNano: nanos(endMs - 1_000), timeUnixNano: nanos(endMs), asInt: "3" },
      ],
    },
  });
  const gauge = (name: string) => ({ name, gauge: { dataPoints: [{ timeUnixNano: nanos(windowEndMs - 500), asDouble: 0.5 }] } });

  it("name the callee by its address key, keep system calls and reasons, and say who tells where the name does not", () => {
    const to = { "server.address": "10.0.0.3", "server.port": "80" };
    const body = kernelMetrics([
      sum("kernel.tcp.retransmits", to),
      sum("kernel.tcp.io", { ...to, "network.io.direction": "transmit" }),
      sum("kernel.syscall.errors", { syscall: "openat" }),
      gauge("process.cpu.utilization"),
      gauge("kernel.cpu.wait.utilization"),
    ]);
    const found = partialsOf(merged([batchOf("metrics", body)]));
    expect(found.map(({ metric, attributes, windowStartMs: startMs }) => [metric, attributes, startMs])).toEqual([
      ["kernel.syscall.errors", "syscall=openat", windowStartMs],
      ["kernel.tcp.io", "network.io.direction=transmit,peer=10.0.0.3:80", windowStartMs],
      ["kernel.tcp.retransmits", "peer=10.0.0.3:80", windowStartMs],
      ["kernel.cpu.wait.utilization", "", windowStartMs],
      ["process.cpu.utilization", "source=kernel", windowStartMs],
    ]);
  });

  it("of a resource that names a host alone belong to the host, which those on it name as theirs", () => {
    const result = merged([
      batchOf("metrics", kernelMetrics([sum("system.network.packet.dropped", { reason: "NO_SOCKET" })], { "host.name": "node-1" })),
    ]);
    expect(partialsOf(result).map(({ entity, attributes }) => [entity, attributes])).toEqual([
      ["host/node-1", "reason=NO_SOCKET,source=kernel"],
    ]);
    expect(result.dependencies[partitionOf("host/node-1")]?.observations).toMatchObject([
      { entity: "host/node-1", name: "node-1", host: "node-1", type: "host" },
    ]);
  });
});

describe("spans of the agent", () => {
  const halves = (result: ReturnType<typeof merged>): HalfDependency[] => result.dependencies.flatMap((entry) => [...entry.halves]);

  it("make halves that say so and are kept, and are no durations, because its histograms count their requests", () => {
    const result = merged([batchOf("traces", kernelSpans([spanOf({ parentSpanId: "a".repeat(16), status: { code: 2 } })]))]);
    expect(partialsOf(result)).toEqual([]);
    expect(spansOf(result)).toMatchObject([{ entity: "cart", failed: true, source: "kernel" }]);
    expect(halves(result)).toMatchObject([{ entity: "cart", side: "server", spanId: "a".repeat(16), learnedFrom: "kernel" }]);
  });

  it("take no place from those of the program", () => {
    const slow = (index: number) =>
      spanOf({
        traceId: "e".repeat(31) + String(index),
        spanId: `${index + 1}`.padStart(16, "0"),
        startTimeUnixNano: nanos(receivedAtMs - 3_000),
      });
    const own = {
      resourceSpans: [
        {
          resource: { attributes: stringAttributes({ "service.name": "cart" }) },
          scopeSpans: [{ scope: { name: "sdk" }, spans: [spanOf()] }],
        },
      ],
    };
    const result = merged([batchOf("traces", own), batchOf("traces", kernelSpans([0, 1, 2, 3].map(slow)), { sequence: 1 })], {
      slowestPerOperation: 1,
      spanSampleOneIn: 1_000_000,
    });
    expect(
      spansOf(result)
        .map(({ source, keptBecause }) => `${source} ${keptBecause}`)
        .sort(),
    ).toEqual(["kernel slow", "undefined slow"]);
    expect(spansOf(result).some((span) => "source" in span && span.source === undefined)).toBe(false);
  });
});

describe("events of the agent", () => {
  const record = (event: string, severityNumber: number, text: string) => ({
    timeUnixNano: nanos(receivedAtMs - 1_000),
    severityNumber,
    body: { stringValue: text },
    attributes: stringAttributes({ "event.name": event }),
  });

  it("are lines that begin with the event, kept with the batch that brought them, counted apart from the program's", () => {
    const attributes = stringAttributes({ "service.name": "cart" });
    const logRecords = [
      record("headwater.process.oom_kill", 17, "node (pid 4711) was killed"),
      record("headwater.connection.refused", 13, "10.0.0.3:80"),
    ];
    const body = { resourceLogs: [{ resource: { attributes }, scopeLogs: [{ scope: { name: kernelScope }, logRecords }] }] };
    const entry = merged([batchOf("logs", body, { sequence: 7 })]).windows[partitionOf("cart")];
    expect(entry?.lines.map(({ body: text, batch }) => [text, batch]).sort()).toEqual([
      ["headwater.connection.refused: 10.0.0.3:80", "test-7"],
      ["headwater.process.oom_kill: node (pid 4711) was killed", "test-7"],
    ]);
    expect(entry?.shapes.map(({ text }) => text).sort()).toEqual([
      "headwater.connection.refused: <address>",
      "headwater.process.oom_kill: node (pid <number>) was killed",
    ]);
    expect(entry?.partials.map(({ attributes: key }) => key)).toEqual(["severity=ERROR,source=kernel", "severity=WARN,source=kernel"]);
  });

  it("that a process was asked to end for are no warnings", () => {
    const exit = (code: string, signal: string) => ({
      ...record("headwater.process.exit", 13, `code ${code} signal ${signal}`),
      attributes: stringAttributes({ "event.name": "headwater.process.exit", "process.exit.code": code, "process.exit.signal": signal }),
    });
    const attributes = stringAttributes({ "service.name": "cart" });
    const logRecords = [
      exit("0", "0"),
      exit("143", "0"),
      exit("0", "15"),
      exit("1", "0"),
      exit("0", "9"),
      record("headwater.process.exit", 13, "told of nothing"),
    ];
    const body = { resourceLogs: [{ resource: { attributes }, scopeLogs: [{ scope: { name: kernelScope }, logRecords }] }] };
    const counts = merged([batchOf("logs", body)]).windows[partitionOf("cart")]?.partials;
    expect(counts?.map((partial) => `${partial.attributes} ${partial.kind === "count" ? partial.count : 0}`)).toEqual([
      "severity=INFO,source=kernel 3",
      "severity=WARN,source=kernel 3",
    ]);
  });
});

describe("times that the agent counts by powers of two", () => {
  const time = (bounds: number[], counts: number[], sequence: number) => {
    const count = counts.reduce((sum, one) => sum + one, 0);
    const point = {
      startTimeUnixNano: nanos(windowEndMs - 1_000),
      timeUnixNano: nanos(windowEndMs - 1),
      count: String(count),
      sum: count * 1e-3,
    };
    const dataPoints = [
      { ...point, attributes: stringAttributes({ syscall: "read" }), explicitBounds: bounds, bucketCounts: counts.map(String) },
    ];
    return batchOf("metrics", kernelMetrics([{ name: "kernel.syscall.duration", histogram: { aggregationTemporality: 1, dataPoints } }]), {
      sequence,
    });
  };

  it("are one histogram, whichever of its bounds each interval needed", () => {
    const powers = (exponent: number) => 2 ** exponent / 1e9;
    const found = partialsOf(
      merged([time([powers(10), powers(20)], [3, 2, 0], 0), time([powers(20), powers(21), powers(30)], [1, 5, 4, 1], 1)]),
    );
    expect(found).toHaveLength(1);
    const [histogram] = found;
    if (histogram?.kind !== "histogram") throw new Error("it is no histogram");
    const at = (exponent: number) => histogram.counts[histogram.bounds.findIndex((bound) => Math.abs(bound / powers(exponent) - 1) < 1e-9)];
    expect([at(10), at(20), at(21), at(30), histogram.counts.at(-1)]).toEqual([3, 3, 5, 4, 1]);
    expect(histogram.counts.reduce((sum, one) => sum + one, 0)).toBe(16);
    expect(histogram.count).toBe(16);
  });
});

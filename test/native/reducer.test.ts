import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, hash32, partitionOf } from "../../contract/canonical.ts";
import type { TelemetryBatch } from "../../contract/telemetry.ts";
import { DependencyEntry, type KeptSpan, type Partial, WindowEntry } from "../../contract/window.ts";
import { type MergedReductions, mergeReductions } from "../../native/merge-reductions.ts";
import { reduceBatch } from "../../native/reducer.ts";
import { type ReduceOptions, reduceDefaults } from "../../native/reduction.ts";
import {
  batchOf,
  denseRequests,
  fixedRequests,
  logRequest,
  metricRequest,
  nanos,
  receivedAtMs,
  requests,
  spanOf,
  stringAttributes,
  traceRequest,
} from "./otlp-bodies.ts";

const options: ReduceOptions = { ...reduceDefaults, windowMs: 10_000 };
const windowStartMs = receivedAtMs - 10_000;

function merged(batches: readonly TelemetryBatch[], changed: globalThis.Partial<ReduceOptions> = {}): MergedReductions {
  const all = { ...options, ...changed };
  return mergeReductions(
    batches.map((batch) => reduceBatch(batch, all)),
    all,
  );
}

function partialsOf(result: MergedReductions): Partial[] {
  return result.windows.flatMap((entry) => entry.partials);
}

function spansOf(result: MergedReductions): KeptSpan[] {
  return result.windows.flatMap((entry) => entry.spans);
}

function hexId(length: number, seed: number): string {
  return (seed + 1).toString(16).padStart(length, "0");
}

function rejectsOf(result: MergedReductions): Record<string, number> {
  return Object.fromEntries(result.rejects);
}

describe("reducing spans", () => {
  it("attributes a span to the window of its end and counts duration, failure and bucket", () => {
    const failed = spanOf({
      spanId: hexId(16, 1),
      startTimeUnixNano: nanos(receivedAtMs - 10_900),
      endTimeUnixNano: nanos(receivedAtMs - 9_900, 7),
      status: { code: 2, message: "no" },
    });
    const result = merged([batchOf("traces", traceRequest("cart", [spanOf(), failed], { "service.namespace": "shop" }))]);
    expect(partialsOf(result)).toEqual([
      {
        kind: "duration",
        entity: "shop/cart",
        metric: "span.server.duration",
        attributes: "operation=GET /cart",
        windowStartMs,
        count: 2,
        failed: 1,
        sumNs: 1_005_000_007,
        minNs: 5_000_000,
        maxNs: 1_000_000_007,
        buckets: [
          [355, 1],
          [477, 1],
        ],
      },
    ]);
    expect(result.windows[partitionOf("shop/cart")]?.partials).toHaveLength(1);
    expect(result.windows[0]?.progress).toEqual([{ source: "0123456789abcdef", sequence: 0, atUs: (receivedAtMs - 1_000) * 1_000 }]);
  });

  it("names client spans by the address of the other side and makes a half of each call", () => {
    const client = (attributes: Record<string, string>, seed: number) =>
      spanOf({ kind: 3, spanId: hexId(16, seed), attributes: stringAttributes(attributes) });
    const spans = [
      client({ "server.address": "Pay", "server.port": "8080", "http.request.method": "GET" }, 1),
      client({ "net.peer.name": "pay", "net.peer.port": "8081", "rpc.system": "grpc" }, 2),
      client({ "db.system.name": "postgresql", "server.address": "10.0.0.5", "server.port": "5432" }, 3),
      client({ "db.system": "redis", "net.peer.name": "cache" }, 4),
      client({ "url.full": "https://user:secret@pay.example/charge?card=1" }, 5),
      client({ "peer.service": "mailer" }, 6),
      client({ "messaging.system": "kafka", "messaging.destination.name": "orders" }, 7),
      client({}, 8),
      client({ "server.address": "::1", "server.port": "443" }, 9),
    ];
    const result = merged([batchOf("traces", traceRequest("cart", spans))]);
    const halves = result.dependencies.flatMap((entry) => entry.halves);
    expect(halves.map((half) => [half.side, half.spanId, half.peer, half.protocol])).toEqual([
      ["client", hexId(16, 1), "pay:8080", "http"],
      ["client", hexId(16, 2), "pay:8081", "grpc"],
      ["client", hexId(16, 3), "postgresql@10.0.0.5:5432", "postgresql"],
      ["client", hexId(16, 4), "redis@cache", "redis"],
      ["client", hexId(16, 5), "pay.example:443", "http"],
      ["client", hexId(16, 6), "mailer", "unknown"],
      ["client", hexId(16, 7), "kafka@orders", "kafka"],
      ["client", hexId(16, 8), null, "unknown"],
      ["client", hexId(16, 9), "[::1]:443", "unknown"],
    ]);
    expect(partialsOf(result).map((partial) => partial.attributes)).toEqual(
      [
        "peer=[::1]:443",
        "peer=kafka@orders",
        "peer=mailer",
        "peer=pay.example:443",
        "peer=pay:8080",
        "peer=pay:8081",
        "peer=postgresql@10.0.0.5:5432",
        "peer=redis@cache",
        "peer=unknown",
      ].sort(),
    );
  });

  it("gives the callee's half its parent's id, none to an entry, and a linked consumer its producer's", () => {
    const producer = { traceId: hexId(32, 77), spanId: hexId(16, 78) };
    const spans = [
      spanOf({ spanId: hexId(16, 1), parentSpanId: hexId(16, 50) }),
      spanOf({ spanId: hexId(16, 2), traceId: hexId(32, 9) }),
      spanOf({ spanId: hexId(16, 3), traceId: hexId(32, 10), kind: 5, links: [producer] }),
      spanOf({ spanId: hexId(16, 4), kind: 1 }),
    ];
    const result = merged([batchOf("traces", traceRequest("cart", spans))]);
    const halves = result.dependencies.flatMap((entry, partition) => entry.halves.map((half) => ({ partition, ...half })));
    expect(new Set(halves.map((half) => `${half.traceId} ${half.spanId} ${half.side}`))).toEqual(
      new Set([
        `0af7651916cd43dd8448eb211c80319c ${hexId(16, 50)} server`,
        `${hexId(32, 9)} null server`,
        `${producer.traceId} ${producer.spanId} server`,
      ]),
    );
    for (const half of halves) expect(half.partition).toBe(partitionOf(half.traceId));
  });

  it("keeps failed spans, the three slowest of each operation, and healthy ones by trace id", () => {
    const spans = Array.from({ length: 200 }, (_, index) =>
      spanOf({
        traceId: hexId(32, index),
        spanId: hexId(16, index),
        startTimeUnixNano: nanos(receivedAtMs - 2_000 - index),
        endTimeUnixNano: nanos(receivedAtMs - 2_000),
        ...(index === 5 ? { status: { code: 2 } } : {}),
      }),
    );
    const kept = spansOf(merged([batchOf("traces", traceRequest("cart", spans))]));
    const because = (reason: string) => kept.filter((span) => span.keptBecause === reason);
    expect(because("failed").map((span) => span.spanId)).toEqual([hexId(16, 5)]);
    expect(because("slow").map((span) => span.durationNs / 1e6)).toEqual([197, 198, 199]);
    const sampledIds = spans.map((_, index) => hexId(32, index)).filter((id) => hash32(id) % 4 === 0);
    const expected = sampledIds.filter((id) => !because("slow").some((span) => span.traceId === id) && id !== hexId(32, 5));
    expect(because("sampled").map((span) => span.traceId)).toEqual(expected);
    expect(expected.length).toBeGreaterThan(20);
  });

  it("writes what a recorded exception says", () => {
    const event = { name: "exception", attributes: stringAttributes({ "exception.type": "TypeError", "exception.message": "x is null" }) };
    const [span] = spansOf(
      merged([batchOf("traces", traceRequest("cart", [spanOf({ status: { code: 2, message: "failed" }, events: [event] })]))]),
    );
    expect(span).toMatchObject({ exception: "TypeError: x is null", statusMessage: "failed", failed: true, keptBecause: "failed" });
  });
});

describe("reducing metrics", () => {
  const at = (ms: number) => nanos(receivedAtMs - 5_000 + ms);
  const point = (fields: Record<string, unknown>) => ({ timeUnixNano: at(0), startTimeUnixNano: at(-60_000), ...fields });
  const reduceMetrics = (metrics: unknown[], resource: Record<string, string> = {}) =>
    merged([batchOf("metrics", metricRequest("cart", metrics, resource))]);

  it("turns each kind into its partial", () => {
    const result = reduceMetrics([
      { name: "gauge", gauge: { dataPoints: [point({ asDouble: 2.5 }), point({ asDouble: 1, timeUnixNano: at(1) })] } },
      { name: "total", sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [point({ asInt: "7" })] } },
      {
        name: "added",
        sum: { aggregationTemporality: 1, isMonotonic: true, dataPoints: [point({ asInt: "7" }), point({ asDouble: 0.25 })] },
      },
      { name: "active", sum: { aggregationTemporality: 2, isMonotonic: false, dataPoints: [point({ asInt: "3" })] } },
      {
        name: "hist",
        histogram: {
          aggregationTemporality: 2,
          dataPoints: [point({ count: "3", sum: 1.5, explicitBounds: [1], bucketCounts: ["2", "1"] })],
        },
      },
      { name: "expo", exponentialHistogram: { aggregationTemporality: 1, dataPoints: [point({ count: "3", sum: 1.5 })] } },
      { name: "summary", summary: { dataPoints: [point({ count: "3", sum: 1.5, quantileValues: [{ quantile: 0.5, value: 0.4 }] })] } },
    ]);
    const base = { entity: "cart", attributes: "", windowStartMs };
    const lastAtUs = (receivedAtMs - 5_000) * 1_000;
    const startAtUs = lastAtUs - 60_000_000;
    const stream = expect.stringMatching(/^[0-9a-f]{16}$/);
    const histogram = { ...base, kind: "histogram", stream, startAtUs, lastAtUs, count: 3, sum: "1572864" };
    expect(partialsOf(result)).toEqual([
      { ...base, kind: "count", metric: "added", count: 2, sum: String(7.25 * 2 ** 20) },
      { ...base, kind: "cumulative", metric: "total", stream, startAtUs, lastAtUs, last: 7 },
      { ...base, kind: "gauge", metric: "active", stream, count: 1, min: 3, max: 3, lastAtUs, last: 3 },
      { ...base, kind: "gauge", metric: "gauge", stream, count: 2, min: 1, max: 2.5, lastAtUs: lastAtUs + 1_000, last: 1 },
      { ...base, attributes: "quantile=0.5", kind: "gauge", metric: "summary", stream, count: 1, min: 0.4, max: 0.4, lastAtUs, last: 0.4 },
      { ...histogram, metric: "expo", delta: true, bounds: [], counts: [] },
      { ...histogram, metric: "hist", delta: false, bounds: [1], counts: [2, 1] },
      { ...histogram, metric: "summary", delta: false, bounds: [], counts: [] },
    ]);
    expect(result.itemCount).toBe(9);
  });

  it("keeps attributes of semantic conventions in the key and all of them in the stream", () => {
    const attributes = (user: string) => stringAttributes({ "user.id": user, "http.route": "/a,b", "http.request.method": "GET" });
    const metric = { name: "g", gauge: { dataPoints: ["1", "2"].map((user) => point({ asDouble: 1, attributes: attributes(user) })) } };
    const partials = partialsOf(reduceMetrics([metric]));
    expect(partials.map((partial) => partial.attributes)).toEqual(Array(2).fill("http.request.method=GET,http.route=/a;b"));
    expect(new Set(partials.map((partial) => ("stream" in partial ? partial.stream : ""))).size).toBe(2);
  });

  it("tells instances apart in the stream, by service.instance.id or by the whole resource", () => {
    const metric = { name: "g", gauge: { dataPoints: [point({ asDouble: 1 })] } };
    const streams = [{ "service.instance.id": "a" }, { "service.instance.id": "b" }, { "host.name": "a" }, { "host.name": "b" }].map(
      (resource) => partialsOf(reduceMetrics([metric], resource)).map((partial) => ("stream" in partial ? partial.stream : "")),
    );
    expect(new Set(streams.flat()).size).toBe(4);
  });

  it("folds sets of attributes beyond the bound into other=true without losing a count", () => {
    const dataPoints = Array.from({ length: 120 }, (_, index) =>
      point({ asInt: "1", attributes: stringAttributes({ "http.route": `/r${String(index).padStart(3, "0")}` }) }),
    );
    const result = reduceMetrics([{ name: "hits", sum: { aggregationTemporality: 1, isMonotonic: true, dataPoints } }]);
    const partials = partialsOf(result);
    expect(partials).toHaveLength(51);
    expect(partials.at(-1)).toMatchObject({ attributes: "other=true", count: 70, sum: String(70 * 2 ** 20) });
    expect(result.bounds.get("series-folded")).toBe(70);
  });

  it("stays within its bounds for 100,000 series and values of 1 MB", () => {
    const long = "x".repeat(1_000_000);
    const dataPoints = Array.from({ length: 100_000 }, (_, index) =>
      point({ asInt: "1", attributes: stringAttributes({ "http.route": `/${index}` }) }),
    );
    dataPoints.push(point({ asInt: "1", attributes: stringAttributes({ "!": "", "http.route": long }) }));
    const names = [
      { name: "!long", gauge: { dataPoints: [dataPoints.at(-1)] } },
      { name: "many", gauge: { dataPoints } },
    ];
    const result = reduceMetrics(names);
    const partials = partialsOf(result);
    expect(partials).toHaveLength(2_000);
    expect(result.bounds.get("series-dropped")).toBe(98_002);
    for (const partial of partials) expect(partial.attributes.length).toBeLessThanOrEqual(512);
    expect(partials[0]?.attributes).toMatch(/^http\.route=x+~[0-9a-f]{8}$/);
    expect(canonicalJson(result.windows).length).toBeLessThan(1_000_000);
  });
});

describe("reducing log records", () => {
  const line = (body: string, fields: Record<string, unknown> = {}) => ({
    timeUnixNano: nanos(receivedAtMs - 5_000),
    severityNumber: 17,
    body: { stringValue: body },
    ...fields,
  });

  it("counts by severity and shape, and keeps error lines whole", () => {
    const lines = [line("order 17 failed after 120ms"), line("order 18 failed after 80ms"), line("ok", { severityNumber: 9 })];
    const result = merged([batchOf("logs", logRequest("cart", lines))]);
    const entry = result.windows[partitionOf("cart")];
    expect(partialsOf(result).map((partial) => [partial.attributes, "count" in partial && partial.count])).toEqual([
      ["severity=ERROR", 2],
      ["severity=INFO", 1],
    ]);
    const shape = entry?.shapes.find((found) => found.severity === "ERROR");
    expect(shape).toMatchObject({ text: "order <number> failed after <number>ms", count: 2, windowStartMs });
    const errors = entry?.lines.filter((kept) => kept.severity === "ERROR") ?? [];
    expect(errors.map((kept) => kept.body)).toEqual(["order 17 failed after 120ms", "order 18 failed after 80ms"]);
    expect(new Set(errors.map((kept) => kept.shape))).toEqual(new Set([shape?.shape]));
  });

  it("samples lines below ERROR by their trace", () => {
    const lines = Array.from({ length: 400 }, (_, index) => line("fine", { severityNumber: 9, traceId: hexId(32, index) }));
    const kept = merged([batchOf("logs", logRequest("cart", lines))]).windows.flatMap((entry) => entry.lines);
    expect(new Set(kept.map((each) => each.traceId))).toEqual(
      new Set(lines.map((_, index) => hexId(32, index)).filter((id) => hash32(id) % 8 === 0)),
    );
  });

  it("uses the observed time of a record without time, and the severity text without a number", () => {
    const record = line("x", {
      timeUnixNano: "0",
      observedTimeUnixNano: nanos(receivedAtMs - 4_000),
      severityNumber: 0,
      severityText: "Error",
    });
    const result = merged([batchOf("logs", logRequest("cart", [record]))]);
    expect(result.windows.flatMap((entry) => entry.lines)).toMatchObject([{ severity: "ERROR", atUs: (receivedAtMs - 4_000) * 1_000 }]);
  });

  it("tells the exception that is recorded beside the message", () => {
    const record = line("request failed", {
      attributes: stringAttributes({ "exception.type": "TypeError", "exception.message": "x is null" }),
    });
    const result = merged([batchOf("logs", logRequest("cart", [record]))]);
    expect(result.windows.flatMap((entry) => entry.lines)[0]?.body).toBe("request failed [TypeError: x is null]");
  });
});

describe("refusing items", () => {
  const point = (fields: Record<string, unknown>) => ({ timeUnixNano: nanos(receivedAtMs), ...fields });
  const gauge = (fields: Record<string, unknown>) => ({ name: "g", gauge: { dataPoints: [point(fields)] } });
  const histogram = (fields: Record<string, unknown>) => ({
    name: "h",
    histogram: { aggregationTemporality: 2, dataPoints: [point(fields)] },
  });

  it.each([
    ["a trace id of the wrong length", { traceId: "abcd" }, "id-invalid"],
    ["a span id of zeros", { spanId: "0000000000000000" }, "id-invalid"],
    ["a parent id of the wrong length", { parentSpanId: "abcd" }, "id-invalid"],
    ["an unknown kind", { kind: 9 }, "unknown-enum"],
    ["an unknown status", { status: { code: 7 } }, "unknown-enum"],
    ["a time of 1970", { startTimeUnixNano: "1", endTimeUnixNano: "5000000" }, "time-out-of-range"],
    ["a time of next year", { endTimeUnixNano: nanos(receivedAtMs + 365 * 86_400_000) }, "time-out-of-range"],
    ["no end", { endTimeUnixNano: "0" }, "time-missing"],
    ["no start", { startTimeUnixNano: "0" }, "time-missing"],
    ["an end before its start", { startTimeUnixNano: nanos(receivedAtMs) }, "duration-negative"],
    ["a start in 1970", { startTimeUnixNano: "1" }, "duration-out-of-range"],
  ])("counts a span with %s and uses the others, in both encodings", (_name, fields, reason) => {
    for (const encoding of ["protobuf", "json"] as const) {
      const result = merged([batchOf("traces", traceRequest("cart", [spanOf(fields), spanOf()]), { encoding })]);
      expect(rejectsOf(result)).toEqual({ [reason]: 1 });
      expect(partialsOf(result)).toMatchObject([{ count: 1 }]);
      expect(result.samples[0]?.text).toContain('span "GET /cart" of cart');
    }
  });

  it.each([
    ["NaN", gauge({ asDouble: "NaN" }), "value-not-finite"],
    ["infinity", gauge({ asDouble: "-Infinity" }), "value-not-finite"],
    ["a value beyond 2^80", gauge({ asDouble: 1e30 }), "value-out-of-range"],
    ["no value", gauge({}), "value-missing"],
    ["the flag for no value", gauge({ flags: 1 }), "no-recorded-value"],
    ["no name", { ...gauge({ asDouble: 1 }), name: "" }, "name-missing"],
    ["no temporality", { name: "s", sum: { dataPoints: [point({ asInt: "1" })] } }, "temporality-unspecified"],
    ["an unknown temporality", { name: "s", sum: { aggregationTemporality: 9, dataPoints: [point({ asInt: "1" })] } }, "unknown-enum"],
    ["buckets that do not fit the bounds", histogram({ count: "1", explicitBounds: [1], bucketCounts: ["1"] }), "histogram-malformed"],
    ["bounds that fall", histogram({ count: "3", explicitBounds: [2, 1], bucketCounts: ["1", "1", "1"] }), "histogram-malformed"],
    ["buckets that do not add up", histogram({ count: "9", explicitBounds: [1], bucketCounts: ["1", "1"] }), "histogram-malformed"],
  ])("counts a metric point with %s", (_name, metric, reason) => {
    const good = { name: "good", gauge: { dataPoints: [point({ asDouble: 1 })] } };
    const result = merged([batchOf("metrics", metricRequest("cart", [metric, good]), { encoding: "json" })]);
    expect(rejectsOf(result)).toEqual({ [reason]: 1 });
    expect(partialsOf(result)).toMatchObject([{ metric: "good" }]);
  });

  it("counts the items of a resource that names no entity, and takes unknown_service as a name", () => {
    const nobody = { resourceSpans: [{ scopeSpans: [{ spans: [spanOf(), spanOf()] }] }] };
    const result = merged([batchOf("traces", nobody), batchOf("traces", traceRequest("unknown_service:node", [spanOf()]))]);
    expect(rejectsOf(result)).toEqual({ "no-entity": 2 });
    expect(partialsOf(result)).toMatchObject([{ entity: "unknown_service:node" }]);
  });

  it("uses what stands before the place where a body is broken", () => {
    const batch = batchOf("traces", { resourceSpans: [...(fixedRequests.traces.resourceSpans as unknown[]), {}] });
    const broken = { ...batch, body: Uint8Array.from([...batch.body.subarray(0, -2), 0x0a, 0x7f]) };
    const result = merged([broken]);
    expect(rejectsOf(result)).toEqual({ "body-malformed": 1 });
    expect(partialsOf(result)).toHaveLength(1);
  });

  it("counts what is no item in a JSON body and uses the rest", () => {
    const request = traceRequest("cart", [spanOf()]);
    (request.resourceSpans as unknown[]).push(7);
    const result = merged([batchOf("traces", request, { encoding: "json" })]);
    expect(rejectsOf(result)).toEqual({ "item-malformed": 1 });
    expect(result.samples).toEqual([{ reason: "item-malformed", text: "resourceSpans[1]" }]);
    expect(result.itemCount).toBe(1);
  });
});

describe("observing entities", () => {
  it("says what the resource says, at the newest event time", () => {
    const resource = {
      "service.instance.id": "cart-1",
      "service.version": "1.2",
      "host.name": "node-7",
      "cloud.availability_zone": "eu-1a",
    };
    const result = merged([batchOf("traces", traceRequest("cart", [spanOf()], resource)), batchOf("traces", traceRequest("idle", []))]);
    expect(result.dependencies.flatMap((entry) => entry.observations)).toEqual([
      {
        entity: "cart",
        namespace: null,
        name: "cart",
        instance: "cart-1",
        version: "1.2",
        host: "node-7",
        zone: "eu-1a",
        atMs: receivedAtMs - 1_000,
      },
    ]);
    expect(result.dependencies[partitionOf("cart")]?.observations).toHaveLength(1);
  });

  it("falls back to Prometheus' job and instance", () => {
    const attributes = stringAttributes({ job: "node", instance: "10.0.0.1:9100" });
    const result = merged([batchOf("traces", { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans: [spanOf()] }] }] })]);
    expect(result.dependencies.flatMap((entry) => entry.observations)).toMatchObject([{ entity: "node", instance: "10.0.0.1:9100" }]);
  });
});

describe("merging", () => {
  const signals = ["traces", "metrics", "logs"] as const;
  /** Bounds so small that arbitrary requests run into every one of them. */
  const tight: ReduceOptions = {
    ...options,
    windowMs: 1_000,
    spanSampleOneIn: 1,
    lineSampleOneIn: 1,
    seriesPerMetricMax: 2,
    seriesPerEntityMax: 5,
    slowOperationsMax: 1,
    slowestPerOperation: 2,
    failedSpansMax: 2,
    sampledSpansMax: 2,
    errorLinesMax: 2,
    sampledLinesMax: 2,
    shapesMax: 2,
    observationsMax: 2,
    entitiesMax: 2,
    halvesMax: 2,
  };
  const batchesOf = (source: typeof requests, minLength: number) =>
    fc
      .array(fc.oneof(...signals.map((signal) => source[signal].map((request) => ({ signal, request })))), { minLength, maxLength: 4 })
      .map((list) => list.map(({ signal, request }, sequence) => batchOf(signal, request, { sequence })));
  const batches = batchesOf(requests, 1);
  const dense = batchesOf(denseRequests, 2);

  function contentOf(list: readonly TelemetryBatch[], bounds: ReduceOptions): string {
    const { windows, dependencies } = merged(list, bounds);
    return canonicalJson([windows, dependencies].map((entries) => entries.map((entry) => ({ ...entry, progress: [] }))));
  }

  it.each([
    ["within the bounds", { ...options, windowMs: 1_000 }],
    ["at the bounds", tight],
  ])("gives the same bytes for every order of batches and every way to split them, %s", (_name, bounds) => {
    fc.assert(
      fc.property(dense, fc.infiniteStream(fc.nat()), (list, random) => {
        const whole = contentOf(list, bounds);
        const shuffled = [...list]
          .map((batch) => ({ batch, key: random.next().value as number }))
          .sort((left, right) => left.key - right.key)
          .map(({ batch }) => batch);
        expect(contentOf(shuffled, bounds)).toBe(whole);
        expect(contentOf(list.flatMap(splitBySegments), bounds)).toBe(whole);
      }),
      { numRuns: 60 },
    );
  });

  it("writes entries that their schemas accept", () => {
    fc.assert(
      fc.property(fc.oneof(batches, dense), (list) => {
        const { windows, dependencies } = merged(list, tight);
        for (const entry of windows) WindowEntry.parse(entry);
        for (const entry of dependencies) DependencyEntry.parse(entry);
      }),
      { numRuns: 60 },
    );
  });

  it("cuts series at the same place in a part as in the whole, also when some are folded there only", () => {
    const bounds = { ...options, seriesPerMetricMax: 2, seriesPerEntityMax: 5 };
    const gauge = (key: string, value: string, users: readonly string[]) => ({
      name: "m",
      gauge: {
        dataPoints: users.map((user) => ({
          timeUnixNano: nanos(receivedAtMs),
          asDouble: 1,
          attributes: stringAttributes({ [key]: value, "user.id": user }),
        })),
      },
    });
    const first = [gauge("state", "/a", ["1", "2", "3", "4", "5"]), gauge("state", "/b", ["1"])];
    const second = [gauge("http.route", "/a", ["1"])];
    const whole = contentOf([batchOf("metrics", metricRequest("cart", [...first, ...second]))], bounds);
    const parts = [first, second].map((metrics, sequence) => batchOf("metrics", metricRequest("cart", metrics), { sequence }));
    expect(contentOf(parts, bounds)).toBe(whole);
  });

  it("changes no reduction", () => {
    const list = [batchOf("traces", fixedRequests.traces), batchOf("traces", fixedRequests.traces, { sequence: 1 })];
    const reductions = list.map((batch) => reduceBatch(batch, options));
    const first = canonicalJson(mergeReductions(reductions, options).windows);
    expect(canonicalJson(mergeReductions(reductions, options).windows)).toBe(first);
  });

  /** The same items in a batch for each resource: protobuf bodies may be cut between resources and put together again. */
  function splitBySegments(batch: TelemetryBatch): TelemetryBatch[] {
    const parts: TelemetryBatch[] = [];
    let at = 0;
    while (at < batch.body.length) {
      let length = 0;
      let shift = 0;
      let end = at + 1;
      for (;;) {
        const byte = batch.body[end] as number;
        end += 1;
        length |= (byte & 0x7f) << shift;
        shift += 7;
        if (byte < 0x80) break;
      }
      parts.push({ ...batch, id: `${batch.id}.${parts.length}`, body: batch.body.subarray(at, end + length) });
      at = end + length;
    }
    return parts;
  }
});

/** OTLP requests for tests: arbitrary ones from fast-check, and small ones to say exactly what is in them. In the form of OTLP/JSON. */
import fc from "fast-check";
import type { Signal, TelemetryBatch } from "../../contract/telemetry.ts";
import { encodeOtlp } from "./otlp-oracle.ts";

export const receivedAtMs = 1_800_000_000_000;

/** Nanoseconds as OTLP/JSON writes them. */
export function nanos(ms: number, extraNs = 0): string {
  return String(BigInt(ms) * 1_000_000n + BigInt(extraNs));
}

export function stringAttributes(values: Record<string, string>): unknown[] {
  return Object.entries(values).map(([key, stringValue]) => ({ key, value: { stringValue } }));
}

export function traceRequest(service: string, spans: unknown[], resource: Record<string, string> = {}): Record<string, unknown> {
  const attributes = stringAttributes({ "service.name": service, ...resource });
  return { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ scope: { name: "test" }, spans }] }] };
}

export function metricRequest(service: string, metrics: unknown[], resource: Record<string, string> = {}): Record<string, unknown> {
  const attributes = stringAttributes({ "service.name": service, ...resource });
  return { resourceMetrics: [{ resource: { attributes }, scopeMetrics: [{ scope: { name: "test" }, metrics }] }] };
}

export function logRequest(service: string, logRecords: unknown[]): Record<string, unknown> {
  return {
    resourceLogs: [
      { resource: { attributes: stringAttributes({ "service.name": service }) }, scopeLogs: [{ scope: { name: "test" }, logRecords }] },
    ],
  };
}

/** A span of 5 ms that ended 1 s before the receipt, with whatever `fields` replace. */
export function spanOf(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    name: "GET /cart",
    kind: 2,
    startTimeUnixNano: nanos(receivedAtMs - 1_005),
    endTimeUnixNano: nanos(receivedAtMs - 1_000),
    ...fields,
  };
}

export function batchOf(
  signal: Signal,
  request: unknown,
  options: { encoding?: "protobuf" | "json"; sequence?: number } = {},
): TelemetryBatch {
  const encoding = options.encoding ?? "protobuf";
  const body = encoding === "json" ? new TextEncoder().encode(JSON.stringify(request)) : Uint8Array.from(encodeOtlp(signal, request));
  const sequence = options.sequence ?? 0;
  return {
    id: `test-${sequence}`,
    tenant: "default",
    gateway: "test",
    source: "0123456789abcdef",
    sequence,
    signal,
    encoding,
    receivedAtMs,
    body,
  };
}

const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
const key = fc.constantFrom("http.request.method", "http.route", "state", "user.id", "server.address", "server.port", "db.system", "é");
const text = fc.string({ unit: "binary", maxLength: 12 }).map((value) => Buffer.from(value, "utf8").toString("utf8"));
const anyValue: fc.Arbitrary<Record<string, unknown>> = fc.letrec<{ value: Record<string, unknown> }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", maxDepth: 3 },
    fc.record({ stringValue: text }),
    fc.record({ boolValue: fc.boolean() }),
    fc.record({ intValue: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String) }),
    fc.record({ doubleValue: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (value === 0 ? 0 : value)) }),
    fc.record({ bytesValue: fc.uint8Array({ maxLength: 5 }).map((value) => Buffer.from(value).toString("base64")) }),
    fc.record({ arrayValue: fc.record({ values: fc.array(tie("value"), { maxLength: 3 }) }) }),
    fc.record({ kvlistValue: fc.record({ values: fc.array(fc.record({ key: text, value: tie("value") }), { maxLength: 3 }) }) }),
  ),
})).value;
const attributes = fc.array(fc.record({ key, value: anyValue }), { maxLength: 4 });
const time = fc.integer({ min: -30_000, max: 10_000 }).chain((ms) => fc.nat(999_999).map((extra) => nanos(receivedAtMs + ms, extra)));
const resource = fc
  .constantFrom("cart", "pay", "search", "")
  .chain((name) =>
    fc.record({ attributes: attributes.map((list) => [...(name === "" ? [] : stringAttributes({ "service.name": name })), ...list]) }),
  );
const scope = fc.record({ name: text, version: text });
const small = { maxLength: 3 };

const span = fc.record(
  {
    traceId: hex(32),
    spanId: hex(16),
    parentSpanId: fc.option(hex(16), { nil: "" }),
    name: fc.constantFrom("GET /a", "GET /b", "SELECT", ""),
    kind: fc.integer({ min: 0, max: 6 }),
    startTimeUnixNano: time,
    endTimeUnixNano: time,
    attributes,
    events: fc.array(fc.record({ timeUnixNano: time, name: fc.constantFrom("exception", "other"), attributes }), { maxLength: 2 }),
    links: fc.array(fc.record({ traceId: hex(32), spanId: hex(16) }), { maxLength: 2 }),
    status: fc.record({ code: fc.integer({ min: 0, max: 3 }), message: text }),
  },
  { requiredKeys: ["traceId", "spanId", "endTimeUnixNano"] },
);

const common = { startTimeUnixNano: time, timeUnixNano: time, attributes };
const double = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((value) => (value === 0 ? 0 : value));
const numberPoint = fc.oneof(
  fc.record({ ...common, asDouble: double }),
  fc.record({ ...common, asInt: fc.maxSafeInteger().map(String) }),
  fc.record(common),
);
const distribution = { ...common, sum: double };
const histogramPoint = fc
  .record({
    ...distribution,
    explicitBounds: fc.constantFrom([], [1, 5, 10]),
    bucketCounts: fc.array(fc.nat(5), { minLength: 4, maxLength: 4 }),
  })
  .map((point) => {
    const counts = point.explicitBounds.length === 0 ? [] : point.bucketCounts;
    return { ...point, bucketCounts: counts.map(String), count: String(counts.reduce((sum, count) => sum + count, 0)) };
  });
const countedPoint = fc.record({ ...distribution, count: fc.nat(100).map(String) });
const quantileValues = fc.array(fc.record({ quantile: fc.constantFrom(0.5, 0.99), value: double }), { maxLength: 2 });
const temporality = fc.integer({ min: 0, max: 3 });
const metricName = fc.constantFrom("a", "b", "http.server.request.duration", "");
const metric = fc.oneof(
  fc.record({ name: metricName, gauge: fc.record({ dataPoints: fc.array(numberPoint, small) }) }),
  fc.record({
    name: metricName,
    sum: fc.record({ dataPoints: fc.array(numberPoint, small), aggregationTemporality: temporality, isMonotonic: fc.boolean() }),
  }),
  fc.record({
    name: metricName,
    histogram: fc.record({ dataPoints: fc.array(histogramPoint, small), aggregationTemporality: temporality }),
  }),
  fc.record({
    name: metricName,
    exponentialHistogram: fc.record({ dataPoints: fc.array(countedPoint, small), aggregationTemporality: temporality }),
  }),
  fc.record({
    name: metricName,
    summary: fc.record({ dataPoints: fc.array(fc.record({ ...distribution, count: fc.nat(9).map(String), quantileValues }), small) }),
  }),
);

const logRecord = fc.record(
  {
    timeUnixNano: time,
    observedTimeUnixNano: time,
    severityNumber: fc.integer({ min: 0, max: 26 }),
    severityText: fc.constantFrom("", "error", "INFO"),
    body: anyValue,
    attributes,
    traceId: fc.option(hex(32), { nil: "" }),
    spanId: fc.option(hex(16), { nil: "" }),
  },
  { requiredKeys: ["timeUnixNano", "body"] },
);

/** Requests of every signal. Times are near the receipt; enums, names and entities are sometimes wrong. */
export const requests: Record<Signal, fc.Arbitrary<Record<string, unknown>>> = {
  traces: fc.record({
    resourceSpans: fc.array(
      fc.record({ resource, scopeSpans: fc.array(fc.record({ scope, spans: fc.array(span, small) }), small) }),
      small,
    ),
  }),
  metrics: fc.record({
    resourceMetrics: fc.array(
      fc.record({ resource, scopeMetrics: fc.array(fc.record({ scope, metrics: fc.array(metric, small) }), small) }),
      small,
    ),
  }),
  logs: fc.record({
    resourceLogs: fc.array(
      fc.record({ resource, scopeLogs: fc.array(fc.record({ scope, logRecords: fc.array(logRecord, small) }), small) }),
      small,
    ),
  }),
};

const denseTime = fc.constantFrom(
  nanos(receivedAtMs - 900),
  nanos(receivedAtMs - 500),
  nanos(receivedAtMs - 100),
  nanos(receivedAtMs + 200),
);
const denseResource = fc
  .tuple(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2", "3", "4"))
  .map(([name, instance]) => ({ attributes: stringAttributes({ "service.name": name, "service.version": instance }) }));
const denseId = (length: number) => fc.nat(6).map((value) => (value + 1).toString(16).padStart(length, "0"));
const denseAttributes = fc
  .tuple(fc.constantFrom("http.route", "state"), fc.constantFrom("/a", "/b", "/c"), fc.constantFrom("1", "2"))
  .map(([key, value, user]) => stringAttributes({ [key]: value, "user.id": user }));

const denseSpan = fc.record({
  traceId: denseId(32),
  spanId: denseId(16),
  parentSpanId: fc.constantFrom("", "00000000000000aa"),
  name: fc.constantFrom("p", "q", "r", "s"),
  kind: fc.constantFrom(2, 2, 3),
  startTimeUnixNano: fc.constantFrom(nanos(receivedAtMs - 1_000), nanos(receivedAtMs - 950)),
  endTimeUnixNano: denseTime,
  status: fc.record({ code: fc.constantFrom(0, 0, 2) }),
});
const densePoint = {
  timeUnixNano: denseTime,
  startTimeUnixNano: fc.constantFrom(nanos(receivedAtMs - 5_000), nanos(receivedAtMs - 4_000)),
  attributes: denseAttributes,
};
const denseNumber = fc.record({ ...densePoint, asDouble: fc.constantFrom(0, -0.1, 0.3, 7) });
const denseHistogram = fc
  .record({
    ...densePoint,
    sum: fc.constantFrom(1.5, 2),
    explicitBounds: fc.constantFrom([1], [2]),
    bucketCounts: fc.tuple(fc.nat(2), fc.nat(2)),
  })
  .map((point) => ({
    ...point,
    count: String(point.bucketCounts[0] + point.bucketCounts[1]),
    bucketCounts: point.bucketCounts.map(String),
  }));
const denseMetric = fc.oneof(
  denseNumber.map((point) => ({ gauge: { dataPoints: [point] } })),
  fc.tuple(denseNumber, fc.constantFrom(1, 2)).map(([point, aggregationTemporality]) => ({
    sum: { dataPoints: [point], aggregationTemporality, isMonotonic: true },
  })),
  fc.tuple(denseHistogram, fc.constantFrom(1, 2)).map(([point, aggregationTemporality]) => ({
    histogram: { dataPoints: [point], aggregationTemporality },
  })),
);
const denseLog = fc.record({
  timeUnixNano: denseTime,
  severityNumber: fc.constantFrom(9, 17),
  body: fc.record({ stringValue: fc.constantFrom("one 1", "one 2", "two", "three", "four", "five") }),
});

/** Requests whose items meet: few entities, windows, names and values, so that everything merges and every bound is reached. */
export const denseRequests: Record<Signal, fc.Arbitrary<Record<string, unknown>>> = {
  traces: dense("resourceSpans", "scopeSpans", "spans", denseSpan),
  metrics: dense(
    "resourceMetrics",
    "scopeMetrics",
    "metrics",
    fc.tuple(denseMetric, fc.constantFrom("m", "n")).map(([data, name]) => ({ ...data, name })),
  ),
  logs: dense("resourceLogs", "scopeLogs", "logRecords", denseLog),
};

/** A resource of its own for every item, so that a body can be cut between any two. */
function dense(resources: string, scopes: string, items: string, item: fc.Arbitrary<unknown>): fc.Arbitrary<Record<string, unknown>> {
  const group = fc.tuple(denseResource, item).map(([owner, value]) => ({ resource: owner, [scopes]: [{ [items]: [value] }] }));
  return fc.array(group, { minLength: 8, maxLength: 40, size: "max" }).map((groups) => ({ [resources]: groups }));
}

/** One of each kind of item, for tests that go through every byte. */
export const fixedRequests: Record<Signal, Record<string, unknown>> = {
  traces: traceRequest("cart", [
    spanOf({
      attributes: [
        { key: "list", value: { arrayValue: { values: [{ stringValue: "x" }, { intValue: "-7" }] } } },
        { key: "map", value: { kvlistValue: { values: [{ key: "k", value: { doubleValue: 1.5 } }] } } },
      ],
      events: [{ timeUnixNano: nanos(receivedAtMs), name: "exception", attributes: stringAttributes({ "exception.type": "E" }) }],
      links: [{ traceId: "0af7651916cd43dd8448eb211c80319d", spanId: "b7ad6b7169203332" }],
      status: { code: 2, message: "boom" },
    }),
  ]),
  metrics: metricRequest("cart", [
    {
      name: "g",
      gauge: { dataPoints: [{ timeUnixNano: nanos(receivedAtMs), asDouble: 1.5, attributes: stringAttributes({ state: "idle" }) }] },
    },
    { name: "s", sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ timeUnixNano: nanos(receivedAtMs), asInt: "-5" }] } },
    {
      name: "h",
      histogram: {
        aggregationTemporality: 1,
        dataPoints: [
          {
            timeUnixNano: nanos(receivedAtMs),
            count: "3",
            sum: 4.5,
            explicitBounds: [1, 2],
            bucketCounts: ["1", "2", "0"],
            min: 1,
            max: 2,
          },
        ],
      },
    },
    {
      name: "e",
      exponentialHistogram: {
        aggregationTemporality: 2,
        dataPoints: [
          { timeUnixNano: nanos(receivedAtMs), count: "3", sum: 4.5, scale: -2, positive: { offset: -3, bucketCounts: ["1", "300"] } },
        ],
      },
    },
    {
      name: "q",
      summary: { dataPoints: [{ timeUnixNano: nanos(receivedAtMs), count: "3", sum: 4.5, quantileValues: [{ quantile: 0.5, value: 2 }] }] },
    },
  ]),
  logs: logRequest("cart", [
    {
      timeUnixNano: nanos(receivedAtMs),
      severityNumber: 17,
      severityText: "ERROR",
      body: { stringValue: "boom 17" },
      attributes: stringAttributes({ "exception.type": "E" }),
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: "b7ad6b7169203331",
    },
  ]),
};

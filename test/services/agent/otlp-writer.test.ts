import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { walkOtlp } from "../../../native/otlp-walk.ts";
import type { Attributes, Metric, ResourceItems } from "../../../services/agent/otlp-item.ts";
import { OtlpWriter } from "../../../services/agent/otlp-writer.ts";
import { decodeOtlp } from "../../native/otlp-oracle.ts";

const sender = { "service.name": "headwater-agent", "service.instance.id": "host-1" };
const resource = { "service.name": "checkout", "host.name": "host-1" };
const interval = { startMs: 1_800_000_000_000, endMs: 1_800_000_005_000 };

function writer(bodyBytesMax = 1_000_000): OtlpWriter {
  return new OtlpWriter({ bodyBytesMax, version: "1.2.3", sender });
}

function keyValues(attributes: Attributes): unknown[] {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value:
      typeof value === "string"
        ? { stringValue: value }
        : typeof value === "boolean"
          ? { boolValue: value }
          : Number.isSafeInteger(value)
            ? { intValue: String(value) }
            : { doubleValue: value },
  }));
}

function attributesOf(attributes: Attributes): object {
  return Object.keys(attributes).length === 0 ? {} : { attributes: keyValues(attributes) };
}

/** The decoder leaves out empty lists of primitives and keeps empty messages, so only what is there is compared. */
function expectResources(decoded: unknown, key: string): { resource: unknown; items: unknown }[] {
  const list = (decoded as Record<string, Record<string, unknown>[]>)[key] ?? [];
  expect(list[0]).toEqual({ resource: { attributes: keyValues(sender) } });
  return list.slice(1).map((entry) => {
    const [scope] = (entry[key.replace("resource", "scope")] ?? []) as Record<string, unknown>[];
    const { scope: name, ...items } = scope ?? {};
    expect(name).toEqual({ name: "headwater.agent", version: "1.2.3" });
    return { resource: entry.resource, items };
  });
}

const value = fc.oneof(fc.string(), fc.boolean(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true }));
const anyAttributes = fc.dictionary(
  fc.string({ minLength: 1 }).filter((key) => key !== "__proto__"),
  value.filter((one) => !Object.is(one, -0)),
  { maxKeys: 4 },
);

describe("the OTLP writer", () => {
  it("writes metrics that protobufjs reads back as they were meant", () => {
    const number = fc.oneof(fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true })).filter((one) => !Object.is(one, -0));
    const point = fc.record({ attributes: anyAttributes, value: number });
    const metric = fc.record({
      kind: fc.constantFrom("sum" as const, "gauge" as const),
      name: fc.string({ minLength: 1 }),
      unit: fc.constant("By"),
      points: fc.array(point, { minLength: 1, maxLength: 5 }),
    });
    fc.assert(
      fc.property(fc.array(metric, { minLength: 1, maxLength: 4 }), (items) => {
        const bodies = writer().metrics([{ resource, items }], interval);
        expect(bodies.length).toBe(1);
        const read = expectResources(decodeOtlp("metrics", bodies[0]!), "resourceMetrics");
        const metrics = items.map(({ kind, name, unit, points }) => {
          const dataPoints = points.map((one) => ({
            startTimeUnixNano: "1800000000000000000",
            timeUnixNano: "1800000004999000000",
            ...(Number.isSafeInteger(one.value) ? { asInt: String(one.value) } : { asDouble: one.value }),
            ...attributesOf(one.attributes),
          }));
          const sum = { dataPoints, aggregationTemporality: 1, isMonotonic: true };
          return { name, unit, ...(kind === "sum" ? { sum } : { gauge: { dataPoints } }) };
        });
        expect(read).toEqual([{ resource: { attributes: keyValues(resource) }, items: { metrics } }]);
      }),
      { numRuns: 60 },
    );
  });

  it("writes histograms, spans and log records", () => {
    const histogram: Metric = {
      kind: "histogram",
      name: "http.server.request.duration",
      unit: "s",
      points: [{ attributes: { "http.route": "/a" }, count: 3, sum: 0.5, min: 0.1, max: 0.3, bounds: [0.1, 0.4], counts: [0, 3, 0] }],
    };
    const [body] = writer().metrics([{ resource, items: [histogram] }], interval);
    const [metrics] = expectResources(decodeOtlp("metrics", body!), "resourceMetrics");
    expect(metrics?.items).toMatchObject({
      metrics: [
        {
          histogram: {
            aggregationTemporality: 1,
            dataPoints: [{ count: "3", sum: 0.5, bucketCounts: ["0", "3", "0"], explicitBounds: [0.1, 0.4], min: 0.1, max: 0.3 }],
          },
        },
      ],
    });
    const ids = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", parentSpanId: "00f067aa0ba902b7" };
    const times = { startNs: 1_800_000_000_123_456_789n, endNs: 1_800_000_000_223_456_789n };
    const [traces] = writer().traces([
      { resource, items: [{ ...ids, ...times, name: "GET /a", kind: "server", failed: "yes", attributes: { "server.port": 80 } }] },
    ]);
    const [spans] = expectResources(decodeOtlp("traces", traces!), "resourceSpans");
    expect(spans?.items).toEqual({
      spans: [
        {
          ...ids,
          name: "GET /a",
          kind: 2,
          startTimeUnixNano: "1800000000123456789",
          endTimeUnixNano: "1800000000223456789",
          attributes: keyValues({ "server.port": 80 }),
          status: { code: 2 },
        },
      ],
    });
    const [logs] = writer().logs([
      {
        resource,
        items: [{ atNs: 1_800_000_000_000_000_001n, severity: "WARN", event: "headwater.process.exit", body: "x", attributes: { a: -1 } }],
      },
    ]);
    const [records] = expectResources(decodeOtlp("logs", logs!), "resourceLogs");
    expect(records?.items).toMatchObject({
      logRecords: [
        {
          timeUnixNano: "1800000000000000001",
          severityNumber: 13,
          severityText: "WARN",
          body: { stringValue: "x" },
          attributes: keyValues({ "event.name": "headwater.process.exit", a: -1 }),
        },
      ],
    });
  });

  it("begins a new body at its bound, with the sender first, and loses nothing", () => {
    const items: Metric[] = Array.from({ length: 50 }, (_, at) => ({
      kind: "sum",
      name: `metric.${at}`,
      unit: "1",
      points: Array.from({ length: at === 7 ? 1_000 : 10 }, (_unused, point) => ({ attributes: { point }, value: at })),
    }));
    const resources: ResourceItems<Metric>[] = [
      { resource, items },
      { resource: { "service.name": "other" }, items: items.slice(0, 3) },
    ];
    const bodies = writer(4_096).metrics(resources, interval);
    expect(bodies.length).toBeGreaterThan(5);
    let points = 0;
    for (const body of bodies) {
      expect(body.length).toBeLessThan(4_096 + 200 * 64 + 200);
      const walked = walkOtlp("metrics", "protobuf", body);
      if (!walked.ok) throw new Error(walked.message);
      expect(walked.resource).toEqual({ namespace: null, name: "headwater-agent", instance: "host-1" });
      points += walked.itemCount;
    }
    expect(points).toBe(49 * 10 + 1_000 + 30);
  });

  it("writes nothing of nothing", () => {
    expect(writer().traces([])).toEqual([]);
    expect(writer().logs([{ resource, items: [] }])).toEqual([]);
  });
});

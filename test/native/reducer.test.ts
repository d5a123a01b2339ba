import { describe, expect, it } from "vitest";
import { batchOf, fixedRequests, metricRequest, nanos, receivedAtMs, spanOf, traceRequest } from "./otlp-bodies.ts";
import { merged, partialsOf, rejectsOf } from "./reduced.ts";

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

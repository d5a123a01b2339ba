import { describe, expect, it } from "vitest";
import { canonicalJson } from "../../contract/canonical.ts";
import { batchOf, metricRequest, nanos, receivedAtMs, stringAttributes } from "./otlp-bodies.ts";
import { merged, partialsOf, windowStartMs } from "./reduced.ts";

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

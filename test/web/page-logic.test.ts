import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Impact, Incident } from "../../contract/incident.ts";
import { incidentSentence } from "../../contract/incident-fold.ts";
import { seriesId } from "../../contract/series.ts";
import { causalGraph, causalNodesMax } from "../../web/causal-graph.ts";
import { evidenceAgainst, evidenceFor, impactCharts, nameOf, ownerOf, pointsOf } from "../../web/evidence.ts";
import { formatLength, formatNumber, formatRelative, formatShare, formatTime, formatValue } from "../../web/format.ts";
import { syscallCharts } from "../../web/syscalls.ts";
import { timeTicks } from "../../web/time-ticks.ts";
import { headline, impactSentence, partitionWords, seriesIdOf } from "../../web/wording.ts";
import { snapshotOf, verdictOf } from "../services/api/fixture/incident.ts";
import { sceneOf, shapesOf } from "../services/api/fixture/telemetry.ts";

describe("numbers and times", () => {
  test("every value carries its unit", () => {
    expect(formatValue(1.9, "s")).toBe("1.9 s");
    expect(formatValue(0.035, "s")).toBe("35 ms");
    expect(formatValue(0.00002, "s")).toBe("20 µs");
    expect(formatValue(0, "s")).toBe("0 s");
    expect(formatValue(1_500, "ms")).toBe("1.5 s");
    expect(formatValue(310_000_000, "By")).toBe("310 MB");
    expect(formatValue(6.5, "1/s")).toBe("6.5 /s");
    expect(formatValue(12, "{connection}")).toBe("12 connection");
    expect(formatShare(0.0004)).toBe("< 0.1 %");
    expect(formatShare(0.125)).toBe("13 %");
    expect(formatNumber(1_234_567)).toBe("1.23 M");
  });

  test("times of another day name the day, lengths use the unit that fits", () => {
    const noon = new Date(2026, 10, 25, 12, 0, 0).getTime();
    expect(formatTime(noon - 60_000, noon)).toBe("11:59:00");
    expect(formatTime(noon - 86_400_000, noon)).toBe("24 Nov 12:00:00");
    expect(formatRelative(noon - 360_000, noon)).toBe("6 min ago");
    expect(formatRelative(noon + 600_000, noon)).toBe("in 10 min");
    expect([90_000, 3_600_000, 10_800_000, 172_800_000].map(formatLength)).toEqual(["90 s", "60 min", "3 h", "2 d"]);
  });

  test("ticks lie in the range, evenly, and never more than asked for", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1e12, max: 2e12 }), fc.integer({ min: 1_000, max: 40 * 86_400_000 }), (fromMs, length) => {
        const ticks = timeTicks(fromMs, fromMs + length, 4);
        expect(ticks.length).toBeLessThanOrEqual(4);
        expect(ticks.every((tick) => tick >= fromMs && tick < fromMs + length)).toBe(true);
        const gaps = new Set(ticks.slice(1).map((tick, index) => tick - ticks[index]!));
        expect(gaps.size).toBeLessThanOrEqual(1);
      }),
    );
    expect(timeTicks(5, 5, 4)).toEqual([]);
  });
});

describe("words that the contract also has are the contract's", () => {
  test("series ids", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), fc.string(), (entity, metric, attributes) => {
        const key = { entity, metric, statistic: "p95" as const, attributes };
        expect(seriesIdOf(key)).toBe(seriesId(key));
      }),
    );
  });

  test("the headline of an incident with and without a verdict", () => {
    const scene = sceneOf();
    const impact: Impact = { entity: "shop", objective: "latency", badRatio: 0.4, requestsPerSecond: 3 };
    const lesser: Impact = { entity: "blog", objective: "availability", badRatio: 0.2, requestsPerSecond: 30 };
    const incident = { impacts: [lesser, impact], verdicts: [] as Incident["verdicts"] } as unknown as Incident;
    expect(headline(incident)).toBe(incidentSentence(incident));
    const judged = { ...incident, verdicts: [verdictOf(scene, "x", 1)] };
    expect(headline(judged)).toBe(incidentSentence(judged));
    expect(impactSentence({ ...impact, badRatio: 0 })).toBe("shop: requests are too slow, says an alert");
  });
});

test("partitions are ranges, by topic", () => {
  expect(partitionWords({})).toBe("");
  expect(partitionWords({ window: [], dependency: [7] })).toBe("dependency 7");
  expect(partitionWords({ window: [10, 0, 1, 2, 9], anomaly: [3, 4] })).toBe("window 0–2, 9–10 · anomaly 3–4");
});

test("system calls are charts by frequency; errors and durations of them are others'", () => {
  const sample = (value: number) => ({ windowStartMs: 1, value, lower: null, upper: null, score: null });
  const series = (metric: string, attributes: string, values: readonly number[], statistic: "rate" | "p95" = "rate") => ({
    ...{ key: { entity: "a", metric, statistic, attributes }, unit: "1/s", state: "tracked" as const, readyAtMs: null },
    samples: values.map(sample),
  });
  const charts = syscallCharts([
    series("kernel.syscall.count", "syscall=openat", [3, 4]),
    series("kernel.syscall.count", "syscall=read/32", [30, 40]),
    series("kernel.syscall.count", "syscall=idle", []),
    series("kernel.syscall.errors", "syscall=openat", [900]),
    series("kernel.syscall.count", "", [5]),
  ]);
  expect(charts.map(({ name }) => name)).toEqual(["read/32", "openat", "all"]);
});

describe("evidence", () => {
  const scene = sceneOf();
  const snapshot = snapshotOf(scene);
  const { result } = verdictOf(scene, "inc", 1);

  test("claims come heaviest first, each with what it rests on, and no chart twice", () => {
    const items = evidenceFor(result, snapshot);
    expect(items.map((item) => item.claim.weight)).toEqual([0.5, 0.3, 0.2]);
    expect(items[1]?.operations).toHaveLength(1);
    expect(items[1]?.templates).toHaveLength(1);
    expect(items[1]?.charts[0]?.series).toMatchObject({
      metric: "span.server.duration",
      statistic: "p95",
      attributes: "operation=POST /pay",
    });
    const ids = items.flatMap((item) => item.charts.map((chart) => chart.id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(evidenceAgainst(result, snapshot)[0]?.charts[0]?.series.metric).toBe("process.cpu.utilization");
    expect(impactCharts(snapshot).map((chart) => chart.series.entity)).toEqual(["storefront"]);
  });

  test("without the snapshot the claims are still there, as words", () => {
    expect(evidenceFor(result, null).map((item) => item.charts.length)).toEqual([0, 0, 0]);
  });

  test("a chart has the stored band, or the sealed values without one when the store has dropped them", () => {
    const chart = evidenceFor(result, snapshot)[0]!.charts[0]!;
    expect(pointsOf(chart, []).values).toEqual(chart.series.values);
    expect(pointsOf(chart, []).upper.every((value) => value === null)).toBe(true);
    const key = shapesOf(scene)[0]!.key;
    const sample = { windowStartMs: 1, value: 2, lower: 1, upper: 3, score: 0 };
    const stored = [{ key, unit: "s", state: "tracked" as const, readyAtMs: null, samples: [sample] }];
    expect(pointsOf(chart, stored)).toEqual({ atMs: [1], values: [2], lower: [1], upper: [3] });
  });

  test("a name that looks like a dependency is not taken apart", () => {
    const odd = { ...snapshot, entities: [{ ...snapshot.entities[0]!, id: "a>b" }] };
    expect(ownerOf("a>b", odd)).toBe("a>b");
    expect(nameOf("a>b", odd)).toBe("a>b");
    expect(ownerOf("checkout>payment", snapshot)).toBe("checkout");
    expect(nameOf("checkout>payment", snapshot)).toBe("checkout → payment");
  });
});

describe("the causal part of the graph", () => {
  const scene = sceneOf();
  const { result } = verdictOf(scene, "inc", 1);

  test("runs from the cause along its callers to who is hurt", () => {
    const graph = causalGraph(result, snapshotOf(scene));
    expect(graph.nodes.map((node) => [node.id, node.role, node.layer])).toEqual([
      ["payment", "cause", 0],
      ["checkout", "critical-failure", 1],
      ["storefront", "impact", 2],
    ]);
    expect(graph.edges).toEqual([
      { from: "checkout", to: "storefront", cause: "no" },
      { from: "payment", to: "checkout", cause: "no" },
    ]);
    expect(graph.leftOut).toBe(0);
  });

  test("a dependency as the cause is drawn as the edge it is", () => {
    const first = { ...result.ranking[0]!, type: "dependency" as const, id: "checkout>payment" };
    const graph = causalGraph({ ...result, ranking: [first] }, snapshotOf(scene));
    expect(graph.edges.find((edge) => edge.cause === "yes")).toEqual({ from: "payment", to: "checkout", cause: "yes" });
  });

  test("never has more than twelve nodes, ends in a cycle, and says how many it left out", () => {
    const snapshot = snapshotOf(scene);
    const names = Array.from({ length: 30 }, (_, index) => `s${index}`);
    const entities = names.map((id) => ({ ...snapshot.entities[0]!, id }));
    const dependencies = names.map((id, index) => {
      const target = names[(index + 1) % 30]!;
      return { ...snapshot.dependencies[0]!, id: `${id}>${target}`, source: id, target };
    });
    const ranking = names.map((id) => ({ ...result.ranking[1]!, id }));
    const large = { ...snapshot, entities, dependencies, symptoms: [{ entity: "s5", metric: "availability", atMs: 0 }] };
    const graph = causalGraph({ ...result, ranking }, large);
    expect(graph.nodes).toHaveLength(causalNodesMax);
    expect(graph.leftOut).toBe(30 - causalNodesMax);
    expect(new Set(graph.nodes.map((node) => `${node.layer} ${node.place}`)).size).toBe(causalNodesMax);
  });

  test("an empty ranking draws who is hurt and nothing else", () => {
    const graph = causalGraph({ ...result, ranking: [] }, snapshotOf(scene));
    expect(graph.nodes.map((node) => [node.id, node.role])).toEqual([["storefront", "impact"]]);
  });
});

import { expect, test } from "vitest";
import type { Dependency, Entity } from "../../../contract/entity.ts";
import type { DurationWindow } from "../../../contract/port.ts";
import type { KeptSpan } from "../../../contract/window.ts";
import { faultInterval, normalInterval, normalRange } from "../../../services/ranking/intervals.ts";
import { ownTimes } from "../../../services/ranking/own-time.ts";
import { entitiesMax, selectGraph, snapshotDependency } from "../../../services/ranking/select-graph.ts";
import { selectInvocations, selectOperations } from "../../../services/ranking/select-operations.ts";
import { selectSeries, selectTemplates } from "../../../services/ranking/select-series.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";

const trace = "a".repeat(32);

function entity(id: string): Entity {
  return anEntity(id, { seenMs: 0 });
}

function dependency(source: string, target: string, more: { validFromMs: number } = { validFromMs: 0 }): Dependency {
  return aDependency(source, target, { addresses: [`${target}:80`], ...more });
}

function view(entities: Entity[], dependencies: Dependency[]) {
  return { completeThroughMs: 0, entities, dependencies };
}

let spanCount = 0;
function span(more: Partial<KeptSpan>): KeptSpan {
  spanCount += 1;
  const spanId = spanCount.toString(16).padStart(16, "0");
  return {
    ...{ traceId: trace, spanId, parentSpanId: null, entity: "shop", operation: "GET /", kind: "server", peer: null, startAtUs: 0 },
    ...{ durationNs: 1_000, failed: false, statusMessage: "", exception: null, windowStartMs: 0, keptBecause: "sampled" },
    ...more,
  } as KeptSpan;
}

const graph = selectGraph([view([entity("shop"), entity("payment")], [dependency("shop", "payment")])], ["shop"]);
const normal = { fromMs: 0, toMs: 10_000 };
const fault = { fromMs: 12_000, toMs: 20_000 };

test("the graph is cut to what lies around the symptoms, nearest first, whichever way calls go", () => {
  const many = Array.from({ length: 300 }, (_, index) => entity(`far-${String(index).padStart(3, "0")}`));
  const chain = many.slice(1).map((item, index) => dependency(many[index]!.id, item.id));
  const selected = selectGraph([view([entity("shop"), entity("alone"), ...many], [dependency("far-000", "shop"), ...chain])], ["shop"]);
  expect(selected.entities).toHaveLength(entitiesMax);
  expect(selected.left).toBe(101);
  expect(selected.entities.map(({ id }) => id)).toContain("far-198");
  expect(selected.entities.map(({ id }) => id)).not.toContain("alone");
  expect(selected.dependencies.every(({ target }) => target !== "far-199")).toBe(true);
});

test("a dependency carries its first sighting only when that was shortly before the onset", () => {
  const at = { onsetMs: 100_000, windowMs: 1_000 };
  expect(snapshotDependency(dependency("a", "b", { validFromMs: 95_000 }), at).validFromMs).toBe(95_000);
  expect(snapshotDependency(dependency("a", "b", { validFromMs: 5_000 }), at).validFromMs).toBeNull();
});

test("own time is what children do not cover, overlaps counted once, and only for whole traces", () => {
  const parent = span({ durationNs: 100_000 });
  const child = (fromUs: number, durationNs: number) => span({ parentSpanId: parent.spanId, startAtUs: fromUs, durationNs });
  const own = ownTimes([parent, child(10, 20_000), child(20, 20_000), child(90, 50_000)]);
  expect(own.get(`${trace}/${parent.spanId}`)).toBe(100_000 - 30_000 - 10_000);
  const slow = span({ traceId: "b".repeat(32), keptBecause: "slow" });
  expect(ownTimes([slow]).size).toBe(0);
});

function row(more: Partial<DurationWindow>): DurationWindow {
  const base = { entity: "shop", metric: "span.server.duration", attributes: "operation=GET /", windowStartMs: 0 };
  return { ...base, count: 10, failed: 0, sumNs: 0, buckets: [[320, 10]], ...more };
}

test("histograms of an interval are merged, and spans say where errors began", () => {
  const call = span({ entity: "shop", kind: "client", peer: "payment:80", failed: true, keptBecause: "failed", windowStartMs: 13_000 });
  const origin = span({
    ...{ entity: "payment", operation: "POST /pay, twice", failed: true, keptBecause: "failed", parentSpanId: call.spanId },
    ...{ exception: "Boom: no", windowStartMs: 13_000 },
  });
  const durations = [
    row({}),
    row({ windowStartMs: 1_000, buckets: [[336, 10]] }),
    row({ windowStartMs: 11_000, buckets: [[400, 10]] }),
    row({ attributes: "", count: 99 }),
    row({ metric: "span.client.duration", attributes: "peer=payment:80", windowStartMs: 13_000, failed: 1 }),
    row({ entity: "payment", attributes: "operation=POST /pay; twice", windowStartMs: 13_000, failed: 1 }),
  ];
  const operations = selectOperations({ durations, spans: [call, origin], normal, fault, graph });
  const [payment, client, server] = operations;
  expect(operations.map(({ id }) => id)).toEqual([
    "operation:payment|server|POST /pay; twice|",
    "operation:shop|client||payment:80",
    "operation:shop|server|GET /|",
  ]);
  expect(server?.normal).toMatchObject({
    count: 20,
    p50Ns: Math.round(2 ** 20 * (1 + 0.5 / 16)),
    p95Ns: Math.round(2 ** 21 * (1 + 0.5 / 16)),
  });
  expect(server?.abnormal.count).toBe(0);
  expect(client).toMatchObject({ callee: "payment", abnormal: { failed: 1, failedAtOrigin: 0 }, exception: null });
  expect(payment).toMatchObject({ abnormal: { failedAtOrigin: 1 }, exception: "Boom: no", examples: [`${trace}/${origin.spanId}`] });
  expect(selectInvocations(operations)).toEqual([
    { entity: "payment", normal: 0, abnormal: 10 },
    { entity: "shop", normal: 20, abnormal: 0 },
  ]);
});

test("what a caller measured of a known callee belongs to the dependency; values that are no numbers are left out", () => {
  const key = { entity: "shop", metric: "span.client.duration", statistic: "p95" as const };
  const sample = { windowStartMs: 0, lower: null, upper: null, score: null };
  const stored = ["peer=payment:80", "peer=nobody:1", ""].map((attributes) => ({
    key: { ...key, attributes },
    unit: "s",
    state: "tracked" as const,
    readyAtMs: null,
    samples: [
      { ...sample, value: 1 },
      { ...sample, windowStartMs: 1_000, value: Number.NaN },
    ],
  }));
  const series = selectSeries(stored, graph);
  expect(series.map(({ entity: owner, attributes, values }) => [owner, attributes, values])).toEqual([
    ["shop", "", [1]],
    ["shop", "peer=nobody:1", [1]],
    ["shop>payment", "peer=payment:80", [1]],
  ]);
  expect(series[2]).toMatchObject({ id: "series:shop|span.client.duration|p95|peer=payment:80", kind: "latency" });
});

test("templates are counted per interval, with the first time they were seen", () => {
  const count = { entity: "shop", template: "t", severity: "WARN" as const, text: "slow <n>", count: 2 };
  const counts = [3_000, 11_000, 13_000, 14_000].map((windowStartMs) => ({ ...count, windowStartMs }));
  expect(selectTemplates([...counts, { ...count, severity: "ERROR", windowStartMs: 15_000 }], { normal, fault })).toEqual([
    { id: "template:shop|t", entity: "shop", text: "slow <n>", severity: "ERROR", normalCount: 2, abnormalCount: 6, firstSeenMs: 3_000 },
  ]);
});

test("normal ends two windows before the onset, and begins after warm-up and after earlier incidents while enough is left", () => {
  const range = normalRange({ onsetMs: 1_000_000, windowMs: 1_000 });
  expect(range).toEqual({ fromMs: 698_000, toMs: 998_000 });
  const windowMs = 1_000;
  expect(normalInterval(range, { firstSeenMs: 698_000, earlier: [], windowMs }).fromMs).toBe(698_000);
  expect(normalInterval(range, { firstSeenMs: 960_000, earlier: [], windowMs }).fromMs).toBe(965_000);
  expect(normalInterval(range, { firstSeenMs: 990_000, earlier: [], windowMs }).fromMs).toBe(990_000);
  const earlier = [
    { fromMs: 700_000, toMs: 800_000 },
    { fromMs: 950_000, toMs: 995_000 },
  ];
  expect(normalInterval(range, { firstSeenMs: null, earlier, windowMs }).fromMs).toBe(800_000);
});

test("a fault is at least one window, and of a long one the beginning is looked at", () => {
  expect(faultInterval({ onsetMs: 5_000, askedForMs: 5_000, windowMs: 1_000 })).toEqual({ fromMs: 5_000, toMs: 6_000 });
  expect(faultInterval({ onsetMs: 0, askedForMs: 10_000_000, windowMs: 1_000 })).toEqual({ fromMs: 0, toMs: 900_000 });
});

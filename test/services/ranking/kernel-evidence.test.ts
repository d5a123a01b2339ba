import { expect, test } from "vitest";
import type { Dependency, Entity } from "../../../contract/entity.ts";
import type { EvidenceSnapshot } from "../../../contract/evidence.ts";
import type { DurationWindow, GraphStore, LineQuery, StoredSeries, TelemetryStore } from "../../../contract/port.ts";
import type { RankResult } from "../../../contract/verdict.ts";
import type { KeptLine, KeptSpan } from "../../../contract/window.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { ManualClock } from "../../../services/platform.ts";
import { blindSpots } from "../../../services/ranking/blind-spots.ts";
import { kernelPathOf } from "../../../services/ranking/kernel-path.ts";
import { readGraph, selectGraph, snapshotEntity } from "../../../services/ranking/select-graph.ts";
import { selectOperations } from "../../../services/ranking/select-operations.ts";
import { selectSeries, selectTemplates } from "../../../services/ranking/select-series.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";

const folder = useTemporaryFolder();
const normal = { fromMs: 0, toMs: 10_000 };
const fault = { fromMs: 12_000, toMs: 20_000 };

const entity = (id: string, more: Partial<Entity> = {}): Entity => ({ ...anEntity(id, { seenMs: 0 }), ...more });
const dependency = (source: string, target: string, ...addresses: string[]): Dependency =>
  aDependency(source, target, { validFromMs: 0, addresses });

const redis = "redis@127.0.0.1:6379";
const graph = selectGraph(
  [
    {
      completeThroughMs: 0,
      entities: [entity("shop"), entity("cart"), entity(redis, { type: "datastore" })],
      dependencies: [dependency("shop", "cart", "cart:80", "10.0.0.3:80"), dependency("cart", redis, redis)],
    },
  ],
  ["shop"],
);

function row(
  entityId: string,
  metric: string,
  attributes: string,
  of: { during: [count: number, failed: number]; before?: [number, number] },
): DurationWindow[] {
  const window = (windowStartMs: number, [count, failed]: [number, number]): DurationWindow => {
    return { entity: entityId, metric, attributes, windowStartMs, count, failed, sumNs: count, buckets: [[300, count]] };
  };
  return [window(5_000, of.before ?? [10, 0]), window(15_000, of.during)];
}

const operations = (durations: DurationWindow[], spans: KeptSpan[] = []) => selectOperations({ durations, spans, normal, fault, graph });

test("the kernel's operations stand where spans say nothing of the same requests or calls, whatever either calls them", () => {
  const found = operations([
    ...row("shop", "span.server.duration", "operation=GET /", { during: [10, 0] }),
    ...row("shop", "kernel.server.duration", "operation=GET /*", { during: [10, 0] }),
    ...row("shop", "span.client.duration", "peer=cart:80", { during: [10, 0] }),
    ...row("shop", "kernel.client.duration", "peer=10.0.0.3:80", { during: [10, 0] }),
    ...row("cart", "kernel.server.duration", "operation=GET /cart", { during: [10, 0] }),
    ...row("cart", "kernel.client.duration", "peer=127.0.0.1:6379", { during: [10, 0] }),
  ]);
  expect(found.map(({ id, callee, source }) => [id, callee, source])).toEqual([
    ["operation:cart|client||127.0.0.1:6379", redis, "kernel"],
    ["operation:cart|server|GET /cart|", null, "kernel"],
    ["operation:shop|client||cart:80", "cart", undefined],
    ["operation:shop|server|GET /|", null, undefined],
  ]);
  expect(found.filter((operation) => "source" in operation)).toHaveLength(2);
});

test("without nesting, failures began where an entity's own calls do not explain them, and calls where the callee's answers do not", () => {
  const server = (id: string, during: [number, number]) => row(id, "kernel.server.duration", "operation=GET /", { during });
  const calls = (id: string, peer: string, during: [number, number]) => row(id, "kernel.client.duration", `peer=${peer}`, { during });
  const originOf = (durations: DurationWindow[]) =>
    Object.fromEntries(operations(durations).map(({ entity: id, side, abnormal }) => [`${id} ${side}`, abnormal.failedAtOrigin]));
  const begun = [...server("shop", [100, 40]), ...calls("shop", "10.0.0.3:80", [100, 40])];
  expect(originOf([...begun, ...server("cart", [100, 40]), ...calls("cart", redis, [100, 0])])).toEqual({
    ...{ "shop server": 0, "shop client": 0 },
    ...{ "cart server": 40, "cart client": 0 },
  });
  expect(originOf([...begun, ...server("cart", [100, 40]), ...calls("cart", redis, [100, 40]), ...server(redis, [100, 40])])).toEqual({
    ...{ "shop server": 0, "shop client": 0, "cart server": 0, "cart client": 0 },
    [`${redis} server`]: 40,
  });
  expect(originOf([...begun, ...server("cart", [60, 0])])).toEqual({ "shop server": 0, "shop client": 40, "cart server": 0 });
});

test("what the kernel kept of a request is no child and no origin among spans, and shows the kernel's operations", () => {
  const span = (spanId: string, more: Partial<KeptSpan>): KeptSpan => ({
    ...{ traceId: "a".repeat(32), spanId: spanId.repeat(16), parentSpanId: null, entity: "cart", operation: "GET /cart", kind: "server" },
    ...{ peer: null, startAtUs: 15_000_000, durationNs: 1_000, failed: true, statusMessage: "503", exception: null },
    ...{ windowStartMs: 15_000, keptBecause: "failed", ...more },
  });
  const durations = row("cart", "span.server.duration", "operation=GET /cart", { during: [10, 1] });
  const own = span("1", { statusMessage: "boom" });
  const [told] = operations(durations, [own, span("2", { source: "kernel", parentSpanId: own.spanId }), span("3", { source: "kernel" })]);
  expect(told).toMatchObject({ exception: "boom", examples: [`${own.traceId}/${own.spanId}`], abnormal: { failedAtOrigin: 1 } });
  const [seen] = operations(row("cart", "kernel.server.duration", "operation=GET /cart", { during: [10, 1] }), [
    span("2", { source: "kernel" }),
  ]);
  expect(seen).toMatchObject({ exception: "503", examples: [`${"a".repeat(32)}/${"2".repeat(16)}`], source: "kernel" });
});

function stored(entityId: string, metric: string, attributes: string, statistic: "rate" | "p95" | "value" = "rate"): StoredSeries {
  const samples = [{ windowStartMs: 0, value: 1, lower: null, upper: null, score: null }];
  return { key: { entity: entityId, metric, statistic, attributes }, unit: "", state: "tracked", readyAtMs: null, samples };
}

test("series of connections belong to their dependency, and what the program tells itself is not told again by the kernel", () => {
  const series = selectSeries(
    [
      stored("shop", "kernel.tcp.retransmits", "peer=10.0.0.3:80"),
      stored("cart", "kernel.tcp.io", "network.io.direction=receive,peer=127.0.0.1:6379"),
      stored("shop", "span.server.duration", "", "p95"),
      stored("shop", "kernel.server.duration", "", "p95"),
      stored("cart", "kernel.server.duration", "", "p95"),
      stored("shop", "process.cpu.utilization", "", "value"),
      stored("shop", "process.cpu.utilization", "source=kernel", "value"),
      stored("cart", "process.cpu.utilization", "source=kernel", "value"),
      stored("shop", "kernel.cpu.wait.utilization", "", "value"),
    ],
    graph,
  );
  expect(series.map((item) => [item.entity, item.metric, item.source])).toEqual([
    ["cart", "kernel.server.duration", "kernel"],
    [`cart>${redis}`, "kernel.tcp.io", "kernel"],
    ["cart", "process.cpu.utilization", "kernel"],
    ["shop", "kernel.cpu.wait.utilization", "kernel"],
    ["shop>cart", "kernel.tcp.retransmits", "kernel"],
    ["shop", "process.cpu.utilization", undefined],
    ["shop", "span.server.duration", undefined],
  ]);
});

test("hosts that tell of themselves are evidence, linked by whoever is on them; of others the name stays", async () => {
  const store: GraphStore = await openMemoryGraphStore({ directory: folder.path, clock: new ManualClock(0), onCounted: () => undefined });
  const entities = [
    entity("shop", { host: "node-1" }),
    entity("cart", { host: "node-2" }),
    entity("host/node-1", { type: "host", name: "node-1", host: "node-1" }),
  ];
  await store.apply({ partition: 0, completeThroughMs: 0, entities, dependencies: [dependency("shop", "cart", "cart:80")] });
  const found = await readGraph(store, { onsetMs: 10, askedMs: 20, symptoms: ["shop"] });
  await store.close();
  expect(found.entities.map(({ id }) => id)).toEqual(["cart", "host/node-1", "shop"]);
  expect(found.entities.map((one) => snapshotEntity(one, found).host)).toEqual(["node-2", "node-1", "host/node-1"]);
});

test("an entity of which the kernel alone tells is a blind spot of another kind than one of which nobody does", () => {
  const seen = operations(row("cart", "kernel.server.duration", "operation=GET /", { during: [10, 0] }));
  const spots = blindSpots({ graph, stored: [], series: [], operations: seen, cut: [], changesOfNobody: [] });
  expect(spots.map(({ what }) => what)).toEqual([
    "no spans from shop",
    "no spans from cart, only what the kernel sees",
    "no metrics from cart, shop",
  ]);
});

const line = (atMs: number, batch: string | null): KeptLine => ({
  ...{
    entity: "cart",
    atUs: atMs * 1_000,
    severity: "ERROR",
    body: "headwater.process.exit: node (pid 7) by signal 9",
    shape: "0".repeat(16),
  },
  ...{ traceId: null, spanId: null, windowStartMs: atMs, ...(batch === null ? {} : { batch }) },
});

test("a verdict names the kernel's samples and events that its claims rest on, with the batches that brought them, and no others", async () => {
  const [template] = selectTemplates(
    [
      {
        entity: "cart",
        template: "0".repeat(16),
        severity: "ERROR",
        text: "headwater.process.exit: node (pid <number>) by signal <number>",
        windowStartMs: 15_000,
        count: 2,
      },
    ],
    { normal, fault },
  );
  const [used, unused] = selectSeries(
    [stored("cart", "kernel.cpu.wait.utilization", "", "value"), stored("shop", "kernel.cpu.wait.utilization", "", "value")],
    graph,
  );
  const series = [{ ...used!, atMs: [5_000, 15_000, 16_000], values: [1, 2, 3] }, unused!];
  const snapshot = { windowMs: 1_000, normal, fault, series, operations: [], templates: [template!] } as unknown as EvidenceSnapshot;
  const result = { ranking: [{ claims: [{ evidence: [used!.id, template!.id] }, { evidence: [] }] }] } as unknown as RankResult;
  const asked: LineQuery[] = [];
  const telemetry = {
    lines: async (query: LineQuery) => {
      asked.push(query);
      return [line(16_000, null), line(15_500, "gateway-12")];
    },
  } as unknown as TelemetryStore;
  expect(template?.source).toBe("kernel");
  expect(await kernelPathOf({ snapshot, result }, telemetry)).toEqual({
    samples: [{ id: used!.id, fromMs: 15_000, toMs: 17_000, windows: 2 }],
    events: [
      { entity: "cart", event: "headwater.process.exit", atMs: 15_500, text: line(0, null).body, batch: "gateway-12" },
      { entity: "cart", event: "headwater.process.exit", atMs: 16_000, text: line(0, null).body, batch: null },
    ],
    left: 0,
  });
  expect(asked).toEqual([{ entities: ["cart"], template: "0".repeat(16), ...fault, templatesMax: 50 }]);
  expect(await kernelPathOf({ snapshot, result: { ranking: [] } as unknown as RankResult }, telemetry)).toBeNull();
});

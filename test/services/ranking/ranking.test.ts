import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { contentHash } from "../../../contract/canonical.ts";
import { EvidenceSnapshot } from "../../../contract/evidence.ts";
import type { EventStore, GraphStore, Queue, SeriesSamples, TelemetryAppend, TelemetryStore } from "../../../contract/port.ts";
import { type VerdictMessage, VerdictMessage as VerdictMessageSchema, type VerdictRequest } from "../../../contract/verdict.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { createLogger, createMetrics, ManualClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import { createRanking } from "../../../services/ranking/ranking.ts";
import type { Stage } from "../../../services/stage.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { openSqliteEventStore } from "../../../store/sqlite/sqlite-event-store.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { bucketOf } from "../incident/served.ts";
import { tellWholeGraph } from "../whole-graph.ts";

const epochMs = 1_700_000_000_000;
const onsetMs = epochMs + 60_000;
const engines = { queue: "q", log: "l", graph: "g", events: "e", telemetry: "t" };

interface World {
  readonly queue: Queue;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly telemetry: TelemetryStore;
  readonly verdicts: VerdictMessage[];
  readonly stage: Stage;
  close(): Promise<void>;
}

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function openWorld(options: { graphAttemptsMax?: number } = {}): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), "headwater-ranking-"));
  const clock = new ManualClock(epochMs);
  const platform = { clock, logger: createLogger("silent"), metrics: createMetrics(), random: () => 0.5 };
  const onCounted = (): void => undefined;
  const queue = await openMemoryQueue({ directory: join(directory, "queue"), clock, onCounted });
  const events = await openSqliteEventStore({ file: join(directory, "events.sqlite"), clock, onCounted });
  const graph = await openMemoryGraphStore({ directory: join(directory, "graph"), clock, onCounted });
  const telemetry = await openDuckdbTelemetryStore({ directory: join(directory, "telemetry"), tenant: "default", clock, onCounted });
  const verdicts: VerdictMessage[] = [];
  await queue.subscribe("verdict", "incident", async (message) => void verdicts.push(message), { concurrency: 1 });
  const stage = createRanking({
    platform,
    queue,
    events,
    graph,
    telemetry,
    window: { windowMs: 1_000 },
    engines,
    ...options,
  });
  await stage.start();
  const world: World = {
    ...{ queue, events, graph, telemetry, verdicts, stage },
    async close() {
      await stage.stop();
      await queue.close();
      await events.close();
      await graph.close();
      await telemetry.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  worlds.push(world);
  return world;
}

async function linkShopToPayment(graph: GraphStore, completeThroughMs = epochMs + 86_400_000): Promise<void> {
  const entities = ["shop", "payment", "silent"].map((id) => anEntity(id, { seenMs: epochMs, entry: id === "shop" }));
  const dependencies = ["payment", "silent"].map((target) =>
    aDependency("shop", target, { validFromMs: epochMs, addresses: [`${target}:80`] }),
  );
  await tellWholeGraph(graph, { completeThroughMs, entities, dependencies });
}

/** One second of shop calling payment, which takes `ms` of its own and fails `failed` of 20 requests. */
function secondOf(second: number, what: { ms: number; failed: number }): TelemetryAppend[] {
  const windowStartMs = epochMs + second * 1_000;
  const jitter = (second % 5) * 0.2;
  const duration = (entity: string, metric: string, attributes: string, ms: number) => ({
    ...{ entity, metric, attributes, windowStartMs, count: 20, failed: what.failed, sumNs: Math.round(20 * ms * 1e6) },
    buckets: [[bucketOf(ms * 1e6), 20]] as const,
  });
  const series = (entity: string, metric: string, attributes: string, value: number): SeriesSamples => ({
    key: { entity, metric, statistic: "p95", attributes },
    unit: "s",
    state: second > 55 ? "tracked" : "learning",
    readyAtMs: null,
    samples: [{ windowStartMs, value, lower: null, upper: null, score: null }],
  });
  const shopMs = what.ms + 2 + jitter;
  const trace = (number: number) => (second * 100 + number + 1).toString(16).padStart(32, "0");
  const spans = Array.from({ length: 20 }, (_, number) => {
    const failed = number < what.failed;
    const common = {
      traceId: trace(number),
      failed,
      statusMessage: "",
      windowStartMs,
      keptBecause: failed ? "failed" : "sampled",
    } as const;
    const at = windowStartMs * 1_000 + number * 10_000;
    const id = (last: number) => `${trace(number).slice(-15)}${last}`;
    return {
      shop: [
        {
          ...common,
          spanId: id(1),
          parentSpanId: null,
          entity: "shop",
          operation: "GET /",
          kind: "server" as const,
          peer: null,
          exception: null,
          startAtUs: at,
          durationNs: Math.round(shopMs * 1e6),
        },
        {
          ...common,
          spanId: id(2),
          parentSpanId: id(1),
          entity: "shop",
          operation: "POST",
          kind: "client" as const,
          peer: "payment:80",
          exception: null,
          startAtUs: at + 500,
          durationNs: Math.round((what.ms + 1) * 1e6),
        },
      ],
      payment: [
        {
          ...common,
          spanId: id(3),
          parentSpanId: id(2),
          entity: "payment",
          operation: "POST /pay",
          kind: "server" as const,
          peer: null,
          exception: failed ? "PoolTimeout: no connection" : null,
          startAtUs: at + 700,
          durationNs: Math.round(what.ms * 1e6),
        },
      ],
    };
  });
  const none = { templates: [], lines: [] };
  const templates =
    what.failed > 0
      ? [{ entity: "payment", template: "00000000000000aa", severity: "ERROR" as const, text: "no connection", windowStartMs, count: 5 }]
      : [];
  return [
    {
      ...{ key: `1/${windowStartMs}/0`, windowStartMs, ...none },
      series: [
        series("shop", "span.server.duration", "operation=GET /", shopMs / 1_000),
        series("shop", "span.client.duration", "peer=payment:80", (what.ms + 1) / 1_000),
      ],
      durations: [
        duration("shop", "span.server.duration", "", shopMs),
        duration("shop", "span.server.duration", "operation=GET /", shopMs),
        duration("shop", "span.client.duration", "peer=payment:80", what.ms + 1),
      ],
      spans: spans.flatMap((both) => both.shop),
    },
    {
      ...{ key: `2/${windowStartMs}/0`, windowStartMs, ...none, templates },
      series: [series("payment", "span.server.duration", "operation=POST /pay", what.ms / 1_000)],
      durations: [duration("payment", "span.server.duration", "operation=POST /pay", what.ms)],
      spans: spans.flatMap((both) => both.payment),
    },
  ];
}

/** A minute of health, then payment is slow and fails. */
function minuteAndFault(): TelemetryAppend[][] {
  return Array.from({ length: 80 }, (_, second) => secondOf(second, second < 60 ? { ms: 5, failed: 0 } : { ms: 180, failed: 8 }));
}

const request: VerdictRequest = {
  ...{ id: "r1", incident: "i1", version: 1, askedForMs: onsetMs + 15_000, reason: "onset+15s", onsetMs },
  symptoms: [{ entity: "shop", metric: "availability", atMs: onsetMs }],
};

const deploy = {
  id: "c1",
  atMs: epochMs + 50_000,
  entity: "payment",
  kind: "deploy" as const,
  summary: "v2",
  actor: null,
  undo: "kubectl rollout undo",
};

async function answered(world: World): Promise<VerdictMessage> {
  await world.stage.settle();
  await world.queue.drain();
  const last = world.verdicts.at(-1);
  expect(last).toBeDefined();
  return VerdictMessageSchema.parse(last);
}

async function snapshotOf(world: World, hash: string): Promise<EvidenceSnapshot> {
  const stored = await world.events.read(`evidence/${hash}`);
  expect(stored).toHaveLength(1);
  return EvidenceSnapshot.parse(stored[0]?.data);
}

test("the slow and failing callee is ranked first, and its evidence is sealed under its hash", async () => {
  const world = await openWorld();
  await linkShopToPayment(world.graph);
  await world.telemetry.append(minuteAndFault().flat());
  const changes = [deploy, { ...deploy, id: "c2", entity: "nobody" }, { ...deploy, id: "c3", atMs: onsetMs - 1_800_001 }];
  await world.events.append(
    "change",
    changes.map((change) => ({ type: "change-recorded", change })),
    { expectedSequence: 0 },
  );
  await world.queue.publish("verdict-request", request);
  const { verdict } = await answered(world);
  expect(verdict.result.ranking[0]).toMatchObject({ id: "payment", role: "cause" });
  expect(verdict).toMatchObject({ incident: "i1", version: 1, reason: "onset+15s", askedForMs: request.askedForMs });

  const snapshot = await snapshotOf(world, verdict.snapshotHash);
  expect(contentHash(snapshot)).toBe(verdict.snapshotHash);
  expect(snapshot.fault).toEqual({ fromMs: onsetMs, toMs: onsetMs + 15_000 });
  expect(snapshot.normal).toEqual({ fromMs: epochMs + 5_000, toMs: onsetMs - 2_000 });
  expect(snapshot.changes.map(({ id }) => id)).toEqual(["c1"]);
  expect(snapshot.series.map(({ entity, atMs }) => [entity, atMs[0], atMs.at(-1)])).toEqual(
    ["payment", "shop>payment", "shop"].map((entity) => [entity, epochMs + 5_000, onsetMs + 14_000]),
  );
  const operation = snapshot.operations.find(({ entity }) => entity === "payment");
  expect(operation?.normal).toMatchObject({ count: 53 * 20, failed: 0, selfP50Ns: 5_000_000 });
  expect(operation?.abnormal).toMatchObject({ count: 300, failed: 120, failedAtOrigin: 120 });
  expect(operation?.exception).toBe("PoolTimeout: no connection");
  expect(snapshot.operations.find(({ side, entity }) => entity === "shop" && side === "server")?.abnormal.failedAtOrigin).toBe(0);
  expect(snapshot.templates).toMatchObject([{ entity: "payment", normalCount: 0, abnormalCount: 75, firstSeenMs: onsetMs }]);
  const spots = snapshot.blindSpots.map(({ what }) => what);
  expect(spots).toContain("no spans from silent");
  expect(spots).toContain("no metrics from silent");
  expect(spots).toContain("change c2 names something that nobody has seen");
  const commandFor = (what: string) => snapshot.blindSpots.find((spot) => spot.what.startsWith(what))?.command;
  expect(commandFor("no spans")).toBe("OTEL_EXPORTER_OTLP_ENDPOINT={otlpUrl} OTEL_TRACES_EXPORTER=otlp <start it again>");
  expect(commandFor("change c2")).toBe("curl -s {apiUrl}/api/v1/services");
  expect(snapshot.blindSpots.every(({ command }) => command !== "")).toBe(true);
});

test("identical stores give an identical verdict, in whatever order they were filled, and whatever came later", async () => {
  const straight = await openWorld();
  await linkShopToPayment(straight.graph);
  await straight.telemetry.append(minuteAndFault().flat());
  await straight.queue.publish("verdict-request", request);

  const mixed = await openWorld();
  const windows = minuteAndFault();
  const reversed = [...windows].reverse();
  await mixed.telemetry.append(reversed.slice(0, 25).map((both) => both[1]!));
  await mixed.telemetry.append(reversed.map((both) => both[0]!));
  await mixed.telemetry.append(reversed.slice(25).map((both) => both[1]!));
  for (let second = 80; second < 90; second += 1) await mixed.telemetry.append(secondOf(second, { ms: 900, failed: 20 }));
  await linkShopToPayment(mixed.graph);
  await mixed.queue.publish("verdict-request", request);

  expect((await answered(mixed)).verdict).toEqual((await answered(straight)).verdict);
});

test("a request that is delivered twice gives the same verdict and one sealed snapshot", async () => {
  const world = await openWorld();
  await linkShopToPayment(world.graph);
  await world.telemetry.append(minuteAndFault().flat());
  await world.queue.publish("verdict-request", request);
  await world.queue.publish("verdict-request", request);
  const { verdict } = await answered(world);
  expect(world.verdicts.map((message) => message.verdict)).toEqual([verdict, verdict]);
  await snapshotOf(world, verdict.snapshotHash);
});

test("the stretch of an earlier incident is not taken for normal", async () => {
  const world = await openWorld();
  await linkShopToPayment(world.graph);
  const alert = { id: "a", entity: "shop", objective: "availability", startsAtMs: epochMs, endsAtMs: null, summary: "" };
  const impact = { entity: "shop", objective: "availability", badRatio: 1, requestsPerSecond: 1 };
  const events = [
    { type: "opened", atMs: epochMs + 11_000, actor: null, number: 1, onsetMs: epochMs + 10_000, severity: "P1", alert, impact },
    { type: "resolved", atMs: epochMs + 30_000, actor: null, by: "recovery", note: null },
  ];
  await world.events.append("incident/earlier", events, { expectedSequence: 0 });
  await world.queue.publish("verdict-request", request);
  const { verdict } = await answered(world);
  expect(verdict.result.normal).toEqual({ fromMs: epochMs + 30_000, toMs: onsetMs - 2_000 });
});

test("empty stores give an inconclusive verdict that says what is missing", async () => {
  const world = await openWorld({ graphAttemptsMax: 25 });
  await linkShopToPayment(world.graph, epochMs);
  await world.queue.publish("verdict-request", request);
  const { verdict } = await answered(world);
  expect(verdict.result.conclusion).toBe("inconclusive");
  expect(verdict.result.blindSpots.map(({ what }) => what)).toContain("the dependency graph was not complete when it was read");
});

test("the ranker waits for a graph that is completed while it looks", async () => {
  const world = await openWorld();
  await linkShopToPayment(world.graph, epochMs);
  await world.queue.publish("verdict-request", request);
  await new Promise((resolve) => setTimeout(resolve, 30));
  await linkShopToPayment(world.graph, request.askedForMs);
  const { verdict } = await answered(world);
  expect(verdict.result.blindSpots.map(({ what }) => what)).not.toContain("the dependency graph was not complete when it was read");
});

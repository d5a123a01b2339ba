import { afterEach, beforeEach, expect, test } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { EventStore, Queue, TelemetryStore } from "../../../contract/port.ts";
import type { VerdictMessage, VerdictRequest } from "../../../contract/verdict.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { createLogger, createMetrics, ManualClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import { createRanking } from "../../../services/ranking/ranking.ts";
import type { Stage } from "../../../services/stage.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { openSqliteEventStore } from "../../../store/sqlite/sqlite-event-store.ts";
import { temporaryFolder, until } from "../../conformance/temporary.ts";
import { tellWholeGraph } from "../whole-graph.ts";

const epochMs = 1_700_000_000_000;
const cleanups: (() => Promise<unknown>)[] = [];
let queue: Queue;
let stage: Stage;
let verdicts: VerdictMessage[];
let isAway: boolean;
let refusals: number;

beforeEach(async () => {
  const folder = await temporaryFolder();
  const clock = new ManualClock(epochMs);
  const platform = { clock, logger: createLogger("silent"), metrics: createMetrics(), random: () => 0.5 };
  const onCounted = (): void => undefined;
  isAway = true;
  refusals = 0;
  verdicts = [];
  queue = await openMemoryQueue({ directory: `${folder.path}/queue`, clock, onCounted });
  const store = await openSqliteEventStore({ file: `${folder.path}/events.sqlite`, clock, onCounted });
  const graph = await openMemoryGraphStore({ directory: `${folder.path}/graph`, clock, onCounted });
  const telemetry: TelemetryStore = await openDuckdbTelemetryStore({
    directory: `${folder.path}/telemetry`,
    ...{ tenant: "default", clock, onCounted },
  });
  cleanups.push(
    folder.remove,
    () => telemetry.close(),
    () => graph.close(),
    () => store.close(),
    () => queue.close(),
  );
  await tellWholeGraph(graph, { completeThroughMs: epochMs + 86_400_000, entities: [], dependencies: [] });
  const events: EventStore = {
    append: async (stream, appended, options) => {
      if (!isAway) return await store.append(stream, appended, options);
      refusals += 1;
      throw new HeadwaterError("STORE_UNAVAILABLE", "PostgreSQL at 127.0.0.1:1 cannot be reached");
    },
    read: (stream, options) => store.read(stream, options),
    streams: (prefix) => store.streams(prefix),
    subscribe: (options, handler) => store.subscribe(options, handler),
    close: () => store.close(),
  };
  await queue.subscribe("verdict", "incident", async (message) => void verdicts.push(message), { concurrency: 1 });
  const engines = { queue: "q", log: "l", graph: "g", events: "e", telemetry: "t" };
  stage = createRanking({ ...{ platform, queue, events, graph, telemetry, engines }, window: { windowMs: 1_000 } });
  cleanups.push(() => stage.stop());
  await stage.start();
  await queue.publish("verdict-request", request);
});
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
});

const request: VerdictRequest = {
  ...{ id: "r", incident: "i", version: 1, askedForMs: epochMs + 5_000, reason: "onset+5s", onsetMs: epochMs },
  symptoms: [{ entity: "shop", metric: "availability", atMs: epochMs }],
};

test("a request waits for a store that is away, longer than a queue would try, and the stage says what it waits for", async () => {
  await until("it was tried more often than a queue tries", () => refusals > 6);
  expect(stage.reasons()).toEqual(["ranking has waited for 0 s: PostgreSQL at 127.0.0.1:1 cannot be reached"]);
  isAway = false;
  await stage.settle();
  await queue.drain();
  expect(verdicts).toMatchObject([{ verdict: { incident: "i", version: 1 } }]);
  expect(await queue.deadLetters({ lettersMax: 10 })).toEqual([]);
  expect(stage.reasons()).toEqual([]);
});

test("a stop meanwhile ends, and the request stays in the queue", async () => {
  await until("it was tried", () => refusals > 0);
  await stage.stop();
  expect(await queue.depth("verdict-request", "ranking")).toBe(1);
  expect(verdicts).toEqual([]);
});

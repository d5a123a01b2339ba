/** The incident stage over the real embedded adapters in a temporary folder, fed with windows of an imagined shop. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Anomaly, RequestWindow } from "../../../contract/anomaly.ts";
import { allPartitions, partitionOf } from "../../../contract/canonical.ts";
import { type Incident, IncidentEvent } from "../../../contract/incident.ts";
import { foldIncident } from "../../../contract/incident-fold.ts";
import type { EventStore, GraphStore, PartitionLog, Queue } from "../../../contract/port.ts";
import type { VerdictRequest } from "../../../contract/verdict.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { createIncident } from "../../../services/incident/incident.ts";
import { openFilePartitionLog } from "../../../services/log/file-log.ts";
import { createLogger, createMetrics, ManualClock, type Platform } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import type { Stage } from "../../../services/stage.ts";
import { openSqliteEventStore } from "../../../store/sqlite/sqlite-event-store.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { temporaryFolder } from "../../conformance/temporary.ts";
import { tellWholeGraph } from "../whole-graph.ts";
import { served } from "./served.ts";

/** A whole second, so that windows are aligned. */
export const epochMs = 1_700_000_000_000;

export interface Harness {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly log: PartitionLog;
  readonly events: EventStore;
  readonly graph: GraphStore;
  readonly requests: VerdictRequest[];
  readonly stage: Stage;
  /** Appends one window's entries: `what` per entity, and anomalies; partitions in the order given, or 0 to 15. */
  window(second: number, what: Record<string, Parameters<typeof served>[2]>, options?: WindowOptions): Promise<void>;
  /** Several windows that are alike. */
  windows(from: number, to: number, what: Record<string, Parameters<typeof served>[2]>): Promise<void>;
  incidents(): Promise<Incident[]>;
  eventsOf(incident: string): Promise<IncidentEvent[]>;
  close(): Promise<void>;
}

interface WindowOptions {
  readonly anomalies?: readonly Anomaly[];
  readonly partitions?: readonly number[];
}

export interface HarnessOptions {
  /** An existing folder: a restart. */
  readonly directory?: string;
  readonly entries?: readonly string[];
  /** caller → callees */
  readonly calls?: Record<string, readonly string[]>;
}

/** A directory that outlives the harnesses of a test and goes with the test. */
export async function lastingDirectory(): Promise<string> {
  const { path, remove } = await temporaryFolder();
  onTestFinished(remove);
  return path;
}

/** A harness that is closed when its test has finished. */
export async function started(options?: HarnessOptions): Promise<Harness> {
  const harness = await openHarness(options);
  onTestFinished(() => harness.close());
  return harness;
}

export async function openHarness(options: HarnessOptions = {}): Promise<Harness> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "headwater-incident-")));
  const clock = new ManualClock(epochMs);
  const platform: Platform = { clock, logger: createLogger("silent"), metrics: createMetrics(), random: () => 0.5 };
  const onCounted = (): void => undefined;
  const queue = await openMemoryQueue({ directory: join(directory, "queue"), clock, onCounted });
  const log = await openFilePartitionLog({ directory: join(directory, "log"), clock, onCounted, validate: "yes" });
  const events = await openSqliteEventStore({ file: join(directory, "events.sqlite"), clock, onCounted });
  const graph = await openMemoryGraphStore({ directory: join(directory, "graph"), clock, onCounted });
  await applyGraph(graph, options);
  const requests: VerdictRequest[] = [];
  await queue.subscribe("verdict-request", "ranking", async (request) => void requests.push(request), { concurrency: 1 });
  const stage = createIncident({
    platform,
    queue,
    log,
    events,
    graph,
    window: { windowMs: 1_000 },
    objective: { availabilityTarget: 0.995, latencyTarget: 0.99, latencyFactor: 2 },
    timeScale: 60,
  });
  await stage.start();

  const harness: Harness = {
    platform,
    queue,
    log,
    events,
    graph,
    requests,
    stage,
    async window(second, what, { anomalies = [], partitions = allPartitions } = {}) {
      const windowStartMs = epochMs + second * 1_000;
      const all = Object.entries(what).map(([entity, window]) => served(entity, windowStartMs, window));
      for (const partition of partitions) await log.append([entryOf(partition, { windowStartMs, all, anomalies })], { reduced: [] });
    },
    async windows(from, to, what) {
      for (let second = from; second < to; second += 1) {
        const windowStartMs = epochMs + second * 1_000;
        const all = Object.entries(what).map(([entity, window]) => served(entity, windowStartMs, window));
        const entries = allPartitions.map((partition) => entryOf(partition, { windowStartMs, all, anomalies: [] }));
        await log.append(entries, { reduced: [] });
      }
    },
    async incidents() {
      const found: Incident[] = [];
      for (const stream of await events.streams("incident/")) {
        const id = stream.slice("incident/".length);
        const incident = foldIncident(id, await harness.eventsOf(id));
        if (incident !== null) found.push(incident);
      }
      return found.sort((left, right) => left.number - right.number);
    },
    eventsOf: async (incident) => (await events.read(`incident/${incident}`)).map(({ data }) => IncidentEvent.parse(data)),
    async close() {
      await stage.stop();
      await queue.close();
      await log.close();
      await graph.close();
      await events.close();
      if (options.directory === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
  return harness;
}

function entryOf(partition: number, from: { windowStartMs: number; all: readonly RequestWindow[]; anomalies: readonly Anomaly[] }) {
  return {
    topic: "anomaly" as const,
    partition,
    value: {
      closedThroughMs: from.windowStartMs + 1_000,
      requests: from.all.filter(({ entity }) => partitionOf(entity) === partition),
      anomalies: from.anomalies.filter(({ series }) => partitionOf(series.entity) === partition),
    },
  };
}

async function applyGraph(graph: GraphStore, { entries = ["shop"], calls = { shop: ["payment"] } }: HarnessOptions): Promise<void> {
  const ids = [...new Set([...entries, ...Object.keys(calls), ...Object.values(calls).flat()])];
  const seen = { seenMs: epochMs - 60_000, lastSeenMs: epochMs };
  const entities = ids.map((id) => anEntity(id, { ...seen, entry: entries.includes(id) }));
  const dependencies = Object.entries(calls).flatMap(([source, targets]) =>
    targets.map((target) => {
      return aDependency(source, target, { validFromMs: epochMs - 60_000, lastSeenMs: epochMs, addresses: [`${target}:80`] });
    }),
  );
  await tellWholeGraph(graph, { completeThroughMs: epochMs + 86_400_000, entities, dependencies });
}

export function anomalyAt(entity: string, second: number, more: Partial<Anomaly> = {}): Anomaly {
  const onsetMs = epochMs + second * 1_000;
  return {
    id: `anomaly-${entity}-${second}`,
    series: { entity, metric: "process.cpu.utilization", statistic: "value", attributes: "" },
    kind: "cpu",
    state: "open",
    direction: "up",
    onsetMs,
    atMs: onsetMs + 1_000,
    endMs: null,
    severity: 9,
    value: 1,
    lower: 0,
    upper: 0.5,
    ...more,
  };
}

/** Requests of a second in which all is well, and of one in which most fail. */
export const healthy = { shop: { count: 50 }, payment: { count: 50 } };
export const failing = { shop: { count: 50, failed: 40 }, payment: { count: 50, failed: 40 } };

/** 40 healthy seconds, then everything fails for `seconds`. */
export async function breakShop(harness: Harness, seconds: number): Promise<number> {
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 40 + seconds, failing);
  await harness.stage.settle();
  return 40 + seconds;
}

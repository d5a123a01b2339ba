/** The incident stage over the real embedded adapters in a temporary folder, fed with windows of an imagined shop. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Anomaly, RequestWindow } from "../../../contract/anomaly.ts";
import { partitionCount, partitionOf } from "../../../contract/canonical.ts";
import { dependencyId } from "../../../contract/entity.ts";
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

export async function temporaryDirectory(): Promise<string> {
  return await mkdtemp(join(tmpdir(), "headwater-incident-"));
}

export async function openHarness(options: HarnessOptions = {}): Promise<Harness> {
  const directory = options.directory ?? (await temporaryDirectory());
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

const allPartitions = Array.from({ length: partitionCount }, (_, partition) => partition);

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
  const seen = { firstSeenMs: epochMs - 60_000, lastSeenMs: epochMs };
  const entities = ids.map((id) => ({
    id,
    type: "service" as const,
    namespace: null,
    name: id,
    version: null,
    host: null,
    zone: null,
    alias: null,
    entry: entries.includes(id),
    ...seen,
  }));
  const dependencies = Object.entries(calls).flatMap(([source, targets]) =>
    targets.map((target) => ({
      id: dependencyId(source, target),
      source,
      target,
      protocol: "http",
      validFromMs: epochMs - 60_000,
      validToMs: null,
      lastSeenMs: epochMs,
      learnedFrom: "spans" as const,
      confidence: 1,
      addresses: [`${target}:80`],
    })),
  );
  const completeThroughMs = epochMs + 86_400_000;
  for (let partition = 0; partition < partitionCount; partition += 1) {
    await graph.apply({
      partition,
      completeThroughMs,
      entities: partition === 0 ? entities : [],
      dependencies: partition === 0 ? dependencies : [],
    });
  }
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

/** Polls until it holds, at most `ms`. */
export async function until(condition: () => Promise<boolean> | boolean, ms = 5_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("the condition did not come to hold");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The topology stage: makes calls of half-dependencies, and tells the graph who depends on whom, from when to when (design §5). */
import { setImmediate as turn } from "node:timers/promises";
import type { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import { Outages } from "../../contract/outage.ts";
import { type OwnedWork, PartitionGroup } from "../../contract/partition-group.ts";
import { PartitionReader, type PartitionWork } from "../../contract/partition-reader.ts";
import type { GraphStore, PartitionLog, PartitionOwner } from "../../contract/port.ts";
import type { Platform } from "../platform.ts";
import { partitionStage, type Stage } from "../stage.ts";
import { TopologyCore } from "./topology-core.ts";
import { type TopologyCounts, TopologyPartition } from "./topology-partition.ts";

const joinWaitMsDefault = 5_000;
const idleMsDefault = 300_000;
const checkpointMsDefault = 30_000;
const pendingMaxDefault = 100_000;

export interface TopologyOptions {
  readonly platform: Platform;
  readonly log: PartitionLog;
  readonly graph: GraphStore;
  /** As configured under `window`; ms of event time. */
  readonly window: { readonly settleMs: number; readonly sourceSilentMs: number };
  /** How long one side of a call waits for the other, event time; 5 s unless told. */
  readonly joinWaitMs?: number;
  /** A dependency not seen for so long ended when it was last seen; also how long an address is remembered. 5 minutes unless told. */
  readonly idleMs?: number;
  /** Between two checkpoints of a partition; 30 s unless told. */
  readonly checkpointMs?: number;
  /** Calls of one partition that wait for a side at most; 100,000 unless told. */
  readonly pendingMax?: number;
}

/**
 * Creates the stage. One process works on the whole dependency log, because each second is taken by all partitions together; others stand by.
 * The graph is told once per complete second of event time; its `completeThroughMs` lags the slowest live source by `settleMs` and at most
 * a second, and by up to `joinWaitMs` more while a caller waits for a peer that nobody has answered at before.
 * Metrics: `headwater_topology_joined_total`, `…_unmatched_total{side}`, `…_peerless_total`, `…_late_total`, `…_dropped_total{what}`,
 * `…_seconds_skipped_total`, `…_source_gaps_total{what}`, `…_retries_total`, `…_partitions_lost_total`, `…_partitions`.
 */
export function createTopology(options: TopologyOptions): Stage {
  const { platform, log } = options;
  const { metrics, logger, clock } = platform;
  const counts = createCounts(platform);
  const retries = metrics.counter("headwater_topology_retries_total", "Steps repeated because a log or the graph was away");
  const owned = metrics.gauge("headwater_topology_partitions", "Partitions of the dependency log that this process works on");
  const outages = new Outages({ name: "topology", clock, logger, onFailed: () => retries.inc() });
  const group = new PartitionGroup({
    ...{ log, topic: "dependency", sharing: "all", clock, outages },
    begin: (owners, onLost) => begin(options, { owners, counts, outages, onLost }),
    onOwned: (partitions) => owned.set(partitions.length),
  });
  return partitionStage("topology", { topic: "dependency", group, outages });
}

interface Beginning {
  readonly owners: readonly PartitionOwner<"dependency">[];
  readonly counts: TopologyCounts;
  readonly outages: Outages;
  readonly onLost: (error: HeadwaterError) => void;
}

/** Begins to work on all partitions together. What is known is in the checkpoints, so that this can be done again and again. */
async function begin(options: TopologyOptions, { owners, counts, outages, onLost }: Beginning): Promise<OwnedWork> {
  const { platform, graph, window, joinWaitMs = joinWaitMsDefault, idleMs = idleMsDefault, pendingMax = pendingMaxDefault } = options;
  const { clock, metrics } = platform;
  const lost = metrics.counter("headwater_topology_partitions_lost_total", "Partitions given up before the stage was stopped");
  const { settleMs, sourceSilentMs } = window;
  const lastSeenMs = new Map<string, number>();
  const shared = { settleMs, sourceSilentMs, joinWaitMs, idleMs, pendingMax, lastSeenMs, counts };
  const partitions = owners.map(({ partition }) => new TopologyPartition({ partition, ...shared }));
  const core = new TopologyCore(partitions, { joinWaitMs, idleMs, lastSeenMs, counts });
  const flush = createFlush(core, graph);
  const readers = owners.map((owner, at) => {
    const partition = partitions[at];
    invariant(partition !== undefined, "topology has made a partition for each owner");
    return new PartitionReader({
      ...{ owner, work: workOf(partition, { core, flush }), clock, outages, checkpointMs: options.checkpointMs ?? checkpointMsDefault },
      onLost: (error) => {
        lost.inc();
        onLost(error);
      },
    });
  });
  // Each second is taken by all partitions together, so none moves before all have loaded what they know.
  for (const reader of readers) {
    reader.load();
    // Leases are renewed while large states are loaded.
    await turn();
  }
  const isForgotten = ({ checkpoint }: PartitionOwner<"dependency">): boolean => checkpoint.chunks.size === 0;
  const forgotten = new Set(owners.filter(isForgotten).map(({ partition }) => partition));
  if (forgotten.size > 0) await takeUp(partitions, { graph, forgotten });
  for (const reader of readers) reader.run();
  return {
    settle: async () => void (await Promise.all(readers.map((reader) => reader.settle()))),
    stop: async () => void (await Promise.all(readers.map((reader) => reader.stop()))),
  };
}

/**
 * Partitions without a checkpoint, the log having been lost or never written, go on with what the graph has of them: else dependencies that
 * they began would never end, because the graph takes an end only from who began.
 */
async function takeUp(
  partitions: readonly TopologyPartition[],
  from: { graph: GraphStore; forgotten: ReadonlySet<number> },
): Promise<void> {
  for (const { partition, dependency } of await from.graph.unended()) {
    if (from.forgotten.has(partition)) partitions.find((own) => own.partition === partition)?.graph.takeUp(dependency);
  }
}

function workOf(
  owned: TopologyPartition,
  { core, flush }: { readonly core: TopologyCore; readonly flush: () => Promise<void> },
): PartitionWork<"dependency"> {
  return {
    restore: (chunks) => owned.restore(chunks),
    apply: ({ value }) => {
      owned.take(value);
      core.advance();
    },
    flush,
    flushed: () => core.due.length === 0,
    reachedMs: () => owned.reachedMs(),
    snapshot: () => owned.snapshot(),
  };
}

/** Writes what is due, one flush at a time: what one partition moved on may be the outputs of all. */
function createFlush(core: TopologyCore, graph: GraphStore): () => Promise<void> {
  let running: Promise<void> | null = null;
  const flushOnce = async () => {
    const deltas = [...core.due];
    // Merging is the graph's and knows no order; the adapter writes what it is given at once in one go.
    await Promise.all(deltas.map((delta) => graph.apply(delta)));
    core.told(deltas.length);
  };
  return async () => {
    while (core.due.length > 0) {
      running ??= flushOnce().finally(() => {
        running = null;
      });
      await running;
    }
  };
}

function createCounts({ metrics }: Platform): TopologyCounts {
  const counter = (name: string, help: string, labels: readonly string[] = []) =>
    metrics.counter(`headwater_topology_${name}`, help, labels);
  const joined = counter("joined_total", "Calls of which both sides were seen");
  const unmatched = counter("unmatched_total", "Sides of calls whose other side did not come in time", ["side"]);
  const peerless = counter("peerless_total", "Calls out that name nobody and were answered by nobody we see");
  const late = counter("late_total", "Halves and observations that came after their second was taken");
  const dropped = counter("dropped_total", "What a bound of topology kept out", ["what"]);
  const skipped = counter("seconds_skipped_total", "Empty seconds passed over in a hole of event time");
  const gaps = counter("source_gaps_total", "Batches missing in the sequences of a source that were given up, and sources forgotten", [
    "what",
  ]);
  return {
    dropped: (what) => dropped.inc({ what }),
    late: () => late.inc(),
    joined: () => joined.inc(),
    unmatched: (side) => unmatched.inc({ side }),
    peerless: () => peerless.inc(),
    secondsSkipped: (count) => skipped.inc(count),
    sourceGap: (what, count) => gaps.inc({ what }, count),
  };
}

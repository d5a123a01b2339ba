/** Synthetic half-dependencies, and the stage around real adapters that reads them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { partitionCount, partitionOf } from "../../../contract/canonical.ts";
import type { GraphDelta, GraphStore, PartitionLog } from "../../../contract/port.ts";
import type { DependencyEntry, EntityObservation, HalfDependency, SourceProgress } from "../../../contract/window.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { openFilePartitionLog } from "../../../services/log/file-log.ts";
import { createPlatform, ManualClock } from "../../../services/platform.ts";
import { createTopology, type TopologyOptions } from "../../../services/topology/topology.ts";
import { counted } from "../counted.ts";

export const startMs = 1_700_000_000_000;
export const window = { settleMs: 1_000, sourceSilentMs: 15_000 };

const traceId = (call: number) => call.toString(16).padStart(32, "0");
const spanId = (call: number) => call.toString(16).padStart(16, "0");

interface Side {
  readonly call: number;
  /** ms after the start. */
  readonly at: number;
  readonly entity: string;
}

export function client(of: Side & { peer: string | null; protocol?: string }): HalfDependency {
  const ids = { traceId: traceId(of.call), spanId: spanId(of.call) };
  return { ...ids, side: "client", entity: of.entity, peer: of.peer, protocol: of.protocol ?? "http", atMs: startMs + of.at };
}

export function server(of: Side & { isRoot?: "yes" }): HalfDependency {
  const ids = { traceId: traceId(of.call), spanId: of.isRoot === "yes" ? null : spanId(of.call) };
  return { ...ids, side: "server", entity: of.entity, peer: null, protocol: "http", atMs: startMs + of.at };
}

export function observation(entity: string, at: number, more: Partial<EntityObservation> = {}): EntityObservation {
  const unknown = { namespace: null, instance: null, version: null, host: null, zone: null };
  return { entity, name: entity, ...unknown, ...more, atMs: startMs + at };
}

export interface Flush {
  readonly progress: readonly SourceProgress[];
  readonly halves: readonly HalfDependency[];
  readonly observations: readonly EntityObservation[];
}

/** One flush as ingest writes it: progress to every partition, the rest to its own. */
function entriesOf(flush: Flush): DependencyEntry[] {
  const entries = Array.from(
    { length: partitionCount },
    (): DependencyEntry => ({ progress: [...flush.progress], halves: [], observations: [] }),
  );
  for (const half of flush.halves) entries[partitionOf(half.traceId)]?.halves.push(half);
  for (const seen of flush.observations) entries[partitionOf(seen.entity)]?.observations.push(seen);
  return entries;
}

export interface Bench {
  readonly graph: GraphStore;
  readonly log: PartitionLog;
  readonly applied: GraphDelta[];
  createStage(more?: Partial<TopologyOptions>): ReturnType<typeof createTopology>;
  counted(name: string): Promise<number>;
  feed(flushes: readonly Flush[]): Promise<void>;
  /** One source tells of halves up to a moment (ms after the start); sequences are counted. */
  tell(at: number, halves?: readonly HalfDependency[], observations?: readonly EntityObservation[]): Promise<void>;
  close(): Promise<void>;
}

/** `keptIn` is the graph to be written instead of a memory graph in the folder. */
export async function openBench(folder?: string, keptIn?: GraphStore): Promise<Bench> {
  const directory = folder ?? (await mkdtemp(join(tmpdir(), "headwater-topology-")));
  const clock = new ManualClock(startMs);
  const platform = createPlatform({ level: "silent", clock });
  const onCounted = () => undefined;
  const log = await openFilePartitionLog({ directory: join(directory, "log"), clock, onCounted, validate: "yes" });
  const store = keptIn ?? (await openMemoryGraphStore({ directory: join(directory, "graph"), clock, onCounted }));
  const applied: GraphDelta[] = [];
  const graph: GraphStore = {
    apply: async (delta) => {
      applied.push(delta);
      await store.apply(delta);
    },
    asOf: (atMs) => store.asOf(atMs),
    diff: (fromMs, toMs) => store.diff(fromMs, toMs),
    unended: () => store.unended(),
    neighbourhood: (options) => store.neighbourhood(options),
    paths: (options) => store.paths(options),
    remember: (precedent) => store.remember(precedent),
    similar: (signature, options) => store.similar(signature, options),
    close: () => store.close(),
  };
  let sequence = 0;
  const feed = (flushes: readonly Flush[]) =>
    log.append(
      flushes.flatMap((flush) => entriesOf(flush).map((value, partition) => ({ topic: "dependency" as const, partition, value }))),
      { reduced: [] },
    );
  return {
    ...{ graph, log, applied, feed },
    createStage: (more = {}) => createTopology({ platform, log, graph, window, ...more }),
    counted: (name) => counted(platform, name),
    tell: async (at, halves = [], observations = []) => {
      await feed([
        { progress: [{ source: "a", sequence, atUs: (startMs + at) * 1_000, receivedAtMs: startMs + at }], halves, observations },
      ]);
      sequence += 1;
    },
    close: async () => {
      await log.close();
      await store.close();
      if (folder === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The embedded GraphStore: in memory, kept in the data directory, bounded; survives SIGKILL of the process. */
import { partitionCount, sortedBy } from "../../contract/canonical.ts";
import { Coalescer } from "../../contract/coalesce.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, GraphDelta, GraphDiff, GraphPart, GraphStore, GraphView, Precedent } from "../../contract/port.ts";
import { type KeptInterval, unendedOf } from "../merge/interval.ts";
import type { KeptEntity } from "../merge/kept-entity.ts";
import { type Call, findPaths, hopsFrom, pathHopsMax, Rings } from "../merge/walk.ts";
import { DependencyTable } from "./dependency-table.ts";
import { EntityTable } from "./entity-table.ts";
import { GraphFiles } from "./graph-files.ts";
import { PrecedentTable } from "./precedent-table.ts";

interface MemoryGraphStoreOptions {
  /** Folder of snapshot and journal; created when missing. Only one process at a time may open it. */
  readonly directory: string;
  /** Taken so that all adapters are opened alike; times come from the deltas only. */
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Size of the journal at which a snapshot is written; 16 MiB unless told. */
  readonly journalBytesMax?: number;
  /** 20,000, 200,000 (intervals, over all partitions) and 10,000 unless told; at its bound each table forgets what was seen longest ago. */
  readonly entitiesMax?: number;
  readonly dependenciesMax?: number;
  readonly precedentsMax?: number;
}

const recordsPerFlushMax = 4_096;
/** Rows of one record of the snapshot. */
const snapshotRowsMax = 500;

type GraphRecord =
  | { readonly kind: "delta"; readonly delta: GraphDelta }
  | { readonly kind: "precedent"; readonly precedent: Precedent }
  | { readonly kind: "watermarks"; readonly watermarks: readonly number[] }
  | { readonly kind: "entities"; readonly entities: readonly KeptEntity[] }
  | { readonly kind: "intervals"; readonly intervals: readonly KeptInterval[] };

/**
 * Opens the graph. `completeThroughMs` of its views is the minimum over all 16 partitions of the dependency log, and a partition that has
 * never reported counts as 0: it says something only once every partition has reported.
 * Views are as of their moment: `validToMs` is null and `lastSeenMs` at most the moment; `diff` shows ends.
 * Counters: `graph_entities_forgotten`, `graph_dependencies_forgotten`, `graph_precedents_forgotten`, `graph_paths_cut`,
 * `graph_journal_torn_bytes`, `graph_snapshots_failed`. Throws DATA_VERSION_UNKNOWN, GRAPH_UNAVAILABLE.
 */
export async function openMemoryGraphStore(options: MemoryGraphStoreOptions): Promise<GraphStore> {
  const graph = new Graph(options);
  const files = await GraphFiles.open(options, (record) => graph.merge(record as GraphRecord));
  return new MemoryGraphStore(options, graph, files);
}

/** What is in memory. */
class Graph {
  readonly entities: EntityTable;
  readonly dependencies: DependencyTable;
  readonly precedents: PrecedentTable;
  readonly watermarks: number[] = Array.from({ length: partitionCount }, () => 0);

  constructor(options: MemoryGraphStoreOptions) {
    const { onCounted, entitiesMax = 20_000, dependenciesMax = 200_000, precedentsMax = 10_000 } = options;
    this.entities = new EntityTable({ entitiesMax, onCounted });
    this.dependencies = new DependencyTable({ dependenciesMax, onCounted });
    this.precedents = new PrecedentTable({ precedentsMax, onCounted });
  }

  merge(record: GraphRecord): void {
    if (record.kind === "delta") this.#mergeDelta(record.delta);
    else if (record.kind === "precedent") this.precedents.merge(record.precedent);
    else if (record.kind === "watermarks")
      for (const [partition, atMs] of record.watermarks.entries()) this.#moveWatermark(partition, atMs);
    else if (record.kind === "entities") for (const entity of record.entities) this.entities.restore(entity);
    else for (const { partition, dependency } of record.intervals) this.dependencies.merge(partition, dependency);
  }

  *snapshot(): Iterable<GraphRecord> {
    yield { kind: "watermarks", watermarks: this.watermarks };
    for (const entities of inRows(this.entities.all())) yield { kind: "entities", entities };
    for (const intervals of inRows(this.dependencies.all())) yield { kind: "intervals", intervals };
    for (const precedent of this.precedents.all()) yield { kind: "precedent", precedent };
  }

  #mergeDelta(delta: GraphDelta): void {
    for (const entity of delta.entities) this.entities.merge(entity);
    for (const dependency of delta.dependencies) this.dependencies.merge(delta.partition, dependency);
    this.#moveWatermark(delta.partition, delta.completeThroughMs);
  }

  #moveWatermark(partition: number, atMs: number): void {
    this.watermarks[partition] = Math.max(this.watermarks[partition] ?? 0, atMs);
  }
}

class MemoryGraphStore implements GraphStore {
  #options: MemoryGraphStoreOptions;
  #graph: Graph;
  #files: GraphFiles;
  #writes: Coalescer<GraphRecord>;
  #closing: Promise<void> | null = null;

  constructor(options: MemoryGraphStoreOptions, graph: Graph, files: GraphFiles) {
    this.#options = options;
    this.#graph = graph;
    this.#files = files;
    this.#writes = new Coalescer((records) => this.#flush(records), { itemsPerFlushMax: recordsPerFlushMax });
  }

  async apply(delta: GraphDelta): Promise<void> {
    invariant(
      Number.isInteger(delta.partition) && delta.partition >= 0 && delta.partition < partitionCount,
      `no partition ${delta.partition}`,
    );
    this.#refuseWhenClosing();
    await this.#writes.add({ kind: "delta", delta });
  }

  async asOf(atMs: number): Promise<GraphView> {
    const completeThroughMs = Math.min(...this.#graph.watermarks);
    return { completeThroughMs, entities: this.#graph.entities.asOf(atMs), dependencies: this.#graph.dependencies.asOf(atMs) };
  }

  async diff(fromMs: number, toMs: number): Promise<GraphDiff> {
    const [from, to] = [await this.asOf(fromMs), await this.asOf(toMs)];
    return {
      entitiesAdded: without(to.entities, from.entities),
      entitiesRemoved: without(from.entities, to.entities),
      dependenciesAdded: without(to.dependencies, from.dependencies),
      dependenciesRemoved: without(from.dependencies, to.dependencies).map(
        (removed) => this.#graph.dependencies.endOf(removed.id, fromMs, toMs) ?? removed,
      ),
    };
  }

  async unended(): Promise<KeptInterval[]> {
    return unendedOf(this.#graph.dependencies.all());
  }

  async neighbourhood(options: { atMs: number; ids: readonly string[]; entitiesMax: number }): Promise<GraphPart> {
    const { atMs, entitiesMax } = options;
    const { entities, dependencies, watermarks } = this.#graph;
    const rings = new Rings(options.ids);
    while (rings.ring.length > 0) {
      rings.grow(rings.ring.flatMap((id) => dependencies.callsOf(id, atMs).flatMap(({ source, target }) => [source, target])));
    }
    const reached = rings.reached.flatMap((id) => entities.at(id, atMs) ?? []);
    const inside = sortedBy(reached.slice(0, entitiesMax), ({ id }) => id);
    return {
      completeThroughMs: Math.min(...watermarks),
      entities: inside,
      dependencies: dependencies.among(new Set(inside.map(({ id }) => id)), atMs),
      left: reached.length - inside.length,
    };
  }

  async paths(options: { atMs: number; from: string; to: string; hopsMax: number; pathsMax: number }): Promise<string[][]> {
    const { atMs, from, to } = options;
    const { dependencies, entities } = this.#graph;
    if (from === to) return entities.at(from, atMs) === null ? [] : [[from]];
    const calls: Call[] = [];
    const next = (id: string): string[] => {
      const outward = dependencies.callsOf(id, atMs).filter(({ source }) => source === id);
      calls.push(...outward);
      return outward.map(({ target }) => target);
    };
    hopsFrom(from, { hopsMax: Math.min(options.hopsMax, pathHopsMax), next });
    const { paths, complete } = findPaths(calls, options);
    if (complete === "no") this.#options.onCounted("graph_paths_cut", 1);
    return paths;
  }

  async remember(precedent: Precedent): Promise<void> {
    this.#refuseWhenClosing();
    await this.#writes.add({ kind: "precedent", precedent });
  }

  async similar(signature: readonly string[], options: { countMax: number }): Promise<{ precedent: Precedent; similarity: number }[]> {
    return this.#graph.precedents.similar(signature, options.countMax);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writes.idle();
    await this.#files.close();
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the graph is closing");
  }

  async #flush(records: readonly GraphRecord[]): Promise<void> {
    try {
      await this.#files.write(records);
    } catch (error) {
      throw new HeadwaterError(
        "GRAPH_UNAVAILABLE",
        `the graph's journal in ${this.#options.directory} cannot be written: ${String(error)}`,
        {
          cause: error,
        },
      );
    }
    for (const record of records) this.#graph.merge(record);
    if (this.#files.journalBytes >= (this.#options.journalBytesMax ?? 16_777_216)) await this.#writeSnapshot();
  }

  async #writeSnapshot(): Promise<void> {
    try {
      await this.#files.rotate();
      await this.#files.replaceSnapshot(this.#graph.snapshot(), this.#files.journalNumber);
    } catch {
      // The journals are still there and hold everything; the next flush tries again.
      this.#options.onCounted("graph_snapshots_failed", 1);
    }
  }
}

function* inRows<T>(items: Iterable<T>): Iterable<T[]> {
  let rows: T[] = [];
  for (const item of items) {
    rows.push(item);
    if (rows.length < snapshotRowsMax) continue;
    yield rows;
    rows = [];
  }
  if (rows.length > 0) yield rows;
}

function without<T extends { readonly id: string }>(items: readonly T[], others: readonly T[]): T[] {
  const ids = new Set(others.map((other) => other.id));
  return items.filter((item) => !ids.has(item.id));
}

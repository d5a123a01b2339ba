/**
 * One partition of the dependency log: what is not yet due, calls half seen, and what it has learned. It is moved on second by second of
 * event time by `TopologyCore`, together with all other partitions of the process.
 */
import { Buffer } from "node:buffer";
import { compareCodeUnits } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { GraphDelta } from "../../contract/port.ts";
import { SourceWatermarks, type WatermarkState } from "../../contract/watermark.ts";
import type { DependencyEntry, EntityObservation, HalfDependency } from "../../contract/window.ts";
import { AddressBook, type StoredAddressBook } from "./address-book.ts";
import { type Call, CallJoin, compareHalves, type StoredCallJoin, type Unmatched } from "./call-join.ts";
import { EntryStatistics, type StoredEntryStatistics } from "./entry-statistics.ts";
import { PartitionGraph, type StoredGraph } from "./partition-graph.ts";
import { ownType, peerType } from "./peer.ts";

/** The slice of event time that topology moves on by. */
export const sliceMs = 1_000;
/** Halves and observations that wait for their second to be complete, at most. */
const waitingMax = 200_000;
const sourcesMax = 10_000;

type TopologyDropped = "half" | "pending" | "entity" | "dependency" | "address";

/** What happened, to be counted. */
export interface TopologyCounts {
  dropped(what: TopologyDropped): void;
  late(): void;
  joined(): void;
  unmatched(side: "client" | "server"): void;
  peerless(): void;
  secondsSkipped(count: number): void;
  /** Told by one partition for all, since all see the same sources. */
  sourceGap(what: "gap" | "source", count: number): void;
}

interface TopologyPartitionOptions {
  readonly partition: number;
  readonly settleMs: number;
  readonly sourceSilentMs: number;
  readonly joinWaitMs: number;
  readonly idleMs: number;
  readonly pendingMax: number;
  /** When any partition of this process saw a dependency last, by id. */
  readonly lastSeenMs: Map<string, number>;
  readonly counts: TopologyCounts;
}

interface Waiting {
  readonly halves: HalfDependency[];
  readonly observations: EntityObservation[];
}

/** Version of the checkpoint's chunks. */
const version = 1;

interface StoredCore {
  readonly version: number;
  readonly nextMs: number | null;
  readonly toldThroughMs: number;
  readonly sources: WatermarkState;
}

export class TopologyPartition {
  readonly partition: number;
  readonly book: AddressBook;
  readonly graph: PartitionGraph;
  readonly entries = new EntryStatistics();
  /** Of the kernel's halves, which are few of many. */
  readonly kernelEntries = new EntryStatistics();
  readonly #options: TopologyPartitionOptions;
  readonly #join: CallJoin;
  readonly #waiting = new Map<number, Waiting>();
  #sources: SourceWatermarks;
  #waitingCount = 0;
  #nextMs: number | null = null;
  #toldThroughMs = 0;

  constructor(options: TopologyPartitionOptions) {
    const { counts, idleMs, joinWaitMs, lastSeenMs, pendingMax } = options;
    this.#options = options;
    this.partition = options.partition;
    this.book = new AddressBook({ idleMs, onDropped: () => counts.dropped("address") });
    this.graph = new PartitionGraph({ lastSeenMs, onDropped: (what) => counts.dropped(what) });
    this.#join = new CallJoin({ joinWaitMs, pendingMax, onDropped: () => counts.dropped("pending") });
    this.#sources = new SourceWatermarks(this.#sourceOptions());
  }

  /** Start of the second to be taken next; null before it is known. */
  get nextMs(): number | null {
    return this.#nextMs;
  }

  /** All seconds that begin before this are complete; null while that cannot be said. */
  get dueMs(): number | null {
    const lowUs = this.#sources.lowUs();
    return lowUs === null ? null : Math.floor((lowUs / 1_000 - this.#options.settleMs) / sliceMs) * sliceMs;
  }

  reachedMs(): number | null {
    return this.#sources.newestUs === null ? null : this.#sources.newestUs / 1_000;
  }

  /** Takes in an entry of the log; nothing comes of it before its second is complete. */
  take(entry: DependencyEntry): void {
    for (const half of entry.halves) this.#waitingAt(half.atMs)?.halves.push(half);
    for (const observation of entry.observations) this.#waitingAt(observation.atMs)?.observations.push(observation);
    for (const progress of entry.progress) this.#sources.observe(progress);
  }

  /** Settles where the first second begins, once some second is complete: nothing earlier turns up any more in order. */
  begin(dueMs: number): void {
    const firstMs = Math.min(...this.#waiting.keys(), startOf((this.#sources.firstUs ?? 0) / 1_000));
    this.#nextMs ??= Math.min(firstMs, dueMs);
  }

  /** The earliest second in which there is something to do; null when nothing waits. */
  nextBusyMs(): number | null {
    if (this.#join.size > 0) return this.#nextMs;
    return this.#waiting.size === 0 ? null : Math.min(...this.#waiting.keys());
  }

  /** Observations and joins of one second; answers addresses under which somebody was found for the first time. */
  joinSecond(startMs: number): string[] {
    const waiting = this.#waiting.get(startMs);
    this.#waiting.delete(startMs);
    this.#nextMs = startMs + sliceMs;
    if (waiting === undefined) return [];
    this.#waitingCount -= waiting.halves.length + waiting.observations.length;
    for (const observation of waiting.observations.sort(compareObservations)) this.graph.observe(observation);
    const found: string[] = [];
    for (const half of waiting.halves.sort(compareHalves)) found.push(...this.#takeHalf(half, startMs));
    return found;
  }

  /** Halves that have waited for their other side for long enough. */
  expire(endMs: number): Unmatched {
    const unmatched = this.#join.expire(endMs);
    for (const server of unmatched.servers) {
      this.#options.counts.unmatched("server");
      this.#entriesOf(server).count(server.entity, "unmatched", endMs - sliceMs);
    }
    return unmatched;
  }

  /** A call of which only the client side was seen: to the entity that is known to be behind the address, else to the peer as a node. */
  concede(client: HalfDependency, resolved: string | null): void {
    this.#options.counts.unmatched("client");
    const { peer } = client;
    if (peer === null) {
      this.#options.counts.peerless();
      return;
    }
    if (resolved === null) this.#sightPeer(client, { peer, confidence: 0.8 });
    else if (resolved !== client.entity) this.#sightCall(client, { target: resolved, protocol: client.protocol, confidence: 0.9 });
  }

  /**
   * Up to where every half is joined or given up. A client half that still waits holds this back, unless `isKnown` says that the peer is
   * resolved or a node already: then the graph has the dependency, most likely, and waiting would only delay what depends on it.
   */
  completeThroughMs(isKnown: (peer: string) => boolean): number {
    let throughMs = (this.#nextMs ?? 0) - 1;
    for (const { peer, atMs } of this.#join.waitingClients()) {
      if (atMs <= throughMs && peer !== null && peerType(peer) === "external" && !isKnown(peer)) throughMs = atMs - 1;
    }
    return throughMs;
  }

  /** What the graph is to be told now, or null when that is nothing new. */
  delta(completeThroughMs: number): GraphDelta | null {
    const { entities, dependencies } = this.graph.drain();
    const throughMs = Math.max(this.#toldThroughMs, completeThroughMs);
    if (entities.length === 0 && dependencies.length === 0 && throughMs === this.#toldThroughMs) return null;
    this.#toldThroughMs = throughMs;
    return { partition: this.partition, completeThroughMs: throughMs, entities, dependencies };
  }

  /** Moves over a hole in event time. */
  skipTo(startMs: number): void {
    this.#nextMs = Math.max(this.#nextMs ?? startMs, startMs);
  }

  restore(chunks: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, bytes] of chunks) {
      const stored: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
      if (name === "core") this.#restoreCore(stored as StoredCore);
      else if (name === "waiting") this.#restoreWaiting(stored as readonly (readonly [number, Waiting])[]);
      else if (name === "join") this.#join.restore(stored as StoredCallJoin);
      else if (name === "book") this.book.restore(stored as StoredAddressBook);
      else if (name === "graph") this.graph.restore(stored as StoredGraph);
      else if (name === "entries") this.entries.restore(stored as StoredEntryStatistics);
      else if (name === "kernel-entries") this.kernelEntries.restore(stored as StoredEntryStatistics);
    }
  }

  snapshot(): ReadonlyMap<string, Uint8Array> {
    const core: StoredCore = { version, nextMs: this.#nextMs, toldThroughMs: this.#toldThroughMs, sources: this.#sources.toJSON() };
    const parts = { core, waiting: [...this.#waiting], join: this.#join, book: this.book, graph: this.graph };
    const counted = { entries: this.entries, "kernel-entries": this.kernelEntries };
    return new Map(Object.entries({ ...parts, ...counted }).map(([name, part]) => [name, Buffer.from(JSON.stringify(part), "utf8")]));
  }

  #restoreCore({ version: stored, nextMs, toldThroughMs, sources }: StoredCore): void {
    refuseUnknown(stored);
    this.#nextMs = nextMs;
    this.#toldThroughMs = toldThroughMs;
    this.#sources = SourceWatermarks.fromJSON(sources, this.#sourceOptions());
  }

  #restoreWaiting(stored: readonly (readonly [number, Waiting])[]): void {
    for (const [startMs, waiting] of stored) {
      this.#waiting.set(startMs, waiting);
      this.#waitingCount += waiting.halves.length + waiting.observations.length;
    }
  }

  #sourceOptions(): ConstructorParameters<typeof SourceWatermarks>[0] {
    const { sourceSilentMs, counts } = this.#options;
    const onCounted = (what: "gap" | "source", count: number): void => {
      if (this.partition === 0) counts.sourceGap(what, count);
    };
    return { silentMs: sourceSilentMs, sourcesMax, onCounted };
  }

  /** Where something of this moment waits: in its second, or, when that is over, in the next one to be taken. */
  #waitingAt(atMs: number): Waiting | null {
    if (this.#waitingCount >= waitingMax) {
      this.#options.counts.dropped("half");
      return null;
    }
    const isLate = this.#nextMs !== null && atMs < this.#nextMs;
    if (isLate) this.#options.counts.late();
    const startMs = isLate && this.#nextMs !== null ? this.#nextMs : startOf(atMs);
    let waiting = this.#waiting.get(startMs);
    if (waiting === undefined) {
      waiting = { halves: [], observations: [] };
      this.#waiting.set(startMs, waiting);
    }
    this.#waitingCount += 1;
    return waiting;
  }

  #takeHalf(half: HalfDependency, startMs: number): string[] {
    const type = ownType(half.entity);
    this.graph.touch(half.entity, type, half.atMs);
    // Whoever calls it names it by its address: that is the dependency, and nobody enters here.
    if (half.side === "server" && type !== "service" && half.learnedFrom === "kernel") return [];
    if (half.side === "server" && half.spanId === null) {
      this.graph.markEntry(half.entity);
      this.#entriesOf(half).count(half.entity, "unmatched", startMs);
      return [];
    }
    const { peer } = half;
    if (half.side === "client" && peer !== null && peerType(peer) !== "external") {
      this.#sightPeer(half, { peer, confidence: 1 });
      // Only a broker's call has another side that is ours: whoever consumes the message.
      if (peerType(peer) === "datastore") return [];
    }
    return this.#join.add(half, startMs).flatMap((call) => this.#takeCall(call, startMs));
  }

  #takeCall({ client, server }: Call, startMs: number): string[] {
    this.#options.counts.joined();
    this.#entriesOf(server).count(server.entity, "matched", startMs);
    const protocol = client.protocol === "unknown" ? server.protocol : client.protocol;
    const { peer } = client;
    const atMs = Math.max(client.atMs, server.atMs);
    // An entity that calls itself depends on nobody, but its address is learned all the same.
    if (client.entity !== server.entity) this.#sightCall({ ...client, atMs }, { target: server.entity, protocol, confidence: 1 });
    if (peer === null || peerType(peer) !== "external") return [];
    return this.book.learn(peer, server.entity, atMs) ? [peer] : [];
  }

  #entriesOf(half: HalfDependency): EntryStatistics {
    return half.learnedFrom === "kernel" ? this.kernelEntries : this.entries;
  }

  #sightCall(client: HalfDependency, to: { target: string; protocol: string; confidence: number }): void {
    this.graph.touch(to.target, ownType(to.target), client.atMs);
    const address = client.peer !== null && peerType(client.peer) === "external" ? client.peer : null;
    this.graph.sight({ source: client.entity, ...to, address, atMs: client.atMs, learnedFrom: client.learnedFrom ?? "spans" });
  }

  #sightPeer(client: HalfDependency, of: { peer: string; confidence: number }): void {
    const { entity: source, protocol, atMs } = client;
    this.graph.touch(of.peer, peerType(of.peer), atMs);
    const learnedFrom = client.learnedFrom ?? "spans";
    this.graph.sight({ source, target: of.peer, protocol, address: of.peer, atMs, confidence: of.confidence, learnedFrom });
  }
}

function startOf(atMs: number): number {
  return Math.floor(atMs / sliceMs) * sliceMs;
}

function compareObservations(left: EntityObservation, right: EntityObservation): number {
  return (
    left.atMs - right.atMs ||
    compareCodeUnits(left.entity, right.entity) ||
    compareCodeUnits(left.instance ?? "", right.instance ?? "") ||
    compareCodeUnits(left.version ?? "", right.version ?? "") ||
    compareCodeUnits(left.host ?? "", right.host ?? "")
  );
}

function refuseUnknown(stored: number): void {
  if (stored === version) return;
  throw new HeadwaterError(
    "DATA_VERSION_UNKNOWN",
    `a checkpoint of topology has version ${stored}, this Headwater knows version ${version}`,
  );
}

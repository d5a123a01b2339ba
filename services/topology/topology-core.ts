/**
 * Moves all partitions of this process on together, second by second of event time, so that what one partition knows of an address
 * helps the others in the same way however their entries interleave.
 */
import type { GraphDelta } from "../../contract/port.ts";
import { entityAt } from "./address-book.ts";
import { isCalledFromOutside, isSeenFromOutside } from "./entry-statistics.ts";
import { sliceMs, type TopologyCounts, type TopologyPartition } from "./topology-partition.ts";

/** Address books and entry statistics are looked through for what is old this often. */
const sweepMs = 10_000;
/** Seconds in which nothing happens are taken one by one up to here; a longer hole is skipped at once. */
const emptySecondsMax = 3_600;

interface TopologyCoreOptions {
  readonly joinWaitMs: number;
  readonly idleMs: number;
  /** When any partition saw a dependency last, by id; written by the partitions. */
  readonly lastSeenMs: Map<string, number>;
  readonly counts: TopologyCounts;
}

export class TopologyCore {
  readonly #options: TopologyCoreOptions;
  readonly #partitions: readonly TopologyPartition[];
  #due: GraphDelta[] = [];

  constructor(partitions: readonly TopologyPartition[], options: TopologyCoreOptions) {
    this.#partitions = partitions;
    this.#options = options;
  }

  /** What the graph has not been told yet, in order; stays until `told` is called. */
  get due(): readonly GraphDelta[] {
    return this.#due;
  }

  /** The first `count` of `due` are in the graph. */
  told(count: number): void {
    this.#due.splice(0, count);
  }

  /** Takes all seconds that are complete in every partition. */
  advance(): void {
    const dues = this.#partitions.map((partition) => partition.dueMs);
    if (dues.length === 0 || dues.includes(null)) return;
    const dueMs = Math.min(...dues.map((due) => due ?? 0));
    for (const partition of this.#partitions) partition.begin(dueMs);
    let hasMoved = false;
    for (;;) {
      const startMs = Math.min(...this.#partitions.map(({ nextMs }) => nextMs ?? Number.POSITIVE_INFINITY));
      if (startMs >= dueMs) break;
      this.#takeSecond(startMs);
      this.#skipHole(dueMs);
      hasMoved = true;
    }
    if (hasMoved) this.#tellWatermarks();
  }

  #takeSecond(startMs: number): void {
    const endMs = startMs + sliceMs;
    this.#endIdle(startMs);
    const active = this.#partitions.filter(({ nextMs }) => nextMs === startMs);
    const found = new Set(active.flatMap((partition) => partition.joinSecond(startMs)));
    for (const address of found) this.#endNode(address);
    const unmatched = active.map((partition) => ({ partition, ...partition.expire(endMs) }));
    const suspects = new Set<string>();
    for (const { partition, clients, servers } of unmatched) {
      for (const client of clients) partition.concede(client, client.peer === null ? null : this.#resolve(client.peer, endMs));
      for (const { entity } of servers) suspects.add(entity);
    }
    for (const entity of suspects) this.#judgeEntry(entity, startMs);
    if (startMs % sweepMs === 0) this.#sweep(active, endMs);
    // Ends concern partitions that have no second of their own to take as well.
    for (const partition of this.#partitions) this.#tellChanges(partition);
  }

  #resolve(address: string, atMs: number): string | null {
    const { idleMs, joinWaitMs } = this.#options;
    const books = this.#partitions.map(({ book }) => book);
    return entityAt(books, address, { atMs, idleMs, overlapMs: joinWaitMs });
  }

  #judgeEntry(entity: string, nowMs: number): void {
    if (this.#partitions.some(({ graph }) => graph.isEntry(entity))) return;
    const tables = this.#partitions.map(({ entries }) => entries);
    const kernelTables = this.#partitions.map(({ kernelEntries }) => kernelEntries);
    if (!isCalledFromOutside(tables, entity, nowMs) && !isSeenFromOutside({ tables, kernelTables }, entity, nowMs)) return;
    for (const { graph } of this.#partitions) graph.markEntry(entity);
  }

  /** A dependency is idle when no partition has seen it for `idleMs`: each sees some of its calls only. */
  #endIdle(nowMs: number): void {
    for (const [id, lastSeenMs] of this.#options.lastSeenMs) if (lastSeenMs + this.#options.idleMs < nowMs) this.#end(id, lastSeenMs);
  }

  /** Somebody was found behind an address that was a node of its own: nobody depends on that node any more. */
  #endNode(address: string): void {
    const ids = new Set(this.#partitions.flatMap(({ graph }) => graph.dependenciesOn(address)));
    for (const id of ids) this.#end(id, this.#options.lastSeenMs.get(id) ?? 0);
  }

  #end(id: string, validToMs: number): void {
    for (const { graph } of this.#partitions) graph.end(id, validToMs);
    this.#options.lastSeenMs.delete(id);
  }

  #sweep(active: readonly TopologyPartition[], nowMs: number): void {
    for (const { book, entries, kernelEntries } of active) {
      book.forgetBefore(nowMs - this.#options.idleMs);
      entries.forgetOld(nowMs);
      kernelEntries.forgetOld(nowMs);
    }
  }

  #tellChanges(partition: TopologyPartition): void {
    const delta = partition.delta(0);
    if (delta !== null) this.#due.push(delta);
  }

  /** How far each partition is complete; told once for all seconds taken at a time, after everything that was learned in them. */
  #tellWatermarks(): void {
    const known = new Map<string, boolean>();
    for (const partition of this.#partitions) {
      const nowMs = partition.nextMs;
      if (nowMs === null) continue;
      const isKnown = (peer: string) => {
        const answer =
          known.get(peer) ?? (this.#partitions.some(({ graph }) => graph.hasNode(peer)) || this.#resolve(peer, nowMs) !== null);
        known.set(peer, answer);
        return answer;
      };
      const delta = partition.delta(partition.completeThroughMs(isKnown));
      if (delta !== null) this.#due.push(delta);
    }
  }

  #skipHole(dueMs: number): void {
    const nextMs = Math.min(...this.#partitions.map((partition) => partition.nextMs ?? Number.POSITIVE_INFINITY));
    if (dueMs - nextMs <= emptySecondsMax * sliceMs) return;
    const busyMs = Math.min(dueMs - sliceMs, ...this.#partitions.map((partition) => partition.nextBusyMs() ?? Number.POSITIVE_INFINITY));
    const skipped = (busyMs - nextMs) / sliceMs;
    if (skipped <= emptySecondsMax) return;
    this.#options.counts.secondsSkipped(skipped);
    for (const partition of this.#partitions) partition.skipTo(busyMs);
  }
}

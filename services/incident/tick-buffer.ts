/**
 * Puts the anomaly log's partitions back together: a tick (the end of a window) is handed out once every partition has closed it,
 * with what all of them found in it, sorted; so how partitions interleave cannot matter.
 */
import type { Anomaly, AnomalyEntry, RequestWindow } from "../../contract/anomaly.ts";
import { compareCodeUnits, partitionCount, sortedBy } from "../../contract/canonical.ts";
import { invariant } from "../../contract/invariant.ts";

export interface Tick {
  readonly tickMs: number;
  /** Sorted by entity, at most one per entity. */
  readonly requests: readonly RequestWindow[];
  /** Sorted by id; the last state where a tick brings several. */
  readonly anomalies: readonly Anomaly[];
}

/** Where reading goes on after a restart: everything up to `offsets` is in the state of tick `tickMs`. */
export interface BufferPosition {
  readonly tickMs: number | null;
  readonly offsets: readonly number[];
  readonly closedThroughMs: readonly (number | null)[];
}

interface PartitionState {
  /** Newest entry taken in. */
  offset: number;
  closedThroughMs: number | null;
  /** Entries whose ticks are not all handed out yet, in order. */
  ahead: { offset: number; closedThroughMs: number }[];
  /** As of the last tick handed out. */
  done: { offset: number; closedThroughMs: number | null };
}

interface PendingTick {
  requests: Map<string, RequestWindow>;
  anomalies: Map<string, Anomaly>;
}

/** How many windows a partition may be read ahead of the last tick. */
export const windowsAheadMax = 1_000;

export class TickBuffer {
  #windowMs: number;
  #tickMs: number | null;
  #partitions: PartitionState[];
  #pending = new Map<number, PendingTick>();

  constructor(windowMs: number, position: BufferPosition) {
    this.#windowMs = windowMs;
    this.#tickMs = position.tickMs;
    this.#partitions = Array.from({ length: partitionCount }, (_, partition) => {
      const done = { offset: position.offsets[partition] ?? 0, closedThroughMs: position.closedThroughMs[partition] ?? null };
      return { ...done, ahead: [], done };
    });
  }

  /** Offset of the newest entry taken in. */
  offset(partition: number): number {
    return this.#partition(partition).offset;
  }

  /** Last tick handed out, null before the first. */
  get tickMs(): number | null {
    return this.#tickMs;
  }

  /** Whether the partition is so far ahead of the others that reading it on would only fill memory. */
  tooFarAhead(partition: number): boolean {
    const { ahead } = this.#partition(partition);
    return ahead.length >= windowsAheadMax;
  }

  /** Takes in the next entry of a partition; `late` counts requests of windows that were handed out already. */
  accept(partition: number, entry: { offset: number; value: AnomalyEntry }): { taken: "yes" | "duplicate"; late: number } {
    const state = this.#partition(partition);
    if (entry.offset <= state.offset) return { taken: "duplicate", late: 0 };
    state.offset = entry.offset;
    const { closedThroughMs, requests, anomalies } = entry.value;
    if (state.closedThroughMs !== null && closedThroughMs <= state.closedThroughMs) {
      // It still moves the offset, so that the log can be trimmed past it.
      state.ahead.push({ offset: entry.offset, closedThroughMs: state.closedThroughMs });
      return { taken: "duplicate", late: 0 };
    }
    state.closedThroughMs = closedThroughMs;
    state.ahead.push({ offset: entry.offset, closedThroughMs });
    let late = 0;
    for (const window of requests) {
      const tickMs = window.windowStartMs + this.#windowMs;
      if (this.#tickMs !== null && tickMs <= this.#tickMs) late += 1;
      else this.#pendingAt(Math.min(tickMs, this.#alignedUp(closedThroughMs))).requests.set(window.entity, window);
    }
    for (const anomaly of anomalies) this.#addAnomaly(anomaly, closedThroughMs);
    return { taken: "yes", late };
  }

  /** The next tick, or null when a partition holds it back. With `every` "no", ticks in which nothing happened are passed over. */
  next(options: { every: "yes" | "no" }): Tick | null {
    const closedMs = this.#closedByAllMs();
    if (closedMs === null) return null;
    const tickMs = this.#nextTickMs(closedMs, options.every);
    if (tickMs === null) {
      if (options.every === "no" && closedMs > (this.#tickMs ?? 0)) this.#moveTo(closedMs);
      return null;
    }
    const pending = this.#pending.get(tickMs);
    this.#pending.delete(tickMs);
    this.#moveTo(tickMs);
    return {
      tickMs,
      requests: sortedBy(pending?.requests.values() ?? [], (window) => window.entity),
      anomalies: sortedBy(pending?.anomalies.values() ?? [], (anomaly) => anomaly.id),
    };
  }

  position(): BufferPosition {
    return {
      tickMs: this.#tickMs,
      offsets: this.#partitions.map((state) => state.done.offset),
      closedThroughMs: this.#partitions.map((state) => state.done.closedThroughMs),
    };
  }

  #nextTickMs(closedMs: number, every: "yes" | "no"): number | null {
    let nextMs = every === "yes" && this.#tickMs !== null ? this.#tickMs + this.#windowMs : Number.POSITIVE_INFINITY;
    for (const pendingMs of this.#pending.keys()) nextMs = Math.min(nextMs, pendingMs);
    return nextMs <= closedMs ? nextMs : null;
  }

  #closedByAllMs(): number | null {
    let closedMs = Number.POSITIVE_INFINITY;
    for (const state of this.#partitions) {
      if (state.closedThroughMs === null) return null;
      closedMs = Math.min(closedMs, state.closedThroughMs);
    }
    return Math.floor(closedMs / this.#windowMs) * this.#windowMs;
  }

  #moveTo(tickMs: number): void {
    this.#tickMs = tickMs;
    for (const state of this.#partitions) {
      let passed = 0;
      for (const entry of state.ahead) {
        if (entry.closedThroughMs > tickMs) break;
        state.done = entry;
        passed += 1;
      }
      state.ahead.splice(0, passed);
    }
  }

  #addAnomaly(anomaly: Anomaly, closedThroughMs: number): void {
    const soonestMs = this.#tickMs === null ? Number.NEGATIVE_INFINITY : this.#tickMs + this.#windowMs;
    const tickMs = Math.max(soonestMs, Math.min(this.#alignedUp(anomaly.atMs), this.#alignedUp(closedThroughMs)));
    const pending = this.#pendingAt(tickMs).anomalies;
    const before = pending.get(anomaly.id);
    if (before === undefined || compareProgress(before, anomaly) <= 0) pending.set(anomaly.id, anomaly);
  }

  #pendingAt(tickMs: number): PendingTick {
    const found = this.#pending.get(tickMs);
    if (found !== undefined) return found;
    const created: PendingTick = { requests: new Map(), anomalies: new Map() };
    this.#pending.set(tickMs, created);
    return created;
  }

  #alignedUp(atMs: number): number {
    return Math.ceil(atMs / this.#windowMs) * this.#windowMs;
  }

  #partition(partition: number): PartitionState {
    const state = this.#partitions[partition];
    invariant(state !== undefined, `there is no partition ${partition}`);
    return state;
  }
}

function compareProgress(left: Anomaly, right: Anomaly): number {
  return left.atMs - right.atMs || compareCodeUnits(order[left.state], order[right.state]);
}

const order = { open: "1", update: "2", close: "3" } as const;

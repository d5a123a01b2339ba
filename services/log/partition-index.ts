/** What one partition of one topic holds uncommitted, how far its reader is, and who waits for it. */
import type { Clock } from "../../contract/port.ts";
import type { EntryPlace } from "./log-segments.ts";

interface IndexedEntry {
  readonly place: EntryPlace;
  /** The entry's JSON while the bound on cached bytes allows. */
  json: Uint8Array | null;
}

/** Entries that may wait for a commit, as a multiple of `lagMax`; an owner that reads and never commits would fill the disk. */
const uncommittedFactor = 10;

export class PartitionIndex {
  readonly checkpointPath: string;
  fence: number;
  committed: number;
  last: number;
  #lagMax: number;
  #position: number;
  #pending = 0;
  #entries: IndexedEntry[] = [];
  #arrivals = new Set<() => void>();
  #room = new Set<() => void>();
  #exclusive: Promise<unknown> = Promise.resolve();

  constructor(options: { checkpointPath: string; fence: number; committed: number; lagMax: number }) {
    this.checkpointPath = options.checkpointPath;
    this.fence = options.fence;
    this.committed = options.committed;
    this.last = options.committed;
    this.#position = options.committed;
    this.#lagMax = options.lagMax;
  }

  get hasRoom(): boolean {
    const ahead = this.last + this.#pending;
    return ahead - this.#position < this.#lagMax && ahead - this.committed < this.#lagMax * uncommittedFactor;
  }

  /** Counts entries that are on their way to the disk, so that concurrent appends see each other at the bound. */
  reserve(count: number): void {
    this.#pending += count;
  }

  unreserve(count: number): void {
    this.#pending -= count;
    this.#wakeRoom();
  }

  /** Resolves when there may be room again. */
  nextRoom(): Promise<void> {
    return new Promise((resolve) => this.#room.add(resolve));
  }

  /** Indexes a stored entry; answers how many offsets before it are missing. */
  add(place: EntryPlace, json: Uint8Array | null): number {
    const missing = Math.max(0, place.offset - this.last - 1);
    this.last = place.offset;
    this.#entries.push({ place, json });
    return missing;
  }

  /** Wakes readers that wait for an entry. */
  announce(): void {
    for (const wake of this.#arrivals) wake();
    this.#arrivals.clear();
  }

  /** Resolves at the next entry, at `announce`, or after `waitMs`. */
  async nextArrival(clock: Clock, waitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        cancel();
        this.#arrivals.delete(wake);
        resolve();
      };
      const cancel = clock.schedule(waitMs, wake);
      this.#arrivals.add(wake);
    });
  }

  /** The reader has handled everything up to `offset`; answers the cached bytes that this frees. */
  moveReader(offset: number): number {
    let freed = 0;
    for (let index = this.#indexAfter(this.#position); index < this.#entries.length; index += 1) {
      const entry = this.#entries[index];
      if (entry === undefined || entry.place.offset > offset) break;
      freed += entry.json?.length ?? 0;
      entry.json = null;
    }
    this.#position = Math.max(this.#position, offset);
    this.#wakeRoom();
    return freed;
  }

  /** A new owner begins at the checkpoint again. */
  resetReader(): void {
    this.#position = this.committed;
  }

  after(offset: number, entriesMax: number): readonly IndexedEntry[] {
    const from = this.#indexAfter(offset);
    return this.#entries.slice(from, from + entriesMax);
  }

  /** Forgets entries up to `offset`; answers the bytes freed. Their segments may go when nothing else in them is uncommitted. */
  trim(offset: number): number {
    const freed = this.moveReader(offset);
    const trimmed = this.#entries.splice(0, this.#indexAfter(offset));
    for (const { place } of trimmed) place.segment.uncommitted -= 1;
    this.committed = offset;
    this.#wakeRoom();
    return freed;
  }

  /** Wakes appends that wait for room, whether there is any or not (at close). */
  wakeAll(): void {
    for (const wake of this.#room) wake();
    this.#room.clear();
  }

  /** Runs takeovers and commits of this partition one after another. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#exclusive.then(work);
    this.#exclusive = result.catch(() => undefined);
    return result;
  }

  #indexAfter(offset: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle]?.place.offset ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #wakeRoom(): void {
    if (!this.hasRoom) return;
    for (const wake of this.#room) wake();
    this.#room.clear();
  }
}

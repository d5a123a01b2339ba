/**
 * How the owner of a partition works (design §4, Exactly once): read in order, apply, write what came of it, commit now and then.
 * Detection and topology share it; what they make of an entry is theirs.
 */
import { HeadwaterError, toHeadwaterError } from "./error.ts";
import { invariant } from "./invariant.ts";
import type { Outages } from "./outage.ts";
import type { Clock, PartitionOwner, StoredLogEntry } from "./port.ts";
import type { LogTopic } from "./topic.ts";

const entriesPerReadMax = 256;
/** Uncommitted entries that force a checkpoint whatever the time; below the logs' `lagMax`. */
const entriesPerCheckpointMax = 2_000;
const readWaitMs = 1_000;
const retryFirstMs = 50;
const retryLastMs = 5_000;
/** How long a stop waits for the step under way, and for the last commit. */
const stopWaitMs = 5_000;

/** What a stage does with the entries of one partition. */
export interface PartitionWork<T extends LogTopic> {
  /** Called once, before anything else, with the chunks of the last commit. */
  restore(chunks: ReadonlyMap<string, Uint8Array>): void;
  /** Takes an entry in; synchronous, and a pure function of state and entry, so that re-reading after a crash gives the same outputs. */
  apply(entry: StoredLogEntry<T>): void;
  /** Writes the outputs that are due. May be called again after it failed: what was written before must not be written twice. */
  flush(): Promise<void>;
  /** Whether nothing is left to flush: a checkpoint taken now loses no output. */
  flushed(): boolean;
  /** Event time reached, ms; null before the first. */
  reachedMs(): number | null;
  /** Chunks that differ from the last snapshot (null: gone). Every snapshot taken is committed, or nothing more is. */
  snapshot(): ReadonlyMap<string, Uint8Array | null>;
}

interface PartitionReaderOptions<T extends LogTopic> {
  /** Owned already, see `contract/partition-group.ts`. The reader gives it back when it stops. */
  readonly owner: PartitionOwner<T>;
  readonly work: PartitionWork<T>;
  readonly clock: Clock;
  /** Between two commits, in event time or on the clock, whichever passes first. */
  readonly checkpointMs: number;
  /** Told of retriable failures; the same step is tried again after a growing pause, for as long as it takes. */
  readonly outages: Outages;
  /**
   * Called once, when nothing more is committed: another owner took the partition (FENCED), its log is closing, an error does not pass by
   * itself, or the last commit could not be made in time. What was not committed is read again by the next owner.
   */
  readonly onLost: (error: HeadwaterError) => void;
}

/** Reads one partition until `stop`. An error that is not operational is a programmer error: it is thrown outside, and ends the process. */
export class PartitionReader<T extends LogTopic> {
  readonly #options: PartitionReaderOptions<T>;
  readonly #step: string;
  #state: "new" | "loaded" | "running" = "new";
  #offset = 0;
  #busy = false;
  #uncommitted = 0;
  #dueEventMs: number | null = null;
  #dueClockMs = 0;
  #stopping = false;
  #lost: HeadwaterError | null = null;
  #loop: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;
  /** Ends the waits under way. One promise kept for good would gather a reaction with every race it is in. */
  readonly #waits = new Set<() => void>();
  #idleWaiters: (() => void)[] = [];

  constructor(options: PartitionReaderOptions<T>) {
    this.#options = options;
    this.#step = `work on partition ${options.owner.partition} of the ${options.owner.topic} log`;
  }

  /** Loads the checkpoint; reading begins with `run`, so that several partitions can be loaded first. Throws what `restore` throws. */
  load(): void {
    invariant(this.#state === "new", "a partition is loaded once");
    const { owner, work, clock, checkpointMs } = this.#options;
    const { partition, checkpoint } = owner;
    this.#offset = checkpoint.offset;
    work.restore(checkpoint.chunks);
    // Partitions start at different places in the interval, so that their commits do not fall on one moment.
    this.#dueClockMs = clock.nowMs() + Math.ceil((checkpointMs * ((partition % 16) + 1)) / 16);
    this.#state = "loaded";
  }

  run(): void {
    invariant(this.#state === "loaded", "a partition is read once, after it was loaded");
    this.#state = "running";
    this.#loop = this.#readUntilStopped(this.#options.owner);
  }

  /** Resolves when no entry is left to read and every output is written. Rejects when the partition was lost. */
  async settle(): Promise<void> {
    const { owner } = this.#options;
    invariant(this.#state === "running", "a partition is settled before it is read");
    while (!this.#stopping) {
      if (this.#lost !== null) throw this.#lost;
      const offset = this.#offset;
      if (!this.#busy) {
        // The loop may sit in a read that waits on the clock, so settling asks the log itself.
        const next = await this.#retried(() => owner.read(offset, { entriesMax: 1, waitMs: 0 }));
        if (next.length === 0 && !this.#busy && this.#offset === offset) return;
        if (next.length === 0) continue;
      }
      if (this.#offset === offset) await this.#nextIdle();
    }
  }

  /**
   * Finishes what was read, commits, and gives the partition back, whatever happened before, so that the next owner need not wait for the
   * lease. A step that takes longer than 5 s is given up: it may still happen, which does no harm, because outputs are keyed. Idempotent.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping = true;
    for (const end of this.#waits) end();
    this.#wakeIdle();
    const { owner, outages, clock } = this.#options;
    let cancel: () => void = () => undefined;
    const late = new Promise<"late">((resolve) => {
      cancel = clock.schedule(stopWaitMs, () => resolve("late"));
    });
    const finished = await Promise.race([this.#finish(owner), late]);
    cancel();
    if (finished === "late") this.#fail(new HeadwaterError("STOPPING", `${this.#step} was given up while it was being stopped`));
    outages.passed(this.#step);
    // A lease that cannot be given back now runs out by itself.
    await owner.release().catch(() => undefined);
  }

  async #finish(owner: PartitionOwner<T>): Promise<void> {
    await this.#loop;
    try {
      if (this.#lost === null && this.#state === "running") await this.#options.work.flush();
      if (this.#lost === null && this.#uncommitted > 0) await this.#commitOnce(owner);
    } catch (error) {
      // What is not committed is read again by the next owner; nothing is lost by giving up here.
      this.#fail(error);
    }
  }

  async #readUntilStopped(owner: PartitionOwner<T>): Promise<void> {
    try {
      while (!this.#stopping) {
        const entries = await this.#nextEntries(owner);
        if (entries.length === 0) continue;
        this.#busy = true;
        for (const entry of entries) this.#options.work.apply(entry);
        await this.#retried(() => this.#options.work.flush());
        this.#offset = entries.at(-1)?.offset ?? this.#offset;
        this.#uncommitted += entries.length;
        this.#busy = false;
        this.#wakeIdle();
        if (this.#isCheckpointDue()) await this.#checkpoint(owner);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#busy = false;
      this.#wakeIdle();
    }
  }

  async #nextEntries(owner: PartitionOwner<T>): Promise<StoredLogEntry<T>[]> {
    const read = this.#retried(() => owner.read(this.#offset, { entriesMax: entriesPerReadMax, waitMs: readWaitMs }));
    const entries = await this.#orStop(read);
    if (entries === undefined) {
      // A read that still waits ends when the partition is released; by then nobody listens.
      read.catch(() => undefined);
      return [];
    }
    return entries;
  }

  #isCheckpointDue(): boolean {
    const { clock, checkpointMs, work } = this.#options;
    const reachedMs = work.reachedMs();
    this.#dueEventMs ??= reachedMs === null ? null : reachedMs + checkpointMs;
    if (this.#uncommitted >= entriesPerCheckpointMax || clock.nowMs() >= this.#dueClockMs) return true;
    return reachedMs !== null && this.#dueEventMs !== null && reachedMs >= this.#dueEventMs;
  }

  async #checkpoint(owner: PartitionOwner<T>): Promise<void> {
    const { clock, checkpointMs, work } = this.#options;
    while (!work.flushed()) await this.#retried(() => work.flush());
    const offset = this.#offset;
    const changed = work.snapshot();
    await this.#retried(() => owner.commit(offset, changed));
    this.#uncommitted = 0;
    this.#dueClockMs = clock.nowMs() + checkpointMs;
    const reachedMs = work.reachedMs();
    this.#dueEventMs = reachedMs === null ? null : reachedMs + checkpointMs;
  }

  async #commitOnce(owner: PartitionOwner<T>): Promise<void> {
    const { work } = this.#options;
    while (!work.flushed()) await work.flush();
    await owner.commit(this.#offset, work.snapshot());
    this.#uncommitted = 0;
  }

  /** Runs a step until it succeeds; gives up with its error when that is not retriable or the reader stops. */
  async #retried<R>(step: () => Promise<R>): Promise<R> {
    for (let pauseMs = retryFirstMs; ; pauseMs = Math.min(pauseMs * 2, retryLastMs)) {
      try {
        const result = await step();
        this.#options.outages.passed(this.#step);
        return result;
      } catch (error) {
        if (!(error instanceof HeadwaterError) || !error.retriable || error.code === "STOPPING" || this.#stopping) throw error;
        this.#options.outages.failed(this.#step, error);
        await this.#pause(pauseMs);
      }
    }
  }

  async #pause(delayMs: number): Promise<void> {
    let cancel: () => void = () => undefined;
    const timer = new Promise<void>((resolve) => {
      cancel = this.#options.clock.schedule(delayMs, resolve);
    });
    await this.#orStop(timer);
    cancel();
  }

  /** What the promise resolves to, or undefined when `stop` is called before. */
  async #orStop<R>(promise: Promise<R>): Promise<R | undefined> {
    if (this.#stopping) return undefined;
    let end: () => void = () => undefined;
    const stopped = new Promise<undefined>((resolve) => {
      end = () => resolve(undefined);
    });
    this.#waits.add(end);
    try {
      return await Promise.race([promise, stopped]);
    } finally {
      this.#waits.delete(end);
    }
  }

  #fail(error: unknown): void {
    if (this.#lost !== null) return;
    this.#lost = toHeadwaterError(error);
    this.#options.outages.passed(this.#step);
    if (error instanceof HeadwaterError) {
      this.#options.onLost(error);
      return;
    }
    queueMicrotask(() => {
      throw error;
    });
  }

  #nextIdle(): Promise<void> {
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }
}

/** Reduces batches of telemetry and writes what is left of them to the ordered logs, exactly once (design §4, §5). */
import { partitionCount } from "../../contract/canonical.ts";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";
import { Outages } from "../../contract/outage.ts";
import type { NewLogEntry, PartitionLog, Queue } from "../../contract/port.ts";
import type { TelemetryBatch } from "../../contract/telemetry.ts";
import { type MergedReductions, mergeReductions } from "../../native/merge-reductions.ts";
import { reduceBatch } from "../../native/reducer.ts";
import { type ReduceOptions, type Reduction, reduceDefaults } from "../../native/reduction.ts";
import type { Platform } from "../platform.ts";
import type { Stage } from "../stage.ts";
import { IngestCounters } from "./ingest-counters.ts";

/** Batches that wait for a flush at most; the queue holds the others back. */
const batchesWaitingMax = 64;
/** A flush begins at once when so many batches wait. */
const batchesPerFlush = 32;
/** Pause after a flush that failed for a reason that passes; doubled up to the second. */
const retryMs = 100;
const retryMaxMs = 5_000;
/** How long a flush may wait for the log once the stage is stopped. */
const stopWaitMs = 5_000;
/** What is repeated while the log is away. */
const flushStep = "flush";
const askStep = "ask which batches were reduced";

interface IngestOptions {
  readonly platform: Platform;
  readonly queue: Queue;
  readonly log: PartitionLog;
  readonly window: { readonly windowMs: number };
  /** A batch waits so long for others at most. */
  readonly flushMs: number;
  /** Bounds other than the defaults. */
  readonly reduce?: Partial<ReduceOptions>;
}

interface WaitingBatch {
  readonly reduction: Reduction;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Counters: `headwater_ingest_batches_total`, `headwater_ingest_redelivered_total`, `headwater_ingest_items_total`,
 * `headwater_ingest_rejects_total{reason}`, `headwater_ingest_bounds_total{bound}`, `headwater_ingest_flush_retries_total`,
 * and the histogram `headwater_ingest_flush_seconds`.
 */
export function createIngest(options: IngestOptions): Stage {
  return new Ingest(options);
}

class Ingest implements Stage {
  readonly name = "ingest";
  #options: IngestOptions;
  #reduce: ReduceOptions;
  #counters: IngestCounters;
  #outages: Outages;
  #unsubscribe: () => Promise<void> = () => Promise.resolve();
  #waiting: WaitingBatch[] = [];
  #flushing: Promise<void> | null = null;
  #cancelTimer: (() => void) | null = null;
  /** Callers of `settle` who do not want to wait for the timer. */
  #settling = 0;
  #handled = 0;
  #stopped = false;
  #stopping: Promise<void> | null = null;
  /** Each ends a pause between two tries. */
  #cancelRetries = new Set<() => void>();
  /** Ends the waiting for the log. */
  #giveUp: (() => void) | null = null;

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#reduce = { ...reduceDefaults, ...options.reduce, windowMs: options.window.windowMs };
    this.#counters = new IngestCounters(options.platform);
    const { clock, logger } = options.platform;
    this.#outages = new Outages({ name: "ingest", clock, logger, onFailed: () => this.#counters.retried() });
  }

  async start(): Promise<void> {
    const { queue } = this.#options;
    const handler = (batch: TelemetryBatch): Promise<void> => this.#take(batch);
    this.#unsubscribe = await queue.subscribe("telemetry", "ingest", handler, { concurrency: batchesWaitingMax });
  }

  /** Flushes without waiting for the clock, until as many batches are handled as were queued when called. */
  async settle(): Promise<void> {
    const { queue } = this.#options;
    this.#settling += 1;
    try {
      const target = this.#handled + (await queue.depth("telemetry", "ingest"));
      while (!this.#stopped && this.#handled < target && (await queue.depth("telemetry", "ingest")) > 0) {
        this.#beginFlush();
        await (this.#flushing ?? new Promise<void>((resolve) => setImmediate(resolve)));
      }
    } finally {
      this.#settling -= 1;
    }
  }

  /**
   * Takes no more batches and flushes those it has; one that the log does not take in time stays in the queue. Batches that are handed out
   * meanwhile are handled as ever, only without waiting for others: refusing them would use up their attempts.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#cancelRetries) cancel();
    this.#beginFlush();
    const cancel = this.#options.platform.clock.schedule(stopWaitMs, () => this.#giveUp?.());
    // It waits for running handlers, and they for the flush. A queue that is away has nobody to hand out to.
    const unsubscribed = this.#unsubscribe().catch((error: unknown) => {
      if (!(error instanceof HeadwaterError)) throw error;
    });
    while (this.#flushing !== null) await this.#flushing;
    await unsubscribed;
    cancel();
    this.#outages.passed(flushStep);
    this.#outages.passed(askStep);
  }

  reasons(): readonly string[] {
    return this.#outages.reasons();
  }

  partitions(): Readonly<Record<string, readonly number[]>> {
    return {};
  }

  /** The handler: resolves when what the batch was reduced to is in the logs. */
  async #take(batch: TelemetryBatch): Promise<void> {
    const done = await this.#retried(askStep, () => this.#options.log.reduced([batch.id]));
    if (done.has(batch.id)) this.#counters.redelivered();
    else await this.#addToFlush(reduceBatch(batch, this.#reduce));
    this.#handled += 1;
  }

  #addToFlush(reduction: Reduction): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ reduction, resolve, reject });
      this.#planFlush();
    });
  }

  /** One flush at a time; what comes meanwhile shares the next one. */
  #beginFlush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (this.#flushing !== null || this.#waiting.length === 0) return;
    const batches = this.#waiting.splice(0);
    this.#flushing = this.#flushAll(batches).finally(() => {
      this.#flushing = null;
      if (this.#waiting.length > 0) this.#planFlush();
    });
  }

  #planFlush(): void {
    const atOnce = this.#stopped || this.#settling > 0 || this.#waiting.length >= batchesPerFlush;
    if (atOnce) this.#beginFlush();
    else this.#cancelTimer ??= this.#options.platform.clock.schedule(this.#options.flushMs, () => this.#beginFlush());
  }

  /**
   * Never rejects. When the log refuses the entries for good, each batch is tried alone, so that one cannot take the others with it. One
   * that another worker has reduced meanwhile, because this one was slow or paused, is a redelivery.
   */
  async #flushAll(batches: readonly WaitingBatch[]): Promise<void> {
    try {
      await this.#flush(batches);
      for (const batch of batches) batch.resolve();
    } catch (error) {
      const { code, retriable } = toHeadwaterError(error);
      if (batches.length > 1 && !retriable && !(error instanceof InvariantError)) {
        for (const batch of batches) await this.#flushAll([batch]);
        return;
      }
      for (const batch of batches) {
        if (code !== "BATCH_REDUCED") batch.reject(error);
        else {
          this.#counters.redelivered();
          batch.resolve();
        }
      }
    }
  }

  async #flush(batches: readonly WaitingBatch[]): Promise<void> {
    const stopTimer = this.#counters.startFlush();
    // The same batch can be here twice when the queue handed it out again while it waited.
    const reductions = new Map(batches.map(({ reduction }) => [reduction.batchId, reduction]));
    const merged = mergeReductions([...reductions.values()], this.#reduce);
    const entries = entriesOf(merged);
    await this.#retried(flushStep, () => this.#append(entries, [...reductions.keys()]));
    stopTimer();
    this.#counters.flushed(reductions.size, merged);
  }

  /** Waits while the log is away: the batches stay in the queue, which refuses new ones at its bound. Gives up when ingest is stopped. */
  async #retried<T>(step: string, work: () => Promise<T>): Promise<T> {
    for (let pauseMs = retryMs; ; pauseMs = Math.min(pauseMs * 2, retryMaxMs)) {
      try {
        const result = await work();
        this.#outages.passed(step);
        return result;
      } catch (error) {
        if (!(error instanceof HeadwaterError) || !error.retriable || error.code === "STOPPING" || this.#stopped) throw error;
        this.#outages.failed(step, error);
        await this.#pause(pauseMs);
      }
    }
  }

  /**
   * An append that was given up may still happen: it marks the batches as reduced in the same step, so their next delivery has no effect.
   */
  async #append(entries: readonly NewLogEntry[], reduced: readonly string[]): Promise<void> {
    const { log, platform } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => reject(new HeadwaterError("STOPPING", "the partition log took nothing while ingest was stopping"));
      this.#giveUp = giveUp;
      const cancel = this.#stopped ? platform.clock.schedule(stopWaitMs, giveUp) : () => undefined;
      this.#outages
        .waiting("the window or the dependency log is full, because detection or topology is behind or does not run", () =>
          log.append(entries, { reduced }),
        )
        .then(resolve, reject)
        .finally(() => {
          cancel();
          this.#giveUp = null;
        });
    });
  }

  /** Ends early when the stage is stopped. */
  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        this.#cancelRetries.delete(end);
        resolve();
      };
      const cancel = this.#options.platform.clock.schedule(pauseMs, end);
      this.#cancelRetries.add(end);
    });
  }
}

/** One entry for each partition of both topics: progress goes to all of them, because a watermark is kept in each. */
function entriesOf(merged: MergedReductions): NewLogEntry[] {
  const entries: NewLogEntry[] = [];
  for (let partition = 0; partition < partitionCount; partition += 1) {
    const window = merged.windows[partition];
    const dependency = merged.dependencies[partition];
    if (window !== undefined) entries.push({ topic: "window", partition, value: window });
    if (dependency !== undefined) entries.push({ topic: "dependency", partition, value: dependency });
  }
  return entries;
}

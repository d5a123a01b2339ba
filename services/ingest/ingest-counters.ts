/** What ingest counts, and which rejects it tells the log of. */
import type { MergedReductions } from "../../native/merge-reductions.ts";
import type { Platform } from "../platform.ts";

/** Each reason is written to the log once in this time at most. */
const rejectLogMs = 10_000;
const flushBucketsSeconds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

export class IngestCounters {
  #platform: Platform;
  #counters;
  #loggedMs = new Map<string, number>();

  constructor(platform: Platform) {
    this.#platform = platform;
    const { metrics } = platform;
    this.#counters = {
      batches: metrics.counter("headwater_ingest_batches_total", "Batches reduced and written to the logs"),
      redelivered: metrics.counter("headwater_ingest_redelivered_total", "Batches that came again after they had been reduced"),
      items: metrics.counter("headwater_ingest_items_total", "Spans, data points and log records that were used"),
      rejects: metrics.counter("headwater_ingest_rejects_total", "Items that were not used", ["reason"]),
      bounds: metrics.counter("headwater_ingest_bounds_total", "Things that a bound folded together or dropped", ["bound"]),
      retries: metrics.counter("headwater_ingest_flush_retries_total", "Steps tried again because the log was away"),
      flush: metrics.histogram("headwater_ingest_flush_seconds", "Merging and writing of one flush", flushBucketsSeconds),
    };
  }

  redelivered(): void {
    this.#counters.redelivered.inc();
  }

  /** Begins to measure a flush; the answer ends it. */
  startFlush(): () => void {
    const startedMs = this.#platform.clock.nowMs();
    return () => this.#counters.flush.observe((this.#platform.clock.nowMs() - startedMs) / 1_000);
  }

  /** Counts a step that is repeated because the log is away. */
  retried(): void {
    this.#counters.retries.inc();
  }

  /** Counts a flush that is in the logs. */
  flushed(batches: number, merged: MergedReductions): void {
    this.#counters.batches.inc(batches);
    this.#counters.items.inc(merged.itemCount);
    for (const [reason, count] of merged.rejects) this.#counters.rejects.inc({ reason }, count);
    for (const [bound, count] of merged.bounds) this.#counters.bounds.inc({ bound }, count);
    const nowMs = this.#platform.clock.nowMs();
    for (const { reason, text } of merged.samples) {
      if (nowMs - (this.#loggedMs.get(reason) ?? Number.NEGATIVE_INFINITY) < rejectLogMs) continue;
      this.#loggedMs.set(reason, nowMs);
      this.#platform.logger.warn({ reason, count: merged.rejects.get(reason), example: text }, "items were rejected");
    }
  }
}

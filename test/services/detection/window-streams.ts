/** Synthetic streams of window entries, and the stage around real adapters that reads them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AnomalyEntry } from "../../../contract/anomaly.ts";
import { canonicalJson } from "../../../contract/canonical.ts";
import type { PartitionLog, TelemetryStore } from "../../../contract/port.ts";
import type { WindowEntry, Partial as WindowPartial } from "../../../contract/window.ts";
import { bucketIndex } from "../../../native/histogram.ts";
import { createDetection, type DetectionOptions } from "../../../services/detection/detection.ts";
import { openFilePartitionLog } from "../../../services/log/file-log.ts";
import { createPlatform, ManualClock } from "../../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { counted } from "../counted.ts";

export const startMs = 1_700_000_000_000;
export const window = { windowMs: 1_000, settleMs: 1_000, sourceSilentMs: 3_000, amendMs: 5_000 };

/** One span that ended at a moment. */
export function duration(entity: string, of: { atMs: number; ms: number; failed?: boolean; operation?: string }): WindowPartial {
  const ns = Math.round(of.ms * 1e6);
  return {
    ...{ kind: "duration", entity, metric: "span.server.duration", attributes: `operation=${of.operation ?? "GET /"}` },
    ...{ windowStartMs: Math.floor(of.atMs / 1_000) * 1_000, count: 1, failed: of.failed === true ? 1 : 0 },
    ...{ sumNs: ns, minNs: ns, maxNs: ns, buckets: [[bucketIndex(ns), 1]] },
  };
}

export function gauge(entity: string, of: { atMs: number; stream: string; metric: string; value: number }): WindowPartial {
  return {
    ...{ kind: "gauge", entity, metric: of.metric, attributes: "", windowStartMs: Math.floor(of.atMs / 1_000) * 1_000 },
    ...{ stream: of.stream, count: 1, min: of.value, max: of.value, lastAtUs: of.atMs * 1_000, last: of.value },
  };
}

export function cumulative(
  entity: string,
  of: { atMs: number; stream: string; metric: string; value: number; startMs: number },
): WindowPartial {
  return {
    ...{ kind: "cumulative", entity, metric: of.metric, attributes: "", windowStartMs: Math.floor(of.atMs / 1_000) * 1_000 },
    ...{ stream: of.stream, startAtUs: of.startMs * 1_000, lastAtUs: of.atMs * 1_000, last: of.value },
  };
}

export interface Batch {
  readonly source: string;
  readonly sequence: number;
  readonly atMs: number;
  readonly entry: Omit<WindowEntry, "progress">;
}

export function emptyEntry(): { -readonly [K in keyof Omit<WindowEntry, "progress">]: WindowEntry[K] } {
  return { partials: [], spans: [], shapes: [], lines: [] };
}

/** Puts batches of one order into entries, several at a time. */
export function entriesOf(batches: readonly Batch[], random: () => number): WindowEntry[] {
  const entries: WindowEntry[] = [];
  for (let at = 0; at < batches.length; ) {
    const some = batches.slice(at, at + 1 + Math.floor(random() * 3));
    at += some.length;
    entries.push({
      progress: some.map(({ source, sequence, atMs }) => ({ source, sequence, atUs: atMs * 1_000, receivedAtMs: atMs })),
      partials: some.flatMap(({ entry }) => entry.partials),
      spans: some.flatMap(({ entry }) => entry.spans),
      shapes: some.flatMap(({ entry }) => entry.shapes),
      lines: some.flatMap(({ entry }) => entry.lines),
    });
  }
  return entries;
}

export interface Bench {
  readonly log: PartitionLog;
  readonly telemetry: TelemetryStore;
  /** Windows as given to the store, by key; a key given twice must be given the same. */
  readonly appended: Map<string, string>;
  readonly told: AnomalyEntry[];
  createStage(more?: Partial<DetectionOptions>): ReturnType<typeof createDetection>;
  counted(name: string): Promise<number>;
  feed(entries: readonly WindowEntry[], partition?: number): Promise<void>;
  close(): Promise<void>;
}

/** The same store with another `append`. */
export function withAppend(store: TelemetryStore, append: TelemetryStore["append"]): TelemetryStore {
  return {
    append,
    series: (query) => store.series(query),
    summaries: (options) => store.summaries(options),
    durations: (query) => store.durations(query),
    spans: (query) => store.spans(query),
    templates: (query) => store.templates(query),
    lines: (query) => store.lines(query),
    retain: (nowMs) => store.retain(nowMs),
    close: () => store.close(),
  };
}

/** Opens real adapters in a folder of their own, with everything that is written to them noted. */
export async function openBench(folder?: string): Promise<Bench> {
  const directory = folder ?? (await mkdtemp(join(tmpdir(), "headwater-detection-")));
  const clock = new ManualClock(startMs);
  const platform = createPlatform({ level: "silent", clock });
  const onCounted = () => undefined;
  const fileLog = await openFilePartitionLog({ directory: join(directory, "log"), clock, onCounted, validate: "yes" });
  const store = await openDuckdbTelemetryStore({ directory: join(directory, "telemetry"), tenant: "default", clock, onCounted });
  const appended = new Map<string, string>();
  const told: AnomalyEntry[] = [];
  const log: PartitionLog = {
    append: async (entries, options) => {
      await fileLog.append(entries, options);
      for (const { topic, value } of entries) if (topic === "anomaly") told.push(value as AnomalyEntry);
    },
    reduced: (ids) => fileLog.reduced(ids),
    own: (topic, partition) => fileLog.own(topic, partition),
    join: (topic) => fileLog.join(topic),
    lag: (topic) => fileLog.lag(topic),
    close: () => fileLog.close(),
  };
  const telemetry = withAppend(store, async (windows) => {
    for (const appendedWindow of windows) {
      const json = canonicalJson(appendedWindow);
      if ((appended.get(appendedWindow.key) ?? json) !== json)
        throw new Error(`${appendedWindow.key} was given twice with different content`);
      appended.set(appendedWindow.key, json);
    }
    await store.append(windows);
  });
  return {
    ...{ log, telemetry, appended, told },
    createStage: (more = {}) => createDetection({ platform, log, telemetry, window, ...more }),
    counted: (name) => counted(platform, name),
    feed: (entries, partition = 0) =>
      log.append(
        entries.map((value) => ({ topic: "window" as const, partition, value })),
        { reduced: [] },
      ),
    close: async () => {
      await log.close();
      await store.close();
      if (folder === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}

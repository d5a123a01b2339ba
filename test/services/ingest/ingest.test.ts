import { afterEach, describe, expect, it } from "vitest";
import { partitionCount, partitionOf } from "../../../contract/canonical.ts";
import { HeadwaterError } from "../../../contract/error.ts";
import type { NewLogEntry, PartitionLog, Queue } from "../../../contract/port.ts";
import type { DependencyEntry, WindowEntry, Partial as WindowPartial } from "../../../contract/window.ts";
import { createIngest } from "../../../services/ingest/ingest.ts";
import { openFilePartitionLog } from "../../../services/log/file-log.ts";
import { createMetrics, ManualClock, type Platform, SystemClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import type { Stage } from "../../../services/stage.ts";
import { Counts, temporaryFolder, until } from "../../conformance/temporary.ts";
import { batchOf, receivedAtMs, spanOf, traceRequest } from "../../native/otlp-bodies.ts";
import { counted } from "../counted.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
});

interface World {
  readonly directory: string;
  readonly platform: Platform;
  readonly queue: Queue;
  readonly log: PartitionLog;
  readonly ingest: Stage;
  readonly counts: Counts;
}

/** Ingest between the real queue and the real log. `wrap` may stand between ingest and the log, to make the disk fail. */
async function world(
  options: { directory?: string; clock?: ManualClock; wrap?: (log: PartitionLog) => PartitionLog; onLine?: (line: string) => void } = {},
): Promise<World> {
  let directory = options.directory;
  if (directory === undefined) {
    const folder = await temporaryFolder();
    cleanups.push(folder.remove);
    directory = folder.path;
  }
  const clock = options.clock ?? new SystemClock();
  const line = (_fields: object, message: string): void => options.onLine?.(message);
  const logger = { debug: line, info: line, warn: line, error: line };
  const platform: Platform = { clock, logger, metrics: createMetrics(), random: () => 0.5 };
  const counts = new Counts();
  const log = await openFilePartitionLog({ directory: `${directory}/log`, clock, onCounted: counts.onCounted, validate: "yes" });
  const queue = await openMemoryQueue({ directory: `${directory}/queue`, clock, onCounted: counts.onCounted });
  const ingest = createIngest({ platform, queue, log: options.wrap?.(log) ?? log, window: { windowMs: 10_000 }, flushMs: 100 });
  cleanups.push(
    () => log.close(),
    () => queue.close(),
    () => ingest.stop(),
  );
  return { directory, platform, queue, log, ingest, counts };
}

const trace = (service: string, sequence: number) => batchOf("traces", traceRequest(service, [spanOf()]), { sequence });

async function entriesOf(log: PartitionLog, topic: "window" | "dependency"): Promise<(WindowEntry | DependencyEntry)[][]> {
  const lists: (WindowEntry | DependencyEntry)[][] = [];
  for (let partition = 0; partition < partitionCount; partition += 1) {
    const owner = await log.own(topic, partition);
    lists.push((await owner.read(0, { entriesMax: 1_000, waitMs: 0 })).map((entry) => entry.value));
    await owner.release();
  }
  return lists;
}

async function spanCount(log: PartitionLog): Promise<number> {
  const partials = (await entriesOf(log, "window")).flat().flatMap((entry) => ("partials" in entry ? entry.partials : []));
  return partials.reduce((sum, partial) => sum + ("count" in partial ? partial.count : 0), 0);
}

const emptyWindow: WindowEntry = { progress: [], partials: [], spans: [], shapes: [], lines: [] };
const aPartial: WindowPartial = {
  ...{ kind: "duration", entity: "cart", metric: "span.server.duration", attributes: "" },
  ...{ windowStartMs: receivedAtMs - (receivedAtMs % 10_000), count: 1, failed: 0, sumNs: 1, minNs: 1, maxNs: 1, buckets: [[0, 1]] },
};

describe("ingest", () => {
  it("settles without the clock moving, and writes progress to every partition of both topics", async () => {
    const { ingest, queue, log } = await world({ clock: new ManualClock(receivedAtMs) });
    await ingest.start();
    await queue.publish("telemetry", trace("cart", 0));
    await queue.publish("telemetry", trace("pay", 1));
    await ingest.settle();
    for (const topic of ["window", "dependency"] as const) {
      for (const entries of await entriesOf(log, topic)) {
        const progress = entries.flatMap((entry) => entry.progress.map((row) => row.sequence));
        expect(progress).toEqual([0, 1]);
      }
    }
    const windows = await entriesOf(log, "window");
    expect(windows[partitionOf("cart")]?.flatMap((entry) => ("partials" in entry ? entry.partials : []))).toMatchObject([
      { entity: "cart" },
    ]);
    expect(await spanCount(log)).toBe(2);
  });

  it("waits for the flush before a batch is done, and writes batches of one flush as one entry a partition", async () => {
    const clock = new ManualClock(receivedAtMs);
    const { ingest, queue, log } = await world({ clock });
    await ingest.start();
    for (let sequence = 0; sequence < 5; sequence += 1) await queue.publish("telemetry", trace("cart", sequence));
    expect(await queue.depth("telemetry", "ingest")).toBe(5);
    expect(await spanCount(log)).toBe(0);
    clock.advanceTo(receivedAtMs + 100);
    await queue.drain();
    for (const entries of await entriesOf(log, "window")) expect(entries).toHaveLength(1);
    expect(await spanCount(log)).toBe(5);
  });

  it("gives a batch that was reduced before no second effect", async () => {
    const { ingest, queue, log, platform } = await world();
    await ingest.start();
    await queue.publish("telemetry", trace("cart", 0));
    await queue.drain();
    await queue.publish("telemetry", trace("cart", 0));
    await queue.drain();
    expect(await spanCount(log)).toBe(1);
    expect(await counted(platform, "headwater_ingest_redelivered_total")).toBe(1);
  });

  it("reduces a batch once when the queue hands it out twice within a flush", async () => {
    const clock = new ManualClock(receivedAtMs);
    const { ingest, queue, log } = await world({ clock });
    await ingest.start();
    await queue.publish("telemetry", trace("cart", 0));
    await queue.publish("telemetry", trace("cart", 0));
    await ingest.settle();
    expect(await spanCount(log)).toBe(1);
  });

  it("handles what an earlier process left in the queue, exactly once", async () => {
    const first = await world();
    for (let sequence = 0; sequence < 20; sequence += 1) await first.queue.publish("telemetry", trace("cart", sequence));
    await first.queue.close();
    await first.log.close();
    const second = await world({ directory: first.directory });
    await second.ingest.start();
    await second.queue.drain();
    expect(await spanCount(second.log)).toBe(20);
  });

  it("counts rejects by reason and uses the rest", async () => {
    const { ingest, queue, log, platform } = await world();
    await ingest.start();
    await queue.publish("telemetry", batchOf("traces", traceRequest("cart", [spanOf(), spanOf({ traceId: "12" }), spanOf({ kind: 9 })])));
    await queue.drain();
    expect(await spanCount(log)).toBe(1);
    const text = await platform.metrics.registry.metrics();
    expect(text).toContain('headwater_ingest_rejects_total{reason="id-invalid"} 1');
    expect(text).toContain('headwater_ingest_rejects_total{reason="unknown-enum"} 1');
  });

  it("holds its batches while the log is away, and writes each once when it is back", async () => {
    let failures = 3;
    const wrap = (log: PartitionLog) =>
      withAppend(log, async (entries, options) => {
        failures -= 1;
        if (failures >= 0) throw new HeadwaterError("LOG_UNAVAILABLE", "the disk is full");
        await log.append(entries, options);
      });
    const { ingest, queue, log, platform, counts } = await world({ wrap });
    await ingest.start();
    for (let sequence = 0; sequence < 3; sequence += 1) await queue.publish("telemetry", trace("cart", sequence));
    await queue.drain();
    expect(await spanCount(log)).toBe(3);
    expect(await counted(platform, "headwater_ingest_flush_retries_total")).toBe(3);
    expect(counts.of("queue_dead_letters")).toBe(0);
  });

  it("lets no batch that the log refuses for good take others with it", async () => {
    const wrap = (log: PartitionLog) =>
      withAppend(log, async (entries, options) => {
        if (options.reduced.includes("test-1")) throw new HeadwaterError("REQUEST_INVALID", "not an entry");
        await log.append(entries, options);
      });
    const { ingest, queue, log, counts } = await world({ wrap, clock: new ManualClock(receivedAtMs) });
    await ingest.start();
    for (let sequence = 0; sequence < 4; sequence += 1) await queue.publish("telemetry", trace("cart", sequence));
    await ingest.settle();
    await queue.drain();
    expect(await spanCount(log)).toBe(3);
    expect(counts.of("queue_dead_letters")).toBe(1);
  });

  it("takes a batch that another worker has reduced meanwhile for a redelivery, and writes those beside it", async () => {
    const clock = new ManualClock(receivedAtMs);
    const { ingest, queue, log, platform, counts } = await world({ clock });
    await ingest.start();
    for (let sequence = 0; sequence < 4; sequence += 1) await queue.publish("telemetry", trace("cart", sequence));
    await until("all wait for the flush", async () => (await queue.depth("telemetry", "ingest")) === 4);
    // This worker was paused between asking and writing; the other one was not.
    const partials = [{ ...emptyWindow, partials: [aPartial] }];
    await log.append(
      partials.map((value) => ({ topic: "window" as const, partition: 0, value })),
      { reduced: ["test-1", "test-2"] },
    );
    clock.advanceTo(receivedAtMs + 100);
    await queue.drain();
    expect(await spanCount(log)).toBe(1 + 2);
    expect(await counted(platform, "headwater_ingest_redelivered_total")).toBe(2);
    expect(await counted(platform, "headwater_ingest_batches_total")).toBe(2);
    expect(counts.of("queue_dead_letters")).toBe(0);
  });

  it("holds its batches while the log cannot even be asked, longer than a queue tries, and says so once", async () => {
    let failures = 12;
    const lines: string[] = [];
    const wrap = (log: PartitionLog): PartitionLog => ({
      ...withAppend(log, (entries, options) => log.append(entries, options)),
      reduced: async (ids) => {
        failures -= 1;
        if (failures >= 0) throw new HeadwaterError("LOG_UNAVAILABLE", "Redis at 127.0.0.1:1 cannot be reached");
        return await log.reduced(ids);
      },
    });
    const clock = new ManualClock(receivedAtMs);
    const { ingest, queue, log, counts } = await world({ wrap, clock, onLine: (line) => lines.push(line) });
    await ingest.start();
    for (let sequence = 0; sequence < 3; sequence += 1) await queue.publish("telemetry", trace("cart", sequence));
    await until("they wait", () => ingest.reasons().length > 0);
    expect(ingest.reasons()).toEqual(["ingest has waited for 0 s: Redis at 127.0.0.1:1 cannot be reached"]);
    await until("they are written", async () => {
      clock.advanceTo(clock.nowMs() + 1_000);
      return (await queue.depth("telemetry", "ingest")) === 0;
    });
    expect(await spanCount(log)).toBe(3);
    expect(counts.of("queue_dead_letters")).toBe(0);
    expect(counts.of("queue_retried")).toBe(0);
    expect(ingest.reasons()).toEqual([]);
    expect(lines.filter((line) => line.includes("waits"))).toHaveLength(1);
  });

  it("takes nothing more once it is stopped, and another may take its place", async () => {
    const { ingest, queue, log, platform } = await world({ clock: new ManualClock(receivedAtMs) });
    await ingest.start();
    await queue.publish("telemetry", trace("cart", 0));
    await Promise.all([ingest.stop(), ingest.stop()]);
    await queue.publish("telemetry", trace("cart", 1));
    expect(await queue.depth("telemetry", "ingest")).toBe(1);
    const next = createIngest({ platform, queue, log, window: { windowMs: 10_000 }, flushMs: 100 });
    cleanups.push(() => next.stop());
    await next.start();
    await next.settle();
    expect(await spanCount(log)).toBe(2);
  });

  it("stops while the log is away, and keeps its batches for the next start", async () => {
    const wrap = (log: PartitionLog) => withAppend(log, () => Promise.reject(new HeadwaterError("LOG_UNAVAILABLE", "the disk is full")));
    const first = await world({ wrap });
    await first.ingest.start();
    await first.queue.publish("telemetry", trace("cart", 0));
    await until("the log was tried", async () => (await counted(first.platform, "headwater_ingest_flush_retries_total")) > 0);
    await first.ingest.stop();
    await first.queue.close();
    await first.log.close();
    const second = await world({ directory: first.directory });
    await second.ingest.start();
    await second.queue.drain();
    expect(await spanCount(second.log)).toBe(1);
  });

  it("flushes what waits when it is stopped", async () => {
    const { ingest, queue, log } = await world({ clock: new ManualClock(receivedAtMs) });
    await ingest.start();
    await queue.publish("telemetry", trace("cart", 0));
    await ingest.stop();
    await queue.drain();
    expect(await spanCount(log)).toBe(1);
  });
});

/** The real log with another way to append, for disks that fail. */
function withAppend(
  log: PartitionLog,
  append: (entries: readonly NewLogEntry[], options: { reduced: readonly string[] }) => Promise<void>,
): PartitionLog {
  return {
    append,
    reduced: (ids) => log.reduced(ids),
    own: (topic, partition) => log.own(topic, partition),
    join: (topic) => log.join(topic),
    lag: (topic) => log.lag(topic),
    close: () => log.close(),
  };
}

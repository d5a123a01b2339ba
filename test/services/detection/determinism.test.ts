import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { canonicalJson, sortedBy } from "../../../contract/canonical.ts";
import type { KeptSpan } from "../../../contract/window.ts";
import { interleaved, uniform } from "../arrival-order.ts";
import {
  type Batch,
  type Bench,
  cumulative,
  duration,
  emptyEntry,
  entriesOf,
  gauge,
  openBench,
  startMs,
  window,
} from "./window-streams.ts";

const seconds = 55;
const faultFrom = 42;
const traceOf = (random: () => number) =>
  Math.floor(random() * 0xffffffff)
    .toString(16)
    .padStart(32, "0");

/** Four sources: two instances of checkout, a cart whose requests turn slow and fail, and one that begins late and stops early. */
function batches(): Batch[] {
  const random = uniform(7);
  const all: Batch[] = [];
  for (const [index, source] of ["s0", "s1", "s2", "s3"].entries()) {
    const entity = ["checkout", "checkout", "cart", "late"][index] ?? "";
    let sequence = 0;
    let served = 0;
    const [from, to] = index === 3 ? [15, 45] : [0.1 * index, seconds];
    for (let atMs = startMs + from * 1_000; atMs < startMs + to * 1_000; atMs += 200) {
      const entry = emptyEntry();
      const isFault = index === 2 && atMs >= startMs + faultFrom * 1_000;
      for (let count = 0; count < 6; count += 1) {
        const spanAtMs = sequence === 0 ? atMs : atMs - Math.floor(random() * 200);
        const ms = (isFault ? 200 : 10) * (0.8 + 0.4 * random());
        const failed = isFault && random() < 0.4;
        const operation = random() < 0.7 ? "GET /" : "POST /order";
        entry.partials.push(duration(entity, { atMs: spanAtMs, ms, failed, operation }));
        served += 1;
        entry.spans.push(span(entity, { atMs: spanAtMs, ms, failed, operation, traceId: traceOf(random) }));
      }
      entry.partials.push(gauge(entity, { atMs, stream: source, metric: "process.memory.usage", value: 5e7 + Math.floor(random() * 1e5) }));
      entry.partials.push(cumulative(entity, { atMs, stream: source, metric: "jobs.total", value: served, startMs: startMs - 60_000 }));
      const windowStartMs = Math.floor(atMs / 1_000) * 1_000;
      entry.shapes.push({ entity, shape: "00000000000000ab", severity: "INFO", text: "served <n>", windowStartMs, count: 6 });
      entry.lines.push({
        entity,
        atUs: atMs * 1_000,
        severity: "INFO",
        body: `served ${served}`,
        shape: "00000000000000ab",
        traceId: null,
        spanId: null,
        windowStartMs,
      });
      all.push({ source, sequence, atMs, entry });
      sequence += 1;
    }
  }
  return all.sort((left, right) => left.atMs - right.atMs);
}

function span(entity: string, of: { atMs: number; ms: number; failed: boolean; operation: string; traceId: string }): KeptSpan {
  const { atMs, ms, failed, operation, traceId } = of;
  return {
    ...{ traceId, spanId: traceId.slice(16), parentSpanId: null, entity, operation, kind: "server", peer: null, failed },
    ...{ startAtUs: Math.round((atMs - ms) * 1_000), durationNs: Math.round(ms * 1e6), statusMessage: "", exception: null },
    ...{ windowStartMs: Math.floor(atMs / 1_000) * 1_000, keptBecause: failed ? "failed" : "sampled" },
  };
}

async function open(folder?: string): Promise<Bench> {
  const bench = await openBench(folder);
  onTestFinished(() => bench.close());
  return bench;
}

function outcome(bench: Bench): string {
  return canonicalJson({ appended: sortedBy(bench.appended, ([key]) => key), told: bench.told });
}

async function run(order: readonly Batch[], seed: number): Promise<Bench> {
  const bench = await open();
  const stage = bench.createStage();
  await stage.start();
  await bench.feed(entriesOf(order, uniform(seed)));
  await stage.settle();
  await stage.stop();
  return bench;
}

describe("detection", () => {
  it("gives the same bytes however the batches of different sources interleave", async () => {
    const straight = await run(batches(), 1);
    const expected = outcome(straight);
    expect(
      straight.told.flatMap(({ anomalies }) => anomalies).some(({ series, state }) => series.entity === "cart" && state === "open"),
    ).toBe(true);
    expect(straight.told.length).toBeGreaterThan(50);
    for (const seed of [2, 3]) {
      const other = await run(
        interleaved(batches(), { atMs: ({ atMs }) => atMs, delayMs: window.settleMs - 1, random: uniform(seed) }),
        seed + 10,
      );
      expect(await other.counted("headwater_detection_amended_total")).toBe(0);
      expect(outcome(other) === expected).toBe(true);
    }
  });

  it("gives the same bytes across crashes and restarts, writing no anomaly entry twice", async () => {
    const entries = entriesOf(batches(), uniform(1));
    const expected = outcome(await run(batches(), 1));
    const folder = await mkdtemp(join(tmpdir(), "headwater-detection-crash-"));
    try {
      const appended = new Map<string, string>();
      const told: Bench["told"] = [];
      const cuts = [0, 97, 250, 251, 380, entries.length];
      for (const [index, cut] of cuts.slice(1).entries()) {
        const bench = await open(folder);
        const stage = bench.createStage({ checkpointMs: 3_000 });
        await stage.start();
        await bench.feed(entries.slice(cuts[index], cut));
        await stage.settle();
        for (const [key, json] of bench.appended) {
          expect(appended.get(key) ?? json).toBe(json);
          appended.set(key, json);
        }
        told.push(...bench.told);
        // A crash: nothing is committed at the end; the log is closed under the stage's feet.
        await bench.close();
        await stage.stop();
      }
      expect(canonicalJson({ appended: sortedBy(appended, ([key]) => key), told }) === expected).toBe(true);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

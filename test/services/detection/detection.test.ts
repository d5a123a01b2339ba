import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sortedBy } from "../../../contract/canonical.ts";
import { HeadwaterError } from "../../../contract/error.ts";
import type { WindowEntry, Partial as WindowPartial } from "../../../contract/window.ts";
import type { DetectionOptions } from "../../../services/detection/detection.ts";
import { createPlatform, ManualClock } from "../../../services/platform.ts";
import { type Bench, cumulative, duration, emptyEntry, gauge, openBench, startMs, withAppend } from "./window-streams.ts";

const range = { fromMs: startMs, toMs: startMs + 3_600_000 };

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(async () => {
  await bench.close();
});

/** An entry of one source, whose sequence is given by half seconds since the start. */
function tick(source: string, half: number, partials: readonly WindowPartial[] = []): WindowEntry {
  return {
    progress: [{ source, sequence: half, atUs: (startMs + half * 500) * 1_000, receivedAtMs: startMs + half * 500 }],
    ...emptyEntry(),
    partials: [...partials],
  };
}

const atOf = (half: number) => startMs + half * 500;

/** Runs a stage over entries and stops it again. */
async function process(entries: readonly WindowEntry[], more: Partial<DetectionOptions> = {}): Promise<void> {
  const stage = bench.createStage(more);
  await stage.start();
  await bench.feed(entries);
  await stage.settle();
  await stage.stop();
}

/** Half seconds from `from` to `to`, each with what `partials` gives. */
function ticks(from: number, to: number, partials: (half: number) => WindowPartial[]): WindowEntry[] {
  return Array.from({ length: to - from }, (_, index) => tick("a", from + index, partials(from + index)));
}

async function samples(entity: string, metric: string, statistic: string) {
  const found = await bench.telemetry.series({ ...range, entities: [entity], metric, seriesMax: 100 });
  return found.find(({ key }) => key.statistic === statistic && key.attributes === "")?.samples ?? [];
}

const anomalies = () => bench.told.flatMap((entry) => entry.anomalies);

describe("windows", () => {
  it("close in order, each once, also the empty ones between, when the source has passed their end plus the settling time", async () => {
    await process([tick("a", 0, [duration("shop", { atMs: atOf(0), ms: 5 })]), tick("a", 1), tick("a", 2), tick("a", 3), tick("a", 9)]);
    // The source jumped over sequences 4 to 8, so its watermark stays at the third half second.
    expect(bench.told).toEqual([]);
    await process([4, 5, 6, 7, 8].map((half) => tick("a", half)));
    expect(bench.told.map(({ closedThroughMs }) => closedThroughMs - startMs)).toEqual([1_000, 2_000, 3_000]);
    expect(await bench.counted("headwater_detection_windows_total")).toBe(3);
  });

  it("wait for the slowest live source, and no longer for one that has fallen silent", async () => {
    const both = [0, 1, 2, 3].flatMap((half) => [tick("a", half), tick("b", half)]);
    const alone = [4, 5, 6, 7, 8, 9].map((half) => tick("a", half));
    await process([...both, ...alone]);
    expect(bench.told.length).toBe(0);
    await process([tick("a", 10)]);
    expect(bench.told.map(({ closedThroughMs }) => closedThroughMs - startMs)).toEqual([1_000, 2_000, 3_000, 4_000]);
  });

  it("give up a gap in a source's sequences once the source is silent-time ahead of it", async () => {
    await process([tick("a", 0), ...[2, 3, 4, 5, 6].map((half) => tick("a", half))]);
    expect(bench.told.length).toBe(0);
    await process([tick("a", 7)]);
    expect(bench.told.at(-1)?.closedThroughMs).toBe(startMs + 2_000);
    expect(await bench.counted("headwater_detection_source_gaps_total")).toBe(1);
  });

  it("pass over a long hole in event time at once", async () => {
    await process([
      ...ticks(0, 6, (half) => [duration("shop", { atMs: atOf(half), ms: 5 })]),
      {
        ...tick("a", 6),
        progress: [{ source: "a", sequence: 6, atUs: (startMs + 86_400_000) * 1_000, receivedAtMs: startMs + 86_400_000 }],
      },
    ]);
    expect(bench.told.length).toBeLessThan(10);
    expect(bench.told.at(-1)?.closedThroughMs).toBe(startMs + 86_400_000 - 1_000);
    expect(await bench.counted("headwater_detection_windows_skipped_total")).toBeGreaterThan(80_000);
  });
});

describe("late data", () => {
  it("within the amending time replace what is stored, whole and per attributes, and are never scored", async () => {
    const regular = ticks(0, 10, (half) => [duration("shop", { atMs: atOf(half), ms: 10 })]);
    await process([
      ...regular,
      tick("a", 10, [duration("shop", { atMs: startMs + 1_200, ms: 90, operation: "GET /other", failed: true })]),
    ]);
    expect(await bench.counted("headwater_detection_amended_total")).toBe(1);
    const rates = await samples("shop", "span.server.duration", "rate");
    expect(rates.slice(0, 3).map(({ value }) => value)).toEqual([2, 3, 2]);
    const rows = await bench.telemetry.durations({ ...range, entities: ["shop"], rowsMax: 100 });
    const second = rows.filter((row) => row.windowStartMs === startMs + 1_000);
    expect(second.map(({ attributes, count, failed }) => [attributes, count, failed])).toEqual([
      ["", 3, 1],
      ["operation=GET /", 2, 0],
      ["operation=GET /other", 1, 1],
    ]);
    expect(bench.told.find(({ closedThroughMs }) => closedThroughMs === startMs + 2_000)?.requests[0]?.count).toBe(2);
  });

  it("after the amending time are counted and left out", async () => {
    await process([...ticks(0, 20, () => []), tick("a", 20, [duration("shop", { atMs: startMs + 100, ms: 10 })])]);
    expect(await bench.counted("headwater_detection_late_total")).toBe(1);
    expect(await samples("shop", "span.server.duration", "rate")).toEqual([]);
  });

  it("are stored once when the log is read again after a crash", async () => {
    const stage = bench.createStage({ checkpointMs: 3_600_000 });
    await stage.start();
    await bench.feed(ticks(0, 10, (half) => [duration("shop", { atMs: atOf(half), ms: 10 })]));
    await bench.feed([
      tick("a", 10, [duration("shop", { atMs: startMs + 200, ms: 10 })]),
      tick("a", 11, [duration("shop", { atMs: startMs + 300, ms: 10 })]),
    ]);
    await stage.settle();
    // Taking the partition away leaves the first stage without a commit, as a crash does.
    await process([tick("a", 12)]);
    expect((await samples("shop", "span.server.duration", "rate"))[0]?.value).toBe(4);
    expect(bench.told.map(({ closedThroughMs }) => closedThroughMs - startMs)).toEqual([1_000, 2_000, 3_000, 4_000, 5_000]);
    await stage.stop();
  });
});

describe("values", () => {
  it("of durations are rate, error ratio and quantiles in seconds", async () => {
    await process(ticks(0, 6, (half) => [10, 20, 30, 40].map((ms) => duration("shop", { atMs: atOf(half), ms, failed: ms === 40 }))));
    expect((await samples("shop", "span.server.duration", "rate"))[0]?.value).toBe(8);
    expect((await samples("shop", "span.server.duration", "error_ratio"))[0]?.value).toBe(0.25);
    expect((await samples("shop", "span.server.duration", "p50"))[0]?.value).toBeCloseTo(0.02, 2);
    expect((await samples("shop", "span.server.duration", "p99"))[0]?.value).toBeCloseTo(0.04, 2);
  });

  it("of cumulative sums are rates per stream, added up, across resets", async () => {
    const total = (half: number, stream: string, value: number, began = startMs - 60_000) =>
      cumulative("shop", { atMs: atOf(half), stream, metric: "jobs.done", value, startMs: began });
    await process([
      tick("a", 0, [total(0, "one", 100), total(0, "two", 7)]),
      tick("a", 2, [total(2, "one", 110), total(2, "two", 9)]),
      // The second instance starts anew between the third and the fourth second.
      tick("a", 4, [total(4, "one", 120), total(4, "two", 4, startMs + 1_500)]),
      tick("a", 6, [total(6, "one", 130), total(6, "two", 8, startMs + 1_500)]),
      ...[1, 3, 5, 7, 8, 9, 10].map((half) => tick("a", half)),
    ]);
    const rates = await samples("shop", "jobs.done", "rate");
    expect(rates.map(({ windowStartMs, value }) => [windowStartMs - startMs, value])).toEqual([
      [1_000, 12],
      [2_000, 18],
      [3_000, 14],
    ]);
  });

  it("of gauges are added over instances when they are amounts, averaged when they are ratios, and carried between reports", async () => {
    const of = (half: number, stream: string, metric: string, value: number) => gauge("shop", { atMs: atOf(half), stream, metric, value });
    await process(
      ticks(0, 20, (half) => [
        of(half, "one", "process.memory.usage", 100),
        // The other instance reports every other second only.
        ...(half % 4 === 0 ? [of(half, "two", "process.memory.usage", 50)] : []),
        of(half, "one", "process.cpu.utilization", 0.2),
        of(half, "two", "process.cpu.utilization", 0.4),
      ]),
    );
    expect((await samples("shop", "process.memory.usage", "value")).map(({ value }) => value).slice(3)).toEqual(Array(5).fill(150));
    expect((await samples("shop", "process.cpu.utilization", "value"))[0]?.value).toBeCloseTo(0.3, 9);
  });

  it("of histograms are rate, mean and quantiles of what was added", async () => {
    const histogram = (half: number, count: number): WindowPartial => ({
      ...{
        kind: "histogram",
        entity: "shop",
        metric: "rpc.duration",
        attributes: "",
        windowStartMs: Math.floor(atOf(half) / 1_000) * 1_000,
      },
      ...{ stream: "one", delta: false, startAtUs: (startMs - 60_000) * 1_000, lastAtUs: atOf(half) * 1_000, count: 10 * count },
      ...{ sum: String(20 * count * 1_048_576), bounds: [1, 2, 4], counts: [0, 5 * count, 5 * count, 0] },
    });
    await process(ticks(0, 8, (half) => (half % 2 === 0 ? [histogram(half, 1 + half / 2)] : [])));
    expect((await samples("shop", "rpc.duration", "rate"))[0]?.value).toBe(10);
    expect((await samples("shop", "rpc.duration", "mean"))[0]?.value).toBe(2);
    expect((await samples("shop", "rpc.duration", "p50"))[0]?.value).toBe(2);
    expect((await samples("shop", "rpc.duration", "p95"))[0]?.value).toBeCloseTo(3.8, 9);
  });
});

describe("anomalies", () => {
  const calm = (half: number) =>
    Array.from({ length: 10 }, (_, index) => duration("shop", { atMs: atOf(half), ms: 9 + ((half * 7 + index * 3) % 5) / 2 }));

  it("open when latency and errors leave their bands, and close when they are back", async () => {
    const broken = (half: number) => calm(half).map((_, index) => duration("shop", { atMs: atOf(half), ms: 250, failed: index < 4 }));
    await process([...ticks(0, 80, calm), ...ticks(80, 96, broken), ...ticks(96, 120, calm)]);
    const whole = anomalies().filter(({ series }) => series.attributes === "");
    const opened = sortedBy(
      whole.filter(({ state }) => state === "open"),
      ({ series }) => series.statistic,
    );
    expect(opened.map(({ series, kind, direction }) => [series.statistic, kind, direction])).toEqual([
      ["error_ratio", "errors", "up"],
      ["p50", "latency", "up"],
      ["p95", "latency", "up"],
      ["p99", "latency", "up"],
    ]);
    for (const { onsetMs } of opened) expect(onsetMs).toBe(atOf(80));
    const closed = whole.filter(({ state }) => state === "close");
    expect(closed.map(({ id }) => id).sort()).toEqual(opened.map(({ id }) => id).sort());
    for (const { endMs } of closed) expect(endMs).toBe(atOf(96));
    for (const { severity } of closed) expect(severity).toBeGreaterThan(2.5);
  });

  it("keep their windows out of what is learned", async () => {
    const broken = (half: number) => calm(half).map(() => duration("shop", { atMs: atOf(half), ms: 250 }));
    await process([...ticks(0, 80, calm), ...ticks(80, 120, broken)]);
    const p50 = await samples("shop", "span.server.duration", "p50");
    expect(p50.at(-1)?.upper).toBeLessThan(0.1);
    expect(p50.at(-1)?.score).toBeGreaterThan(2.5);
  });

  it("tell of requests that stop, and of metrics that nobody reports any more", async () => {
    const alive = (half: number) => [
      ...calm(half),
      gauge("shop", { atMs: atOf(half), stream: "one", metric: "process.memory.usage", value: 1e8 }),
    ];
    await process([...ticks(0, 80, alive), ...ticks(80, 110, () => [])]);
    const silent = anomalies().filter(
      ({ direction, state, series }) => direction === "silent" && state === "open" && series.attributes === "",
    );
    expect(silent.map(({ series, onsetMs }) => [series.metric, series.statistic, onsetMs])).toEqual([
      ["span.server.duration", "rate", atOf(80)],
      ["process.memory.usage", "value", atOf(80)],
    ]);
    const [summary] = (await bench.telemetry.summaries({ entities: ["shop"], seriesMax: 100 })).filter(
      ({ key }) => key.metric === "process.memory.usage",
    );
    expect(summary?.state).toBe("silent");
  });

  it("do not come from a steady service", async () => {
    await process(ticks(0, 240, calm));
    expect(anomalies()).toEqual([]);
  });
});

describe("requests", () => {
  it("are told for every window of an entity that served, as zero for up to 60 windows after its last", async () => {
    await process([
      ...ticks(0, 4, (half) => [duration("shop", { atMs: atOf(half), ms: 5, failed: half === 0 })]),
      ...ticks(4, 160, () => []),
    ]);
    const told = bench.told.flatMap((entry) => entry.requests);
    expect(told.slice(0, 3).map(({ count, failed }) => [count, failed])).toEqual([
      [2, 1],
      [2, 0],
      [0, 0],
    ]);
    expect(told.length).toBe(2 + 60);
    expect(bench.told.length).toBe(78);
  });
});

describe("bounds", () => {
  it("keep out series beyond the most allowed, count them, and go on with the others", async () => {
    const crowd = (half: number) =>
      Array.from({ length: 40 }, (_, index) =>
        gauge(`entity-${String(index).padStart(2, "0")}`, { atMs: atOf(half), stream: "one", metric: "jobs", value: index }),
      );
    await process(ticks(0, 8, crowd), { seriesMax: 25 });
    const summaries = await bench.telemetry.summaries({ entities: [], seriesMax: 100 });
    expect(summaries.length).toBe(25);
    expect(await bench.counted("headwater_detection_dropped_total")).toBe(15 * 2);
  });

  it("hold when the store is away: nothing is lost, and the flow goes on when it is back", async () => {
    const clock = new ManualClock(startMs);
    let refusals = 3;
    const telemetry = withAppend(bench.telemetry, async (windows) => {
      refusals -= 1;
      if (refusals >= 0) throw new HeadwaterError("STORE_UNAVAILABLE", "the disk is full");
      await bench.telemetry.append(windows);
    });
    const stage = bench.createStage({ telemetry, platform: createPlatform({ level: "silent", clock }) });
    await stage.start();
    await bench.feed(ticks(0, 8, (half) => [duration("shop", { atMs: atOf(half), ms: 5 })]));
    let isSettled = false;
    const settled = stage.settle().then(() => {
      isSettled = true;
    });
    while (!isSettled) {
      clock.advanceTo(clock.nowMs() + 100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await settled;
    expect(refusals).toBe(-1);
    expect(bench.told.length).toBe(2);
    expect((await samples("shop", "span.server.duration", "rate")).length).toBe(2);
    await stage.stop();
  });
});

describe("a checkpoint", () => {
  it("of an unknown version refuses the start", async () => {
    await process(ticks(0, 4, () => []));
    const owner = await bench.log.own("window", 0);
    const core = JSON.parse(Buffer.from(owner.checkpoint.chunks.get("core") ?? []).toString("utf8"));
    const newer = Buffer.from(JSON.stringify({ ...core, version: 99 }));
    await owner.commit(owner.checkpoint.offset, new Map([["core", newer]]));
    await expect(bench.createStage().start()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN" });
  });

  it("of another window length keeps what was learned and goes on at the next boundary of the new length", async () => {
    await process(ticks(0, 75, (half) => [duration("shop", { atMs: atOf(half), ms: 10 })]));
    const before = bench.told.length;
    await process(
      ticks(75, 120, (half) => [duration("shop", { atMs: atOf(half), ms: 10 })]),
      { window: { windowMs: 5_000, settleMs: 1_000, sourceSilentMs: 3_000, amendMs: 5_000 } },
    );
    const after = bench.told.slice(before).map(({ closedThroughMs }) => closedThroughMs - startMs);
    expect(after).toEqual([45_000, 50_000, 55_000]);
    const [told] = await bench.telemetry.summaries({ entities: ["shop"], seriesMax: 1 });
    expect(told?.state).toBe("tracked");
  });
});

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AnomalyEntry } from "../../../contract/anomaly.ts";
import { allPartitions } from "../../../contract/canonical.ts";
import { HeadwaterError } from "../../../contract/error.ts";
import { Outages } from "../../../contract/outage.ts";
import type { NewLogEntry, PartitionLog } from "../../../contract/port.ts";
import type { WindowEntry } from "../../../contract/window.ts";
import { DetectionPartition } from "../../../services/detection/detection-partition.ts";
import { spanChoiceDefault } from "../../../services/detection/kept-spans.ts";
import { createPlatform, ManualClock, type Platform } from "../../../services/platform.ts";
import { until } from "../../conformance/temporary.ts";
import { counted } from "../counted.ts";
import { gate, SeveralProcesses } from "../several-processes.ts";
import { type Bench, duration, emptyEntry, openBench, startMs, window } from "./window-streams.ts";

let bench: Bench;
let processes: SeveralProcesses;
beforeEach(async () => {
  bench = await openBench();
  processes = new SeveralProcesses(bench.log);
});
afterEach(async () => {
  await bench.close();
});

function tick(half: number): WindowEntry {
  const atMs = startMs + half * 500;
  const progress = [{ source: "a", sequence: half, atUs: atMs * 1_000, receivedAtMs: atMs }];
  return { progress, ...emptyEntry(), partials: [duration("shop", { atMs, ms: 5 })] };
}

const ticks = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => tick(from + index));

/** A stage in a process of its own, on a clock of its own. */
function stageOf(name: string, beforeAppend?: (entries: readonly NewLogEntry[]) => Promise<void>) {
  const clock = new ManualClock(startMs);
  const platform: Platform = createPlatform({ level: "silent", clock });
  const stage = bench.createStage({ platform, log: processes.as(name, beforeAppend) });
  /** Half a second passes in this process. */
  const look = async (): Promise<void> => {
    clock.advanceTo(clock.nowMs() + 500);
    for (let turns = 0; turns < 40; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return { stage, platform, look };
}

/** What was told of each partition, in the order of the anomaly log. */
async function toldByPartition(): Promise<number[][]> {
  const told: number[][] = [];
  for (const partition of allPartitions) {
    const owner = await bench.log.own("anomaly", partition);
    const entries = await owner.read(0, { entriesMax: 1_000, waitMs: 0 });
    told.push(entries.map(({ value }) => (value.closedThroughMs - startMs) / 1_000));
    await owner.release();
  }
  return told;
}

describe("partitions", () => {
  it("are shared out to a second process, which goes on where the first has stopped, and back when it leaves", async () => {
    const first = stageOf("first");
    const second = stageOf("second");
    await first.stage.start();
    expect(first.stage.partitions()).toEqual({ window: allPartitions });
    for (const partition of allPartitions) await bench.feed(ticks(0, 8), partition);
    await first.stage.settle();
    expect(await counted(first.platform, "headwater_detection_series")).toBeGreaterThan(0);
    await second.stage.start();
    expect(second.stage.partitions()).toEqual({});
    await until("the partitions are handed over", async () => {
      await first.look();
      await second.look();
      return second.stage.partitions().window?.length === 8;
    });
    expect(first.stage.partitions()).toEqual({ window: allPartitions.filter((partition) => partition % 2 === 0) });
    expect(await counted(second.platform, "headwater_detection_partitions")).toBe(8);
    const series = await counted(second.platform, "headwater_detection_series");
    expect(series).toBe(await counted(first.platform, "headwater_detection_series"));
    for (const partition of allPartitions) await bench.feed(ticks(8, 12), partition);
    await Promise.all([first.stage.settle(), second.stage.settle()]);
    await second.stage.stop();
    expect(second.stage.partitions()).toEqual({});
    expect(await counted(second.platform, "headwater_detection_series")).toBe(0);
    await until("the partitions are taken back", async () => {
      await first.look();
      return first.stage.partitions().window?.length === 16;
    });
    for (const partition of allPartitions) await bench.feed(ticks(12, 14), partition);
    await first.stage.settle();
    await first.stage.stop();
    expect(await toldByPartition()).toEqual(allPartitions.map(() => [1, 2, 3, 4, 5]));
    for (const { platform } of [first, second]) expect(await counted(platform, "headwater_detection_partitions_lost_total")).toBe(0);
  });

  it("of a paused process are worked on by the other; what it still writes when it wakes up changes nothing, and it gives up", async () => {
    const paused = gate();
    let kept = 0;
    const first = stageOf("first", async () => {
      kept += 1;
      await paused.opened;
    });
    await first.stage.start();
    await bench.feed(ticks(0, 10));
    await until("the first process is about to write", () => kept > 0);
    processes.expire("first");
    const second = stageOf("second");
    await second.stage.start();
    await second.stage.settle();
    await bench.feed(ticks(10, 14));
    await second.stage.settle();
    const before = bench.appended.size;
    paused.open();
    await until(
      "the first process has noticed",
      async () => (await counted(first.platform, "headwater_detection_partitions_lost_total")) > 0,
    );
    await until(
      "it has ended its work",
      () => Object.keys(first.stage.partitions()).length === 0 || first.stage.partitions().window?.length === 15,
    );
    await first.stage.stop();
    await second.stage.stop();
    expect((await toldByPartition())[0]).toEqual([1, 2, 3, 4, 5]);
    expect(bench.appended.size).toBe(before);
  });
});

describe("windows that another owner was faster with", () => {
  it("are taken for appended, and the others are appended in order", async () => {
    const marked = new Set<string>();
    const appended: AnomalyEntry[] = [];
    const log = {
      // The other owner marks the first window after this one has asked.
      reduced: async () => {
        marked.add(`detection/0/${startMs}`);
        return new Set<string>();
      },
      append: async (entries: readonly NewLogEntry[], { reduced }: { reduced: readonly string[] }) => {
        if (reduced.some((id) => marked.has(id))) throw new HeadwaterError("BATCH_REDUCED", "it was reduced before");
        for (const id of reduced) marked.add(id);
        appended.push(...entries.map(({ value }) => value as AnomalyEntry));
      },
    } as unknown as PartitionLog;
    const nothing = () => undefined;
    const counts = {
      dropped: nothing,
      late: nothing,
      amended: nothing,
      windowClosed: nothing,
      windowsSkipped: nothing,
      sourceGap: nothing,
    };
    const { telemetry } = bench;
    const outages = new Outages({ name: "detection", clock: new ManualClock(startMs), logger: { info: nothing, warn: nothing } });
    const work = new DetectionPartition({
      ...{ partition: 0, ...window, seriesMax: 100, spanChoice: spanChoiceDefault, log, telemetry, counts, outages },
    });
    for (const [index, value] of ticks(0, 9).entries()) work.apply({ offset: index + 1, value });
    await work.flush();
    expect(work.flushed()).toBe(true);
    expect(appended.map(({ closedThroughMs }) => (closedThroughMs - startMs) / 1_000)).toEqual([2, 3]);
  });
});

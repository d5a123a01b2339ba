import { expect, it } from "vitest";
import { Outages } from "../../../contract/outage.ts";
import type { PartitionLog, TelemetryStore } from "../../../contract/port.ts";
import type { WindowEntry } from "../../../contract/window.ts";
import { type DetectionCounts, DetectionPartition } from "../../../services/detection/detection-partition.ts";
import { spanChoiceDefault } from "../../../services/detection/kept-spans.ts";
import { ManualClock } from "../../../services/platform.ts";
import { emptyEntry, startMs, window } from "./window-streams.ts";

const gaps: string[] = [];

function create(partition: number): DetectionPartition {
  const nothing = (): undefined => undefined;
  const counts: DetectionCounts = {
    ...{ dropped: nothing, late: nothing, amended: nothing, windowClosed: nothing, windowsSkipped: nothing },
    sourceGap: (what, count) => gaps.push(`${partition}: ${what} ${count}`),
  };
  const outages = new Outages({ name: "detection", clock: new ManualClock(startMs), logger: { info: nothing, warn: nothing } });
  // Nothing is flushed here.
  const ports = { log: {} as PartitionLog, telemetry: {} as TelemetryStore };
  return new DetectionPartition({ partition, ...window, seriesMax: 100, spanChoice: spanChoiceDefault, ...ports, counts, outages });
}

function entry(sequence: number, afterMs: number): WindowEntry {
  const receivedAtMs = startMs + afterMs;
  return { ...emptyEntry(), progress: [{ source: "a", gateway: "g", sequence, atUs: receivedAtMs * 1_000, receivedAtMs }] };
}

it("keeps account of lost batches in one partition only, and across owners", () => {
  const entries = [entry(0, 0), entry(4, 1_000), entry(5, 5_000), entry(2, 500)];
  const partitions = Array.from({ length: 16 }, (_, partition) => create(partition));
  for (const work of partitions) for (const [index, value] of entries.entries()) work.apply({ offset: index + 1, value });
  const [keeper, ...others] = partitions;
  expect(keeper?.lostBatches()).toEqual([{ gateway: "g", foundAtMs: startMs + 5_000, batches: 2 }]);
  expect(others.flatMap((work) => work.lostBatches())).toEqual([]);
  expect(gaps).toEqual(["0: gap 3"]);
  // The next owner reads on from a checkpoint in the middle.
  for (let cut = 0; cut <= entries.length; cut += 1) {
    const [before, after] = [create(0), create(0)];
    for (const [index, value] of entries.slice(0, cut).entries()) before.apply({ offset: index + 1, value });
    after.restore(new Map([...before.snapshot()].flatMap(([name, bytes]) => (bytes === null ? [] : [[name, bytes]]))));
    for (const [index, value] of entries.slice(cut).entries()) after.apply({ offset: cut + index + 1, value });
    expect(after.lostBatches()).toEqual(keeper?.lostBatches());
  }
});

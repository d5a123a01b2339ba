import fc from "fast-check";
import { expect, test } from "vitest";
import type { AnomalyEntry } from "../../../contract/anomaly.ts";
import { allPartitions, partitionCount, partitionOf } from "../../../contract/canonical.ts";
import { type Tick, TickBuffer, windowsAheadMax } from "../../../services/incident/tick-buffer.ts";
import { served } from "./served.ts";

const beginning = { tickMs: null, offsets: [], closedThroughMs: [] };

function entryAt(closedThroughMs: number, requests: AnomalyEntry["requests"] = []): AnomalyEntry {
  return { closedThroughMs, anomalies: [], requests };
}

/** Entries of all partitions for the windows that end at second 1 to `seconds`; each entity is served once a window. */
function entriesOf(seconds: number): { partition: number; offset: number; value: AnomalyEntry }[][] {
  return allPartitions.map((partition) =>
    Array.from({ length: seconds }, (_, second) => {
      const entities = ["a", "b", "c"].filter((entity) => partitionOf(entity) === partition);
      const requests = entities.map((entity) => served(entity, second * 1_000, { count: second + 1 }));
      return { partition, offset: second + 1, value: entryAt((second + 1) * 1_000, requests) };
    }),
  );
}

function drained(buffer: TickBuffer): Tick[] {
  const ticks: Tick[] = [];
  for (let tick = buffer.next({ every: "yes" }); tick !== null; tick = buffer.next({ every: "yes" })) ticks.push(tick);
  return ticks;
}

test("a tick waits for the slowest partition, also for one never heard of", () => {
  const buffer = new TickBuffer(1_000, beginning);
  for (let partition = 0; partition < partitionCount - 1; partition += 1) {
    buffer.accept(partition, { offset: 1, value: entryAt(1_000, partition === 0 ? [served("a", 0, { count: 1 })] : []) });
  }
  expect(buffer.next({ every: "no" })).toBeNull();
  buffer.accept(partitionCount - 1, { offset: 1, value: entryAt(1_000) });
  expect(buffer.next({ every: "no" })?.tickMs).toBe(1_000);
});

test("the ticks do not depend on how partitions interleave", () => {
  const entries = entriesOf(6);
  const expected = new TickBuffer(1_000, beginning);
  for (const partition of entries) for (const entry of partition) expected.accept(entry.partition, entry);
  const ticks = drained(expected);
  expect(ticks.map(({ tickMs, requests }) => [tickMs, requests.map(({ entity }) => entity)])).toEqual(
    [1, 2, 3, 4, 5, 6].map((second) => [second * 1_000, ["a", "b", "c"]]),
  );
  const order = fc.shuffledSubarray(
    entries.flat().map((entry) => entry.partition),
    { minLength: 96, maxLength: 96 },
  );
  fc.assert(
    fc.property(order, (partitions) => {
      const buffer = new TickBuffer(1_000, beginning);
      const next = entries.map(() => 0);
      const seen: Tick[] = [];
      for (const partition of partitions) {
        const entry = entries[partition]![next[partition]!]!;
        next[partition]! += 1;
        buffer.accept(partition, entry);
        seen.push(...drained(buffer));
      }
      expect(seen).toEqual(ticks);
    }),
    { numRuns: 50 },
  );
});

test("an entry that comes again is a duplicate, whether by offset or because detection wrote it twice", () => {
  const buffer = new TickBuffer(1_000, beginning);
  const value = entryAt(1_000, [served("a", 0, { count: 1 })]);
  expect(buffer.accept(3, { offset: 1, value }).taken).toBe("yes");
  expect(buffer.accept(3, { offset: 1, value }).taken).toBe("duplicate");
  expect(buffer.accept(3, { offset: 2, value }).taken).toBe("duplicate");
  expect(buffer.offset(3)).toBe(2);
});

test("requests of a window that was handed out are counted as late", () => {
  const buffer = new TickBuffer(1_000, beginning);
  for (let partition = 0; partition < partitionCount; partition += 1) {
    buffer.accept(partition, { offset: 1, value: entryAt(2_000, partition === 0 ? [served("a", 1_000, { count: 1 })] : []) });
  }
  expect(drained(buffer).map(({ tickMs }) => tickMs)).toEqual([2_000]);
  expect(buffer.accept(0, { offset: 2, value: entryAt(3_000, [served("a", 1_000, { count: 1 })]) }).late).toBe(1);
});

test("a position lies after what was handed out only, and going on from it gives the same ticks", () => {
  const entries = entriesOf(8);
  const whole = new TickBuffer(1_000, beginning);
  for (const partition of entries) for (const entry of partition) whole.accept(entry.partition, entry);
  const ticks = drained(whole);

  const first = new TickBuffer(1_000, beginning);
  for (const partition of entries)
    for (const entry of partition.slice(0, partition[0]!.partition === 5 ? 3 : 7)) first.accept(entry.partition, entry);
  const before = drained(first);
  const position = first.position();
  expect(position.tickMs).toBe(3_000);
  expect(position.offsets).toEqual(allPartitions.map(() => 3));

  const second = new TickBuffer(1_000, JSON.parse(JSON.stringify(position)));
  for (const partition of entries) for (const entry of partition.slice(3)) second.accept(entry.partition, entry);
  expect([...before, ...drained(second)]).toEqual(ticks);
});

test("without anything open, a hole in event time is passed over at once", () => {
  const buffer = new TickBuffer(1_000, beginning);
  const year = 31_536_000_000;
  for (let partition = 0; partition < partitionCount; partition += 1) {
    buffer.accept(partition, { offset: 1, value: entryAt(1_000, partition === 0 ? [served("a", 0, { count: 1 })] : []) });
    buffer.accept(partition, { offset: 2, value: entryAt(year, partition === 0 ? [served("a", year - 1_000, { count: 1 })] : []) });
  }
  expect(buffer.next({ every: "no" })?.tickMs).toBe(1_000);
  expect(buffer.next({ every: "no" })?.tickMs).toBe(year);
  expect(buffer.next({ every: "no" })).toBeNull();
});

test("a partition far ahead of the others is read no further", () => {
  const buffer = new TickBuffer(1_000, beginning);
  for (let window = 1; window <= windowsAheadMax; window += 1) buffer.accept(0, { offset: window, value: entryAt(window * 1_000) });
  expect(buffer.tooFarAhead(0)).toBe(true);
  expect(buffer.tooFarAhead(1)).toBe(false);
});

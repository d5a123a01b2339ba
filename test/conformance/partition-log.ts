/** What every PartitionLog does, whatever it is made of. */
import { describe, expect, it } from "vitest";
import type { PartitionLog, PartitionOwner } from "../../contract/port.ts";
import { logTopics } from "../../contract/topic.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { aWindowEntry } from "./sample-messages.ts";
import { until } from "./temporary.ts";

const all = { entriesMax: 100_000, waitMs: 0 };

function windowEntry(partition: number, source: string) {
  return { topic: "window" as const, partition, value: aWindowEntry(source) };
}

async function sources(owner: PartitionOwner<"window">, afterOffset = 0): Promise<string[]> {
  return (await owner.read(afterOffset, all)).map((entry) => entry.value.progress[0]?.source ?? "");
}

export function partitionLogConformance(name: string, newPlace: () => Promise<Place<PartitionLog>>): void {
  describe(`PartitionLog: ${name}`, () => {
    let place: Place<PartitionLog>;
    let log: PartitionLog;
    inFreshPlaces(newPlace, (fresh, opened) => {
      place = fresh;
      log = opened;
    });

    async function reopen(): Promise<void> {
      await log.close();
      log = await place.open();
    }

    it("numbers the entries of each partition from 1 and answers them in order", async () => {
      await log.append([windowEntry(3, "a"), windowEntry(3, "b"), windowEntry(4, "c")], { reduced: [] });
      await log.append([windowEntry(3, "d")], { reduced: [] });
      const third = await log.own("window", 3);
      const entries = await third.read(0, all);
      expect(entries.map(({ offset }) => offset)).toEqual([1, 2, 3]);
      expect(entries[0]?.value).toEqual(aWindowEntry("a"));
      expect(await sources(third, 1)).toEqual(["b", "d"]);
      expect((await third.read(0, { entriesMax: 2, waitMs: 0 })).map(({ offset }) => offset)).toEqual([1, 2]);
      const fourth = await log.own("window", 4);
      expect((await fourth.read(0, all)).map(({ offset }) => offset)).toEqual([1]);
    });

    it("goes on with the same offsets after it was opened again", async () => {
      await log.append([windowEntry(0, "a")], { reduced: [] });
      await reopen();
      await log.append([windowEntry(0, "b")], { reduced: [] });
      const owner = await log.own("window", 0);
      expect((await owner.read(0, all)).map(({ offset }) => offset)).toEqual([1, 2]);
      await owner.commit(2, new Map());
      await reopen();
      await log.append([windowEntry(0, "c")], { reduced: [] });
      const next = await log.own("window", 0);
      expect(next.checkpoint.offset).toBe(2);
      expect((await next.read(2, all)).map(({ offset }) => offset)).toEqual([3]);
    });

    it("keeps the order of concurrent appends, each of them whole", async () => {
      const appends = Array.from({ length: 50 }, (_, n) =>
        log.append([windowEntry(1, `${n}`), windowEntry(2, `${n}`)], { reduced: [`${n}`] }),
      );
      await Promise.all(appends);
      const expected = Array.from({ length: 50 }, (_, n) => `${n}`);
      expect(await sources(await log.own("window", 1))).toEqual(expected);
      expect(await sources(await log.own("window", 2))).toEqual(expected);
    });

    it("remembers which batches were reduced, also when nothing came of them", async () => {
      await log.append([windowEntry(0, "a")], { reduced: ["g-1", "g-2"] });
      await log.append([], { reduced: ["g-3"] });
      await reopen();
      expect(await log.reduced(["g-1", "g-3", "g-4"])).toEqual(new Set(["g-1", "g-3"]));
    });

    it("refuses an append as a whole when one of its batches was reduced before", async () => {
      await log.append([windowEntry(0, "a")], { reduced: ["g-1", "g-2"] });
      const again = log.append([windowEntry(0, "b"), windowEntry(1, "b")], { reduced: ["g-3", "g-2"] });
      await expect(again).rejects.toMatchObject({ code: "BATCH_REDUCED", message: expect.stringContaining("g-2") });
      await reopen();
      await expect(log.append([], { reduced: ["g-1"] })).rejects.toMatchObject({ code: "BATCH_REDUCED" });
      expect(await log.reduced(["g-1", "g-2", "g-3"])).toEqual(new Set(["g-1", "g-2"]));
      await log.append([windowEntry(1, "c")], { reduced: ["g-3", "g-3"] });
      expect(await sources(await log.own("window", 0))).toEqual(["a"]);
      expect(await sources(await log.own("window", 1))).toEqual(["c"]);
    });

    it("lets one of several concurrent appends of the same batch happen, and none of their neighbours suffer", async () => {
      const racing = Array.from({ length: 40 }, (_, n) => log.append([windowEntry(n % 4, `${n}`)], { reduced: [`batch-${n % 10}`] }));
      const results = await Promise.allSettled([...racing, log.append([windowEntry(5, "neighbour")], { reduced: [] })]);
      const done = results.flatMap(({ status }, n) => (status === "fulfilled" ? [n] : []));
      expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 40]);
      for (const result of results) if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "BATCH_REDUCED" });
      const seen = [];
      for (const partition of [0, 1, 2, 3]) seen.push(...(await sources(await log.own("window", partition))));
      expect(seen.sort()).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
      expect(await sources(await log.own("window", 5))).toEqual(["neighbour"]);
    });

    it("names the process among those that take part until it leaves", async () => {
      const membership = await log.join("window");
      expect(await membership.members()).toEqual([membership.self]);
      await membership.leave();
      expect(await membership.members()).toEqual([]);
      const again = await log.join("window");
      expect(await again.members()).toEqual([again.self]);
    });

    it("wakes a waiting reader with the next entry, and lets it go empty-handed after its time", async () => {
      const owner = await log.own("window", 5);
      expect(await owner.read(0, { entriesMax: 10, waitMs: 10 })).toEqual([]);
      const waiting = owner.read(0, { entriesMax: 10, waitMs: 60_000 });
      await log.append([windowEntry(6, "other"), windowEntry(5, "mine")], { reduced: [] });
      expect((await waiting).map(({ value }) => value.progress[0]?.source)).toEqual(["mine"]);
    });

    it("answers the committed chunks and offset to the next owner, also after it was opened again", async () => {
      await log.append([windowEntry(7, "a"), windowEntry(7, "b")], { reduced: [] });
      const first = await log.own("window", 7);
      expect(first.checkpoint).toEqual({ offset: 0, chunks: new Map() });
      await first.commit(
        1,
        new Map([
          ["x", Uint8Array.of(1, 2)],
          ["y", Uint8Array.of(3)],
          ["empty", Uint8Array.of()],
        ]),
      );
      await first.commit(
        2,
        new Map<string, Uint8Array | null>([
          ["x", null],
          ["z", Uint8Array.of(4)],
        ]),
      );
      const expected = { y: [3], z: [4], empty: [] };
      for (const again of ["taken over", "opened again"]) {
        if (again === "opened again") await reopen();
        const next = await log.own("window", 7);
        expect(next.checkpoint.offset).toBe(2);
        expect(Object.fromEntries([...next.checkpoint.chunks].map(([chunk, bytes]) => [chunk, [...bytes]]))).toEqual(expected);
        expect(await sources(next, 2)).toEqual([]);
      }
    });

    it("refuses an owner whose partition was taken over", async () => {
      await log.append([windowEntry(8, "a")], { reduced: [] });
      const first = await log.own("window", 8);
      const waiting = first.read(1, { entriesMax: 1, waitMs: 60_000 });
      const refused = expect(waiting).rejects.toMatchObject({ code: "FENCED" });
      const second = await log.own("window", 8);
      expect(second.fence).toBeGreaterThan(first.fence);
      await refused;
      await expect(first.commit(1, new Map([["x", Uint8Array.of(1)]]))).rejects.toMatchObject({ code: "FENCED" });
      await second.commit(1, new Map());
      expect((await log.own("window", 8)).checkpoint.chunks.size).toBe(0);
    });

    it("refuses a commit after its partition was released", async () => {
      const owner = await log.own("anomaly", 1);
      await owner.release();
      await expect(owner.commit(0, new Map())).rejects.toMatchObject({ code: "FENCED" });
    });

    it("counts what was appended and not committed as lag", async () => {
      await log.append([windowEntry(1, "a"), windowEntry(2, "b"), windowEntry(2, "c")], { reduced: [] });
      expect(await log.lag("window")).toBe(3);
      expect(await log.lag("anomaly")).toBe(0);
      await (await log.own("window", 2)).commit(1, new Map());
      expect(await log.lag("window")).toBe(2);
    });

    it("lets an append wait while a partition is lagMax ahead of its reader, without holding up other partitions", async () => {
      const { lagMax } = logTopics.window;
      await log.append(
        Array.from({ length: lagMax }, (_, n) => windowEntry(9, `${n}`)),
        { reduced: [] },
      );
      let appended = false;
      const waiting = log.append([windowEntry(9, "late"), windowEntry(10, "late")], { reduced: ["late"] }).then(() => {
        appended = true;
      });
      await until("the append waits", () => place.counts.of("log_append_waited") === 1);
      await log.append([windowEntry(10, "other")], { reduced: [] });
      expect(appended).toBe(false);
      expect(await log.reduced(["late"])).toEqual(new Set());
      const owner = await log.own("window", 9);
      const read = await owner.read(0, { entriesMax: 10, waitMs: 0 });
      await owner.read(read.at(-1)?.offset ?? 0, { entriesMax: 10, waitMs: 0 });
      await waiting;
      expect(await log.reduced(["late"])).toEqual(new Set(["late"]));
    });

    it("refuses to append when it is closing, and lets waiting readers go", async () => {
      const owner = await log.own("window", 0);
      const waiting = owner.read(0, { entriesMax: 1, waitMs: 60_000 });
      await log.close();
      expect(await waiting).toEqual([]);
      await expect(owner.read(0, { entriesMax: 1, waitMs: 60_000 })).rejects.toMatchObject({ code: "STOPPING" });
      await expect(log.append([windowEntry(0, "a")], { reduced: [] })).rejects.toMatchObject({ code: "STOPPING" });
    });
  });
}

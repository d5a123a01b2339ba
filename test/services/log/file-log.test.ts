import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { PartitionLog } from "../../../contract/port.ts";
import { openFilePartitionLog } from "../../../services/log/file-log.ts";
import { ManualClock, SystemClock } from "../../../services/platform.ts";
import { killedWriter } from "../../conformance/killed-writer.ts";
import { aWindowEntry } from "../../conformance/sample-messages.ts";
import { Counts, useTemporaryFolder } from "../../conformance/temporary.ts";

const all = { entriesMax: 1_000_000, waitMs: 0 };
const hourMs = 3_600_000;

function windowEntry(partition: number, source: string) {
  return { topic: "window" as const, partition, value: aWindowEntry(source) };
}

describe("the file-backed partition log", () => {
  const folder = useTemporaryFolder();
  let counts: Counts;
  let clock: ManualClock;

  beforeEach(async () => {
    counts = new Counts();
    clock = new ManualClock(1_000_000);
  });

  function open(segmentBytesMax = 16_777_216): Promise<PartitionLog> {
    return openFilePartitionLog({ directory: folder.path, clock, onCounted: counts.onCounted, segmentBytesMax, validate: "yes" });
  }

  async function files(pattern: RegExp): Promise<string[]> {
    return (await readdir(folder.path)).filter((name) => pattern.test(name)).sort();
  }

  it("holds every acknowledged append exactly once, and each append whole or not at all, after SIGKILL", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 3; round += 1) {
      const directory = join(folder.path, `round-${round}`);
      const acknowledged = await killedWriter("partition-log", directory, 200 + round * 150);
      const log = await openFilePartitionLog({ directory, clock: new SystemClock(), onCounted: counts.onCounted });
      const seen = new Map<string, number[]>();
      for (let partition = 0; partition < 16; partition += 1) {
        const entries = await (await log.own("window", partition)).read(0, all);
        expect(entries.map(({ offset }) => offset)).toEqual(entries.map((_, index) => index + 1));
        for (const { value } of entries) {
          const source = value.progress[0]?.source ?? "";
          seen.set(source, [...(seen.get(source) ?? []), partition]);
        }
      }
      for (const n of acknowledged) expect(seen.has(`w-${n}`), `w-${n}`).toBe(true);
      for (const [source, partitions] of seen) {
        const n = Number(source.slice(2));
        expect(partitions.sort((left, right) => left - right)).toEqual(
          [n % 16, (n + 5) % 16, (n + 11) % 16].sort((left, right) => left - right),
        );
      }
      expect(await log.reduced([...seen.keys()])).toEqual(new Set(seen.keys()));
      const beyond = Array.from({ length: 20 }, (_, index) => `w-${acknowledged.length + 8 + index}`);
      for (const id of await log.reduced(beyond)) expect(seen.has(id)).toBe(true);
      await log.close();
    }
  });

  it("cuts off a torn tail, counts it, and keeps everything before it", async () => {
    const log = await open();
    await log.append([windowEntry(0, "a")], { reduced: ["g-1"] });
    await log.close();
    const [name] = await files(/^log-/);
    const path = join(folder.path, name ?? "");
    const whole = await readFile(path);
    await appendFile(path, whole.subarray(8, 30));
    const again = await open();
    expect(counts.of("log_torn_bytes")).toBe(22);
    await again.append([windowEntry(0, "b")], { reduced: [] });
    await again.close();
    const third = await open();
    const owner = await third.own("window", 0);
    expect((await owner.read(0, all)).map(({ value }) => value.progress[0]?.source)).toEqual(["a", "b"]);
    expect(counts.of("log_torn_bytes")).toBe(22);
    await third.close();
  });

  it("removes segments once everything in them is committed, and still knows what they reduced", async () => {
    const log = await open(2_000);
    const owner = await log.own("window", 0);
    for (let n = 0; n < 100; n += 1) await log.append([windowEntry(0, `s-${n}`)], { reduced: [`g-${n}`] });
    expect((await files(/^log-/)).length).toBeGreaterThan(5);
    await owner.commit(100, new Map());
    expect((await files(/^log-/)).length).toBe(1);
    expect(counts.of("log_reduced_marks_carried")).toBeGreaterThan(80);
    await log.close();
    const again = await open();
    expect((await again.reduced(["g-0", "g-50", "g-99", "g-100"])).size).toBe(3);
    await again.close();
  });

  it("keeps a segment for as long as one partition has not committed its entry", async () => {
    const log = await open(500);
    await log.append([windowEntry(1, "kept")], { reduced: [] });
    const owner = await log.own("window", 0);
    for (let n = 0; n < 30; n += 1) await log.append([windowEntry(0, `s-${n}`)], { reduced: [] });
    await owner.commit(30, new Map());
    expect(await files(/^log-/)).toContain("log-0000000001.journal");
    const other = await log.own("window", 1);
    expect((await other.read(0, all)).map(({ value }) => value.progress[0]?.source)).toEqual(["kept"]);
    await other.commit(1, new Map());
    expect(await files(/^log-/)).not.toContain("log-0000000001.journal");
    await log.close();
  });

  it("forgets a reduced batch after 24 hours, and removes the files of forgotten marks", async () => {
    const log = await open(300);
    const owner = await log.own("window", 0);
    await log.append([windowEntry(0, "a")], { reduced: ["old"] });
    await log.append([windowEntry(0, "b")], { reduced: ["old too"] });
    await owner.commit(2, new Map());
    clock.advanceTo(1_000_000 + 24 * hourMs);
    expect(await log.reduced(["old"])).toEqual(new Set(["old"]));
    clock.advanceTo(1_000_001 + 24 * hourMs);
    expect(await log.reduced(["old"])).toEqual(new Set());
    await log.append([windowEntry(0, "c")], { reduced: ["new"] });
    await log.close();
    const again = await open(300);
    expect(await again.reduced(["old", "old too", "new"])).toEqual(new Set(["new"]));
    await again.close();
  });

  it("reads entries back from the files after it was opened again", async () => {
    const log = await open(1_000);
    for (let n = 0; n < 50; n += 1) await log.append([windowEntry(2, `s-${n}`)], { reduced: [] });
    await log.close();
    const again = await open(1_000);
    const owner = await again.own("window", 2);
    expect((await owner.read(0, all)).map(({ value }) => value.progress[0]?.source)).toEqual(
      Array.from({ length: 50 }, (_, n) => `s-${n}`),
    );
    expect(counts.of("log_entries_reread")).toBe(50);
    await again.close();
  });

  it("needs no time to pass for reading and committing", async () => {
    const log = await open();
    const owner = await log.own("window", 0);
    const waiting = owner.read(0, { entriesMax: 1, waitMs: 1_000 });
    await log.append([windowEntry(0, "a")], { reduced: [] });
    expect(await waiting).toHaveLength(1);
    await owner.commit(1, new Map([["state", Uint8Array.of(1)]]));
    await log.close();
  });

  it("refuses an invalid entry when told to validate", async () => {
    const log = await open();
    const wrong = { topic: "window" as const, partition: 0, value: { ...aWindowEntry("a"), spans: 3 } as never };
    await expect(log.append([wrong], { reduced: [] })).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      message: expect.stringContaining("spans"),
    });
    await log.close();
  });

  it("refuses to start on files of a newer version, and on a damaged checkpoint, and says what to do", async () => {
    const log = await open();
    await (await log.own("window", 0)).commit(0, new Map());
    await log.close();
    const checkpoint = join(folder.path, "checkpoint-window-00");
    const whole = await readFile(checkpoint);
    await writeFile(checkpoint, whole.subarray(0, (await stat(checkpoint)).size - 1));
    await expect(open()).rejects.toMatchObject({ code: "LOG_UNAVAILABLE", message: expect.stringContaining("damaged") });
    const newer = Uint8Array.from(whole);
    newer[7] = 99;
    await writeFile(checkpoint, newer);
    await expect(open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("newer") });
  });
});

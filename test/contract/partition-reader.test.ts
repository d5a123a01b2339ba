import { beforeEach, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../contract/error.ts";
import { Outages } from "../../contract/outage.ts";
import { PartitionReader, type PartitionWork } from "../../contract/partition-reader.ts";
import type { PartitionOwner, StoredLogEntry } from "../../contract/port.ts";
import { ManualClock } from "../../services/platform.ts";
import { away, fenced, turns } from "./shared-log.ts";

/** The owner of a partition whose every operation the test can make fail. */
class ScriptedOwner implements PartitionOwner<"window"> {
  readonly topic = "window";
  readonly partition = 3;
  readonly fence = 1;
  readonly checkpoint = { offset: 10, chunks: new Map([["core", Buffer.from("kept")]]) };
  readonly commits: number[] = [];
  readFails: HeadwaterError | null = null;
  commitFails: HeadwaterError | null = null;
  releases = 0;
  #last = 10;
  #arrivals: (() => void)[] = [];

  append(count: number): void {
    this.#last += count;
    for (const wake of this.#arrivals.splice(0)) wake();
  }

  async read(afterOffset: number, options: { entriesMax: number; waitMs: number }): Promise<StoredLogEntry<"window">[]> {
    if (this.readFails !== null) throw this.readFails;
    if (afterOffset >= this.#last && options.waitMs > 0) await new Promise<void>((resolve) => this.#arrivals.push(resolve));
    if (this.readFails !== null) throw this.readFails;
    const count = Math.min(options.entriesMax, this.#last - afterOffset);
    const value = { progress: [], partials: [], spans: [], shapes: [], lines: [] };
    return Array.from({ length: count }, (_, at) => ({ offset: afterOffset + 1 + at, value }));
  }

  async commit(offset: number): Promise<void> {
    if (this.commitFails !== null) throw this.commitFails;
    this.commits.push(offset);
  }

  async release(): Promise<void> {
    this.releases += 1;
    this.readFails ??= fenced();
    for (const wake of this.#arrivals.splice(0)) wake();
  }
}

let clock: ManualClock;
let owner: ScriptedOwner;
let lost: HeadwaterError[];
let lines: string[];
let outages: Outages;
let applied: number[];
let flush: () => Promise<void>;
let reader: PartitionReader<"window">;

beforeEach(() => {
  clock = new ManualClock(0);
  owner = new ScriptedOwner();
  lost = [];
  lines = [];
  applied = [];
  flush = async () => undefined;
  const line = (_fields: object, message: string) => void lines.push(message);
  outages = new Outages({ name: "it", clock, logger: { info: line, warn: line } });
  const work: PartitionWork<"window"> = {
    restore: (chunks) => void expect([...chunks.keys()]).toEqual(["core"]),
    apply: ({ offset }) => void applied.push(offset),
    flush: () => flush(),
    flushed: () => true,
    reachedMs: () => null,
    snapshot: () => new Map(),
  };
  reader = new PartitionReader({ owner, work, clock, outages, checkpointMs: 30_000, onLost: (error) => lost.push(error) });
  reader.load();
});

async function pass(ms: number): Promise<void> {
  clock.advanceTo(clock.nowMs() + ms);
  await turns();
}

describe("a stop", () => {
  it("commits what was read and gives the partition back, once", async () => {
    reader.run();
    owner.append(5);
    await reader.settle();
    await Promise.all([reader.stop(), reader.stop()]);
    expect(applied).toEqual([11, 12, 13, 14, 15]);
    expect(owner.commits).toEqual([15]);
    expect(owner.releases).toBe(1);
    expect(lost).toEqual([]);
  });

  it("of a reader that never ran gives the partition back", async () => {
    await reader.stop();
    expect([owner.releases, owner.commits]).toEqual([1, []]);
  });

  it("gives the partition back without a commit when outputs cannot be written or the commit fails", async () => {
    reader.run();
    owner.append(2);
    await reader.settle();
    owner.commitFails = away();
    await reader.stop();
    expect(owner.releases).toBe(1);
    expect(lost.map(({ code }) => code)).toEqual(["LOG_UNAVAILABLE"]);
  });

  it("while outputs fail gives up at once, and what was applied is not committed", async () => {
    flush = () => Promise.reject(new HeadwaterError("STORE_UNAVAILABLE", "the store is away"));
    reader.run();
    owner.append(2);
    await turns();
    expect(outages.reasons()).toEqual(["it has waited for 0 s: the store is away"]);
    await reader.stop();
    expect([owner.releases, owner.commits]).toEqual([1, []]);
    expect(outages.reasons()).toEqual([]);
  });

  it("gives up a step that does not end within five seconds", async () => {
    let end: () => void = () => undefined;
    flush = () =>
      new Promise((resolve) => {
        end = resolve;
      });
    reader.run();
    owner.append(2);
    await turns();
    const stopped = reader.stop();
    await pass(4_999);
    expect(owner.releases).toBe(0);
    await pass(1);
    await stopped;
    expect(owner.releases).toBe(1);
    expect(lost.map(({ code }) => code)).toEqual(["STOPPING"]);
    end();
    await turns();
    expect(owner.commits).toEqual([]);
    expect(lost).toHaveLength(1);
  });
});

describe("a failure", () => {
  it("that passes is tried again until it has passed, and is one outage", async () => {
    let failures = 8;
    flush = async () => {
      failures -= 1;
      if (failures >= 0) throw new HeadwaterError("STORE_UNAVAILABLE", "the store is away");
    };
    reader.run();
    owner.append(3);
    for (let seconds = 0; seconds < 40; seconds += 1) await pass(1_000);
    await reader.settle();
    expect(failures).toBe(-1);
    expect(applied).toEqual([11, 12, 13]);
    expect(outages.reasons()).toEqual([]);
    await reader.stop();
    expect(owner.commits.at(-1)).toBe(13);
    expect(lines).toEqual(["it waits and tries again", "it goes on: what it waited for is back"]);
  });

  it("of being fenced is told once, whatever follows; nothing is committed any more and a settle is refused", async () => {
    reader.run();
    owner.append(2);
    await reader.settle();
    owner.readFails = fenced();
    owner.append(1);
    await turns();
    expect(lost.map(({ code }) => code)).toEqual(["FENCED"]);
    await expect(reader.settle()).rejects.toMatchObject({ code: "FENCED" });
    await reader.stop();
    expect([owner.releases, owner.commits, lost.length]).toEqual([1, [], 1]);
  });
});

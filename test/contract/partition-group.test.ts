import { describe, expect, it } from "vitest";
import { allPartitions } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { type Sharing, shareOf } from "../../contract/partition-group.ts";
import { away, fenced, Process, SharedLog, turns } from "./shared-log.ts";

function world(sharing: Sharing, names: readonly string[]) {
  const log = new SharedLog();
  const processes = names.map((name) => new Process(log, name, sharing));
  return { log, processes, first: processes[0]!, second: processes[1]! };
}

/** A promise that the test resolves. */
function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

const newer = () => new HeadwaterError("DATA_VERSION_UNKNOWN", "the checkpoint is newer");

describe("who owns what", () => {
  it.each(["each", "all"] as const)("is decided alike by all members, and every partition is owned once (%s)", (sharing) => {
    for (let count = 1; count <= 20; count += 1) {
      const members = Array.from({ length: count }, (_, index) => `m${index}`);
      const shares = members.map((member) => shareOf(members, member, sharing));
      expect(shares.flat().sort((left, right) => left - right)).toEqual(allPartitions);
    }
    expect(shareOf(["a", "b"], "c", sharing)).toEqual([]);
    expect(shareOf([], "c", sharing)).toEqual([]);
  });
});

describe("a group of one", () => {
  it("works on all partitions once it has started, one by one or together", async () => {
    for (const sharing of ["each", "all"] as const) {
      const { first } = world(sharing, ["a"]);
      await first.group.start();
      expect(first.running.map(({ partitions }) => partitions)).toEqual(
        sharing === "all" ? [allPartitions] : allPartitions.map((p) => [p]),
      );
      expect(first.group.owned).toEqual(allPartitions);
      expect(first.owned.at(-1)).toEqual(allPartitions);
      await first.group.stop();
      expect(first.owned.at(-1)).toEqual([]);
      expect(first.touched).toEqual([]);
    }
  });

  it("gives everything back and leaves when it stops, twice if told so", async () => {
    const { log, first } = world("each", ["a"]);
    await first.group.start();
    await Promise.all([first.group.stop(), first.group.stop()]);
    expect(log.holders.size).toBe(0);
    expect(log.members).toEqual([]);
    await log.pass();
    expect(first.begins).toBe(16);
  });
});

describe("a second process", () => {
  it("gets its share of the partitions as soon as the first has handed them over, and nobody works on one twice", async () => {
    const { log, first, second } = world("each", ["a", "b"]);
    await first.group.start();
    const slow = gate();
    first.stopsAfter = slow.opened;
    await second.group.start();
    expect(second.group.owned).toEqual([]);
    await log.pass();
    expect(first.running.length).toBe(8);
    expect(second.group.owned).toEqual([]);
    slow.open();
    await turns();
    await log.pass();
    expect(second.group.owned).toEqual([1, 3, 5, 7, 9, 11, 13, 15]);
    expect(first.group.owned).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
    expect([...first.touched, ...second.touched].sort((left, right) => left - right)).toEqual(allPartitions);
  });

  it("stands by while one works on all, and takes over when that one is gone or has left", async () => {
    for (const how of ["left", "gone"] as const) {
      const { log, first, second } = world("all", ["a", "b"]);
      await first.group.start();
      await second.group.start();
      await log.pass();
      expect(second.begins).toBe(0);
      if (how === "left") await first.group.stop();
      else {
        log.members.splice(0, 1);
        log.holders.clear();
      }
      await log.pass();
      expect(second.group.owned).toEqual(allPartitions);
    }
  });

  it("waits with the work on all until the last partition is free, and says which are kept for long", async () => {
    const { log, first } = world("all", ["a"]);
    log.holders.set(3, "z");
    log.holders.set(12, "z");
    await first.group.start();
    expect(first.begins).toBe(0);
    log.holders.delete(3);
    for (let passes = 0; passes < 9; passes += 1) await log.pass();
    expect(first.group.reasons()).toEqual([]);
    await log.pass();
    expect(first.group.reasons()).toEqual(["another process keeps partitions of the window log that this one is to work on: 12"]);
    log.holders.delete(12);
    await log.pass();
    expect(first.group.owned).toEqual(allPartitions);
    expect(first.group.reasons()).toEqual([]);
  });

  it("gives back what it had taken of all when it is not its turn any more", async () => {
    const { log, first } = world("all", ["a"]);
    log.holders.set(3, "z");
    await first.group.start();
    expect(log.holders.size).toBe(16);
    log.members.unshift("z");
    await log.pass();
    expect([...log.holders.values()]).toEqual(["z"]);
  });

  it("that is told it is no member any more ends its work", async () => {
    const { log, first } = world("each", ["a"]);
    await first.group.start();
    log.members.splice(0, 1);
    await log.pass();
    expect(first.touched).toEqual([]);
    expect(log.holders.size).toBe(0);
    log.members.push("a");
    await log.pass();
    expect(first.group.owned).toEqual(allPartitions);
  });
});

describe("work that is lost", () => {
  it("is stopped at once, and begun anew at the next look, after its end", async () => {
    const { log, first } = world("each", ["a"]);
    await first.group.start();
    const slow = gate();
    first.stopsAfter = slow.opened;
    first.works[5]?.lost(fenced());
    first.works[5]?.lost(fenced());
    await turns();
    expect(first.works[5]?.state).not.toBe("running");
    expect(first.group.owned).not.toContain(5);
    await log.pass();
    expect(first.begins).toBe(16);
    slow.open();
    await turns();
    await log.pass();
    expect(first.begins).toBe(17);
    expect(first.group.owned).toEqual(allPartitions);
  });

  it("while it begins is stopped once it has begun", async () => {
    const { log, first } = world("all", ["a"]);
    const slow = gate();
    first.beginsAfter = slow.opened;
    const started = first.group.start();
    await turns();
    first.earlyLost[0]?.();
    await turns();
    expect(first.works).toEqual([]);
    slow.open();
    await started;
    await turns();
    expect(first.works.map(({ state }) => state)).toEqual(["stopped"]);
    expect(first.group.owned).toEqual([]);
    await log.pass();
    expect(first.running.length).toBe(1);
  });

  it("as soon as it has begun, again and again, is tried once a look and told once", async () => {
    const { log, first } = world("all", ["a"]);
    await first.group.start();
    for (let passes = 0; passes < 40; passes += 1) {
      first.running[0]?.lost(newer());
      await turns();
      expect(first.outages.reasons()).toHaveLength(1);
      await log.pass();
    }
    expect(first.begins).toBe(41);
    expect(first.lines).toHaveLength(1);
    for (let passes = 0; passes < 6; passes += 1) await log.pass();
    expect(first.outages.reasons()).toEqual([]);
    expect(first.lines[1]).toContain('"repeated":640');
  });
});

describe("a beginning that fails", () => {
  it("for good refuses the start, and gives everything back", async () => {
    for (const sharing of ["each", "all"] as const) {
      const { log, first } = world(sharing, ["a"]);
      first.beginFails = (partitions) => (partitions.includes(7) ? newer() : null);
      await expect(first.group.start()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN" });
      expect(first.touched).toEqual([]);
      expect(log.holders.size).toBe(0);
      expect(log.members).toEqual([]);
    }
  });

  it("for a reason that passes does not, is told once, and is tried again; the others work meanwhile", async () => {
    const { log, first } = world("each", ["a"]);
    first.beginFails = (partitions) => (partitions.includes(7) ? new HeadwaterError("STORE_UNAVAILABLE", "away") : null);
    await first.group.start();
    expect(first.group.owned).toHaveLength(15);
    for (let passes = 0; passes < 20; passes += 1) await log.pass();
    expect(first.outages.reasons()).toEqual(["it has waited for 10 s: away"]);
    expect(first.lines).toHaveLength(1);
    first.beginFails = null;
    for (let passes = 0; passes < 6; passes += 1) await log.pass();
    expect(first.group.owned).toEqual(allPartitions);
    expect(first.outages.reasons()).toEqual([]);
    expect(first.lines).toHaveLength(2);
  });

  it("for good later, on a stand-by, is tried at each look and ends nothing", async () => {
    const { log, first, second } = world("all", ["a", "b"]);
    await first.group.start();
    await second.group.start();
    second.beginFails = newer;
    await first.group.stop();
    for (let passes = 0; passes < 10; passes += 1) await log.pass();
    expect(second.begins).toBe(10);
    expect(second.lines).toHaveLength(1);
    expect(second.outages.reasons()).toEqual(["it has waited for 4.5 s: the checkpoint is newer"]);
    await second.group.stop();
    expect(second.outages.reasons()).toEqual([]);
    expect(log.holders.size).toBe(0);
  });

  it("with a programmer error ends the process", async () => {
    const { first } = world("all", ["a"]);
    const uncaught: unknown[] = [];
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => uncaught.push(error));
    try {
      first.beginFails = () => new TypeError("a mistake");
      await expect(first.group.start()).rejects.toThrow("a mistake");
      await turns();
      expect(uncaught).toContainEqual(new TypeError("a mistake"));
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const listener of listeners) process.on("uncaughtException", listener);
    }
  });
});

describe("a beginning that takes long", () => {
  it("does not hold up the hand-over of other partitions, and is ended when it is not ours any more", async () => {
    const { log, first, second } = world("each", ["a", "b"]);
    await first.group.start();
    log.members.push("z");
    await log.pass();
    expect(first.group.owned).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
    const slow = gate();
    first.beginsAfter = slow.opened;
    log.members.splice(1, 1);
    await log.pass();
    expect(first.begins).toBe(17);
    await second.group.start();
    await log.pass();
    await log.pass();
    expect(second.group.owned).toEqual([]);
    slow.open();
    await turns();
    await log.pass();
    // The one that was beginning is begun and ended, those behind it are not begun at all.
    expect(first.begins).toBe(17);
    expect(second.group.owned).toEqual([1, 3, 5, 7, 9, 11, 13, 15]);
    expect(first.group.owned).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
  });

  it("is waited for by a stop, which ends it", async () => {
    const { log, first } = world("all", ["a"]);
    const slow = gate();
    first.beginsAfter = slow.opened;
    const started = first.group.start();
    await turns();
    let isStopped = false;
    const stopped = first.group.stop().then(() => {
      isStopped = true;
    });
    await turns();
    expect(isStopped).toBe(false);
    slow.open();
    await Promise.all([started, stopped]);
    expect(first.works.map(({ state }) => state)).toEqual(["stopped"]);
    expect(log.holders.size).toBe(0);
    expect(log.members).toEqual([]);
  });
});

describe("a log that is away", () => {
  it("at the start is waited for", async () => {
    const { log, first } = world("each", ["a"]);
    log.failure = away();
    await first.group.start();
    await log.pass();
    expect(first.outages.reasons()).toEqual(["it has waited for 0.5 s: Redis at redis://127.0.0.1:1 cannot be reached"]);
    log.failure = null;
    await log.pass();
    expect(first.group.owned).toEqual(allPartitions);
    expect(first.outages.reasons()).toEqual([]);
  });

  it("later leaves the work alone: it waits by itself", async () => {
    const { log, first } = world("each", ["a"]);
    await first.group.start();
    log.failure = away();
    for (let passes = 0; passes < 120; passes += 1) await log.pass();
    expect(first.running).toHaveLength(16);
    expect(first.lines).toHaveLength(1);
    log.failure = null;
    for (let passes = 0; passes < 6; passes += 1) await log.pass();
    expect(first.begins).toBe(16);
    expect(first.lines).toHaveLength(2);
    expect(first.lines[1]).toContain('"seconds":60');
  });

  it("does not keep a stop from ending", async () => {
    const { log, first } = world("each", ["a"]);
    await first.group.start();
    log.failure = away();
    await first.group.stop();
    expect(first.touched).toEqual([]);
  });
});

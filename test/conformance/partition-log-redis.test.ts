/** What the Redis log owes to the processes that share it, and to a Redis that is away or was started again. */
import { describe, expect, it } from "vitest";
import type { PartitionLog, PartitionOwner } from "../../contract/port.ts";
import { CutWay } from "./cut-way.ts";
import { all, keys, numbered, sources, stateOf, useRedisLogs, windowEntry } from "./partition-log-place.ts";
import { redisMissing } from "./redis-server.ts";
import { until } from "./temporary.ts";

/** Reads a partition for ever; takes it up anew from the last commit when it is lost. */
class Consumer {
  readonly #log: PartitionLog;
  readonly #partition: number;
  seen: string[] = [];
  offset = 0;
  takenUp = 0;
  isStopping = false;

  constructor(log: PartitionLog, partition: number) {
    this.#log = log;
    this.#partition = partition;
  }

  async run(): Promise<void> {
    while (!this.isStopping) {
      try {
        await this.#consume(await this.#log.own("window", this.#partition));
      } catch (error) {
        const { code } = error as { code: string };
        if (!["FENCED", "LOG_UNAVAILABLE"].includes(code)) throw error;
      }
    }
  }

  async #consume(owner: PartitionOwner<"window">): Promise<void> {
    this.takenUp += 1;
    this.offset = owner.checkpoint.offset;
    this.seen = stateOf(owner)
      .split(",")
      .filter((id) => id !== "");
    while (!this.isStopping) {
      const entries = await owner.read(this.offset, { entriesMax: 100, waitMs: 50 });
      for (const { offset, value } of entries) {
        if (offset !== this.offset + 1) throw new Error(`${offset} follows ${this.offset}`);
        this.offset = offset;
        this.seen.push(value.progress[0]?.source ?? "");
      }
      if (entries.length > 0) await owner.commit(this.offset, new Map([["state", new TextEncoder().encode(this.seen.join())]]));
    }
  }
}

if (redisMissing !== null) console.warn(`the Redis log is not tested: ${redisMissing}`);

describe.skipIf(redisMissing !== null)("the partition log on Redis", () => {
  const place = useRedisLogs();

  /** Tries until the partition is free; answers how long that took. */
  async function takeOver(log: PartitionLog, partition: number): Promise<{ owner: PartitionOwner<"window">; tookMs: number }> {
    const startedMs = performance.now();
    let owner: PartitionOwner<"window"> | null = null;
    await until(`partition ${partition} is free`, async () => {
      owner = await log.own("window", partition).catch((error: { code: string }) => {
        if (error.code !== "PARTITION_HELD") throw error;
        return null;
      });
      return owner !== null;
    });
    if (owner === null) throw new Error("unreachable");
    return { owner, tookMs: performance.now() - startedMs };
  }

  it("hands a partition of a killed process over within 3 s, in order and from the last commit", { timeout: 60_000 }, async () => {
    const [log, child] = await Promise.all([place.logs.open(), place.logs.startProcess("killed", { leaseMs: 2_000, renewMs: 500 })]);
    const membership = await log.join("window");
    await child.call({ do: "join" });
    expect(await membership.members()).toEqual([membership.self, "killed"]);
    await child.call({ do: "own", partition: 3 });
    for (const source of numbered(0, 20)) await log.append([windowEntry(3, source)], { reduced: [] });
    expect(await child.call({ do: "read", partition: 3, after: 0, waitMs: 1_000 })).toEqual(numbered(0, 20));
    await child.call({ do: "commit", partition: 3, offset: 12, state: numbered(0, 12).join() });
    // A step that failed is read again, in the same order.
    expect(await child.call({ do: "read", partition: 3, after: 12, waitMs: 1_000 })).toEqual(numbered(12, 20));
    const appending = Promise.all(numbered(20, 60).map((source) => log.append([windowEntry(3, source)], { reduced: [] })));
    await child.kill();
    const { owner, tookMs } = await takeOver(log, 3);
    console.info(`a killed owner's partition changed hands after ${Math.round(tookMs)} ms`);
    expect(tookMs).toBeLessThan(3_000);
    await appending;
    expect([...stateOf(owner).split(","), ...(await sources(owner))]).toEqual(numbered(0, 60));
    await until("the killed member is forgotten", async () => (await membership.members()).length === 1, 2_500);
  });

  it("fences a process that was stopped past its lease, and keeps what it had not committed", { timeout: 60_000 }, async () => {
    const [log, child] = await Promise.all([place.logs.open(), place.logs.startProcess("stopped", { leaseMs: 600, renewMs: 150 })]);
    await child.call({ do: "own", partition: 4 });
    await child.call({ do: "own", partition: 5 });
    for (const source of numbered(0, 10)) await log.append([windowEntry(4, source)], { reduced: [] });
    await child.call({ do: "read", partition: 4, after: 0, waitMs: 1_000 });
    await child.call({ do: "commit", partition: 4, offset: 4, state: numbered(0, 4).join() });
    const waiting = child.call({ do: "read", partition: 5, after: 0, waitMs: 30_000 });
    const refused = expect(waiting).rejects.toMatchObject({ code: "FENCED" });
    child.signal("SIGSTOP");
    const late = child.call({ do: "commit", partition: 4, offset: 9, state: "written by the fenced one" });
    const lateRefused = expect(late).rejects.toMatchObject({ code: "FENCED", message: expect.stringContaining("window/4") });
    const { owner } = await takeOver(log, 4);
    const other = (await takeOver(log, 5)).owner;
    child.signal("SIGCONT");
    await lateRefused;
    await refused;
    await expect(child.call({ do: "read", partition: 4, after: 4, waitMs: 0 })).rejects.toMatchObject({ code: "FENCED" });
    expect(stateOf(owner)).toBe(numbered(0, 4).join());
    expect(await sources(owner)).toEqual(numbered(4, 10));
    await owner.commit(10, new Map());
    expect(stateOf((await takeOver(log, 4)).owner)).toBe(numbered(0, 4).join());
    await expect(child.call({ do: "own", partition: 5 })).rejects.toMatchObject({ code: "PARTITION_HELD" });
    await other.release();
    await child.call({ do: "own", partition: 5 });
  });

  it("does not let a process that was stopped count a batch twice", { timeout: 60_000 }, async () => {
    const [log, child] = await Promise.all([place.logs.open(), place.logs.startProcess("slow", { leaseMs: 600, renewMs: 150 })]);
    await place.logs.client.set(keys.payload("batch"), "body");
    child.signal("SIGSTOP");
    const late = child.call({ do: "append", partition: 0, source: "twice", reduced: ["batch"] });
    const refused = expect(late).rejects.toMatchObject({ code: "BATCH_REDUCED" });
    await log.append([windowEntry(0, "once")], { reduced: ["batch"] });
    expect(await place.logs.client.exists(keys.payload("batch"))).toBe(0);
    child.signal("SIGCONT");
    await refused;
    expect(await sources(await log.own("window", 0))).toEqual(["once"]);
  });

  it("names the living owner of a partition for longer than a lease, and takes over at once what was given back", async () => {
    const first = await place.logs.open({ memberId: "first", leaseMs: 300, renewMs: 75 });
    const second = await place.logs.open({ memberId: "second", leaseMs: 300, renewMs: 75 });
    const owner = await first.own("window", 1);
    const endsAtMs = performance.now() + 900;
    while (performance.now() < endsAtMs) {
      const held = { code: "PARTITION_HELD", message: expect.stringContaining("first") };
      await expect(second.own("window", 1)).rejects.toMatchObject(held);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await owner.release();
    const next = await second.own("window", 1);
    expect(next.fence).toBeGreaterThan(owner.fence);
    await expect(owner.read(0, all)).rejects.toMatchObject({ code: "FENCED" });
    await second.close();
    await first.own("window", 1);
  });

  it("lists members by when they joined, and one that was away is the junior", async () => {
    const [a, b] = [await place.logs.open({ memberId: "zz" }), await place.logs.open({ memberId: "aa" })];
    const first = await a.join("window");
    const second = await b.join("window");
    expect(await first.members()).toEqual(["zz", "aa"]);
    expect(await second.members()).toEqual(["zz", "aa"]);
    expect(await (await b.join("anomaly")).members()).toEqual(["aa"]);
    await first.leave();
    expect(await second.members()).toEqual(["aa"]);
    const again = await a.join("window");
    expect(await again.members()).toEqual(["aa", "zz"]);
    await b.close();
    expect(await again.members()).toEqual(["zz"]);
  });

  it("appends everything once and in order while its connections are cut again and again", { timeout: 60_000 }, async () => {
    const log = await place.logs.open();
    let cuts = 0;
    const chaos = setInterval(() => {
      place.logs.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").then(
        (killed) => {
          cuts += Number(killed);
        },
        () => undefined,
      );
    }, 25);
    let n = 0;
    try {
      for (; n < 100 || cuts < 20; n += 2) {
        await Promise.all([
          log.append([windowEntry(0, `${n}`)], { reduced: [`${n}`] }),
          log.append([windowEntry(0, `${n + 1}`), windowEntry(1, `${n + 1}`)], { reduced: [] }),
        ]);
      }
    } finally {
      clearInterval(chaos);
    }
    expect(await sources(await log.own("window", 0))).toEqual(numbered(0, n));
    expect(await sources(await log.own("window", 1))).toEqual(numbered(0, n).filter((source) => Number(source) % 2 === 1));
  });

  it("resolves an append once whose answer was lost, however long the way to Redis stays cut", { timeout: 60_000 }, async () => {
    const way = await CutWay.to(place.logs.redis.port);
    const log = await place.logs.open({ url: way.url });
    try {
      await log.append([windowEntry(0, "first")], { reduced: [] });
      way.loseAnswer({ thenCutMs: 0 });
      await log.append([windowEntry(0, "second")], { reduced: [] });
      way.loseAnswer({ thenCutMs: 400 });
      await log.append([windowEntry(0, "third"), windowEntry(1, "third")], { reduced: ["b"] });
      expect(way.answersLost).toBe(2);
      expect(await sources(await log.own("window", 0))).toEqual(["first", "second", "third"]);
      way.loseAnswer({ thenCutMs: 8_000 });
      const startedMs = performance.now();
      const unknown = log.append([windowEntry(2, "fourth")], { reduced: ["c"] });
      await expect(unknown).rejects.toMatchObject({ code: "LOG_UNAVAILABLE" });
      expect(performance.now() - startedMs).toBeLessThan(5_500);
      const meanwhile = log.append([windowEntry(3, "fifth")], { reduced: [] });
      await until("it is tried again", () => place.logs.counts.of("log_append_retried") > 0);
      way.mend();
      await meanwhile;
      expect(await sources(await log.own("window", 3))).toEqual(["fifth"]);
      await expect(log.append([windowEntry(2, "fourth")], { reduced: ["c"] })).rejects.toMatchObject({ code: "BATCH_REDUCED" });
      expect(await sources(await log.own("window", 2))).toEqual(["fourth"]);
    } finally {
      await log.close();
      await way.close();
    }
  });

  it("holds every resolved append once after Redis was killed, and lets owners take up anew", { timeout: 60_000 }, async () => {
    const log = await place.logs.open();
    const early = await log.own("window", 5);
    const consumer = new Consumer(log, 0);
    const consuming = consumer.run();
    const resolved: string[] = [];
    const rejected = new Set<string>();
    let isWriting = true;
    const write = async (writer: number): Promise<void> => {
      for (let n = 0; isWriting; n += 1) {
        const id = `${writer}-${n}`;
        const failure = await log.append([windowEntry(0, id)], { reduced: [id] }).then(
          () => null,
          (error: { code: string }) => error.code,
        );
        if (failure === null) resolved.push(id);
        else rejected.add(`${failure} ${id}`);
      }
    };
    const writers = Promise.all([write(0), write(1), write(2)]);
    for (let round = 0; round < 4; round += 1) {
      const before = resolved.length;
      await until("some were written", () => resolved.length > before + 100);
      if (round === 3) break;
      await place.logs.redis.kill();
      await place.logs.redis.restart();
    }
    isWriting = false;
    await writers;
    const last = Number(await place.logs.client.hget(keys.partition("window", 0), "last"));
    await until("everything is consumed", () => consumer.offset === last);
    consumer.isStopping = true;
    await consuming;
    const seen = new Set(consumer.seen);
    expect(seen.size).toBe(consumer.seen.length);
    expect(resolved.filter((id) => !seen.has(id))).toEqual([]);
    expect([...rejected].filter((line) => !line.startsWith("LOG_UNAVAILABLE "))).toEqual([]);
    expect(seen.size).toBeLessThanOrEqual(resolved.length + rejected.size);
    for (const writer of [0, 1, 2]) {
      const own = consumer.seen.filter((id) => id.startsWith(`${writer}-`)).map((id) => Number(id.slice(2)));
      expect(own).toEqual([...own].sort((left, right) => left - right));
    }
    expect(await log.reduced(resolved)).toEqual(new Set(resolved));
    expect(consumer.takenUp).toBeGreaterThan(1);
    await expect(early.read(0, all)).rejects.toMatchObject({ code: "FENCED", message: expect.stringContaining("started again") });
    console.info(`${resolved.length} appends resolved, ${rejected.size} rejected over three kills of Redis`);
  });

  it("says within 5 s that Redis is away, and its owners go on when it is back", { timeout: 60_000 }, async () => {
    const log = await place.logs.open();
    const other = await place.logs.open({ memberId: "other" });
    const owner = await log.own("window", 0);
    await log.append([windowEntry(0, "a")], { reduced: [] });
    place.logs.redis.pause();
    const startedMs = performance.now();
    const results = await Promise.allSettled([
      log.append([windowEntry(0, "b")], { reduced: [] }),
      owner.read(1, all),
      owner.commit(1, new Map()),
      log.own("window", 1),
      log.reduced(["x"]),
      log.lag("window"),
      log.join("window"),
    ]);
    const tookMs = performance.now() - startedMs;
    for (const result of results) expect(result).toMatchObject({ status: "rejected", reason: { code: "LOG_UNAVAILABLE" } });
    expect(tookMs).toBeLessThan(6_000);
    const closingMs = performance.now();
    await other.close();
    expect(performance.now() - closingMs).toBeLessThan(3_000);
    place.logs.redis.resume();
    await until("it answers again", () =>
      log.append([], { reduced: ["c"] }).then(
        () => true,
        () => false,
      ),
    );
    await owner.commit(1, new Map([["state", new TextEncoder().encode("kept")]]));
    expect((await owner.read(1, all)).every(({ value }) => value.progress[0]?.source === "b")).toBe(true);
    expect(stateOf(await log.own("window", 0))).toBe("kept");
  });
});

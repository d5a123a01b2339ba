/** Where the Redis log ends: its bounds, a Redis that cannot be used, and keys under its names that are not its own. */
import { describe, expect, it } from "vitest";
import type { Clock } from "../../contract/port.ts";
import { all, keys, numbered, sources, systemClock, useRedisLogs, windowEntry } from "./partition-log-place.ts";
import { redisMissing } from "./redis-server.ts";
import { startRestartableRedis } from "./restartable-redis.ts";
import { until } from "./temporary.ts";

const hourMs = 3_600_000;

describe.skipIf(redisMissing !== null)("the partition log on Redis", () => {
  const place = useRedisLogs();

  it("stops taking what an owner reads and never commits at ten times the bound", { timeout: 60_000 }, async () => {
    const log = await place.logs.open();
    const owner = await log.own("window", 0);
    for (const source of ["a", "b"]) await log.append([windowEntry(0, source)], { reduced: [] });
    await place.logs.client.hset(keys.partition("window", 0), "last", 99_999);
    await owner.read(99_999, all);
    await log.append([windowEntry(0, "the last")], { reduced: [] });
    await owner.read(100_000, all);
    const waiting = log.append([windowEntry(0, "one too many")], { reduced: ["late"] });
    await until("it waits", () => place.logs.counts.of("log_append_waited") === 1);
    expect(await log.lag("window")).toBe(100_000);
    expect(await log.reduced(["late"])).toEqual(new Set());
    await owner.commit(1, new Map());
    await waiting;
    expect(await log.lag("window")).toBe(100_000);
    expect(await sources(await log.own("window", 0))).toEqual(["b", "the last", "one too many"]);
  });

  it("forgets a reduced batch after 24 hours, and the oldest ones beyond the bound", { timeout: 60_000 }, async () => {
    let nowMs = 1_000_000;
    const clock: Clock = { nowMs: () => nowMs, schedule: (delayMs, callback) => systemClock.schedule(delayMs, callback) };
    const log = await place.logs.open({ clock, marksMax: 3 });
    await log.append([], { reduced: ["old"] });
    nowMs += 24 * hourMs;
    expect(await log.reduced(["old"])).toEqual(new Set(["old"]));
    nowMs += 1;
    expect(await log.reduced(["old"])).toEqual(new Set());
    await log.append([windowEntry(0, "a")], { reduced: ["old"] });
    nowMs += 24 * hourMs + 1;
    await log.append([], { reduced: ["new"] });
    expect(await place.logs.client.zrange(keys.reduced, "0", "-1")).toEqual(["new"]);
    nowMs += 1;
    await log.append([], { reduced: ["a", "b", "c"] });
    expect(await place.logs.client.zrange(keys.reduced, "0", "-1")).toEqual(["a", "b", "c"]);
    nowMs += 1;
    await log.append([], { reduced: ["newest"] });
    expect(await log.reduced(["new", "a", "b", "c", "newest"])).toEqual(new Set(["b", "c", "newest"]));
    expect(place.logs.counts.of("log_reduced_marks_evicted")).toBe(2);
  });

  it("keeps what two prefixes hold apart, all of it under their names", async () => {
    const [one, two] = [await place.logs.open({ prefix: "one" }), await place.logs.open({ prefix: "two" })];
    await one.append([windowEntry(0, "one")], { reduced: ["b"] });
    await two.append([windowEntry(0, "two")], { reduced: ["b"] });
    await one.join("window");
    expect(await sources(await one.own("window", 0))).toEqual(["one"]);
    expect(await sources(await two.own("window", 0))).toEqual(["two"]);
    expect((await place.logs.client.keys("*")).filter((key) => !/^\{(one|two)\}:/.test(key))).toEqual([]);
  });

  describe("what is not ours", () => {
    it("is named, and stops an append before any of it is written", async () => {
      const log = await place.logs.open();
      await place.logs.client.set(keys.stream("window", 1), "somebody's");
      const both = log.append([windowEntry(0, "a"), windowEntry(1, "a")], { reduced: ["b"] });
      const neighbour = log.append([windowEntry(2, "fine")], { reduced: [] });
      await expect(both).rejects.toMatchObject({ code: "DATA_FOREIGN", message: expect.stringContaining("redis.prefix") });
      await neighbour;
      expect(await log.reduced(["b"])).toEqual(new Set());
      expect(await log.lag("window")).toBe(1);
      await place.logs.client.xadd(keys.stream("window", 3), "*", "field", "value");
      await expect(log.append([windowEntry(3, "a")], { reduced: [] })).rejects.toMatchObject({ code: "DATA_FOREIGN" });
    });

    it("is named when a partition is taken or read", async () => {
      const log = await place.logs.open();
      await place.logs.client.set(keys.lease("window", 0), "for ever");
      await expect(log.own("window", 0)).rejects.toMatchObject({ code: "DATA_FOREIGN" });
      await place.logs.client.set(keys.partition("window", 1), "text");
      await expect(log.own("window", 1)).rejects.toMatchObject({ code: "DATA_FOREIGN" });
      await place.logs.client.hset(keys.partition("window", 2), "fence", "high");
      await expect(log.own("window", 2)).rejects.toMatchObject({ code: "DATA_FOREIGN" });
      await place.logs.client.hset(keys.members("window"), "somebody", "hello");
      await expect(log.join("window")).rejects.toMatchObject({ code: "DATA_FOREIGN" });
      for (const [id, field, value] of [
        ["1-0", "json", "{torn"],
        ["1-0", "other", "{}"],
        ["1-7", "json", "{}"],
      ] as const) {
        await place.logs.client.del(keys.stream("window", 3));
        await place.logs.client.xadd(keys.stream("window", 3), id, field, value);
        const owner = await log.own("window", 3);
        await expect(owner.read(0, all)).rejects.toMatchObject({ code: "DATA_FOREIGN", message: expect.stringContaining(id) });
      }
    });

    it("counts entries that somebody removed", async () => {
      const log = await place.logs.open();
      for (const source of numbered(0, 5)) await log.append([windowEntry(0, source)], { reduced: [] });
      await place.logs.client.xtrim(keys.stream("window", 0), "MAXLEN", "=", "2");
      expect(await sources(await log.own("window", 0))).toEqual(["3", "4"]);
      expect(place.logs.counts.of("log_entries_lost")).toBe(3);
    });

    it("stops the start: keys of a newer or an unknown layout", async () => {
      await place.logs.client.set(keys.version, "99");
      await expect(place.logs.open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN" });
      for (const unknown of ["hello", "0", "1.5"]) {
        await place.logs.client.set(keys.version, unknown);
        await expect(place.logs.open(), unknown).rejects.toMatchObject({ code: "DATA_FOREIGN" });
        expect(await place.logs.client.get(keys.version)).toBe(unknown);
      }
    });
  });

  it("refuses to start on a Redis that drops keys", async () => {
    await place.logs.client.config("SET", "maxmemory-policy", "allkeys-lru");
    try {
      await expect(place.logs.open()).rejects.toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("noeviction") });
    } finally {
      await place.logs.client.config("SET", "maxmemory-policy", "noeviction");
    }
  });

  it("says that the password is wrong, or that nobody answers, without telling the password", async () => {
    const guarded = await startRestartableRedis({ password: "right" });
    const at = `127.0.0.1:${guarded.port}`;
    try {
      for (const url of [`redis://:secret@${at}`, `redis://${at}`]) {
        const refused = place.logs.open({ url });
        await expect(refused).rejects.toMatchObject({ code: "SERVER_REFUSED", message: expect.not.stringContaining("secret") });
      }
      const log = await place.logs.open({ url: `redis://:right@${at}` });
      await log.append([windowEntry(0, "a")], { reduced: [] });
      expect(await sources(await log.own("window", 0))).toEqual(["a"]);
      await log.close();
    } finally {
      await guarded.stop();
    }
    const startedMs = performance.now();
    const nobody = place.logs.open({ url: `redis://:secret@${at}` });
    await expect(nobody).rejects.toMatchObject({ code: "LOG_UNAVAILABLE", message: expect.not.stringContaining("secret") });
    expect(performance.now() - startedMs).toBeLessThan(5_500);
  });
});

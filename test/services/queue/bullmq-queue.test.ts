import { Queue as BullQueue } from "bullmq";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { queueTopics } from "../../../contract/topic.ts";
import { SystemClock } from "../../../services/platform.ts";
import { type BullmqQueueOptions, openBullmqQueue } from "../../../services/queue/bullmq-queue.ts";
import { redisKeys } from "../../../services/redis/redis-keys.ts";
import { CutWay } from "../../conformance/cut-way.ts";
import type { AnyQueue } from "../../conformance/queue.ts";
import { type RedisServer, redisMissing, startRedis } from "../../conformance/redis-server.ts";
import { aChange, aTelemetryBatch } from "../../conformance/sample-messages.ts";
import { Counts, until } from "../../conformance/temporary.ts";

const prefix = "bullmq-test";
const keys = redisKeys(prefix);
const clock = new SystemClock();

describe.skipIf(redisMissing !== null)("the BullMQ queue", () => {
  let redis: RedisServer;
  let client: Redis;
  let counts: Counts;
  let queue: AnyQueue;

  beforeAll(async () => {
    redis = await startRedis();
    client = new Redis(redis.url);
  });

  afterAll(async () => {
    client.disconnect();
    await redis.stop();
  });

  beforeEach(async () => {
    counts = new Counts();
    queue = await open();
  });

  afterEach(async () => {
    await queue.close();
    await redis.flush();
  });

  function open(options: Partial<BullmqQueueOptions> = {}): Promise<AnyQueue> {
    return openBullmqQueue({ url: redis.url, prefix, clock, onCounted: counts.onCounted, ...options });
  }

  async function reopen(options: Partial<BullmqQueueOptions>): Promise<void> {
    await queue.close();
    queue = await open(options);
  }

  async function payloads(): Promise<string[]> {
    return (await client.keys(keys.payload("*"))).sort();
  }

  describe("claim checks", () => {
    it("keeps a body once, without an end, beside small jobs, until the last reader has handled it", async () => {
      await reopen({ topics: { telemetry: { ...queueTopics.telemetry, readers: ["ingest", "detection"] } } });
      await queue.publish("telemetry", aTelemetryBatch("g:1/2%", 100_000));
      expect(await payloads()).toEqual([keys.payload("g:1/2%")]);
      expect(await client.ttl(keys.payload("g:1/2%"))).toBe(-1);
      const jobs = await client.keys(`${keys.queuePrefix}:telemetry.*:m-*`);
      expect(jobs).toHaveLength(2);
      for (const job of jobs) expect(await client.hstrlen(job, "data")).toBeLessThan(400);
      await queue.subscribe("telemetry", "ingest", async () => undefined, { concurrency: 1 });
      await queue.drain();
      expect(await payloads()).toHaveLength(1);
      await queue.subscribe("telemetry", "detection" as "ingest", async () => undefined, { concurrency: 1 });
      await queue.drain();
      await until("the body is gone", async () => (await payloads()).length === 0);
      expect(counts.of("queue_payloads_lost")).toBe(0);
    });

    it("takes a job whose body went with the mark of its batch as handled", async () => {
      await reopen({ reduced: async (ids) => new Set(ids.filter((id) => id === "done")) });
      await queue.publish("telemetry", aTelemetryBatch("done"));
      await client.unlink(keys.payload("done"));
      const got: string[] = [];
      await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
      await queue.drain();
      expect(got).toEqual([]);
      expect(counts.of("queue_redelivered_done")).toBe(1);
      expect(await queue.deadLetters({ lettersMax: 10 })).toEqual([]);
    });

    it("counts a body that is gone without a mark as lost, and says so in a dead letter", async () => {
      await reopen({ reduced: async () => new Set() });
      await queue.publish("telemetry", aTelemetryBatch("lost", 77));
      await client.unlink(keys.payload("lost"));
      await queue.subscribe("telemetry", "ingest", async () => undefined, { concurrency: 1 });
      await queue.drain();
      expect(counts.of("queue_payloads_lost")).toBe(1);
      expect(counts.of("queue_dead_letters")).toBe(1);
      const [letter] = await queue.deadLetters({ lettersMax: 10 });
      expect(letter).toMatchObject({
        code: "PAYLOAD_LOST",
        attempts: 3,
        message: expect.stringContaining("the 77 bytes of telemetry lost"),
      });
    });

    it("has a body again that Redis lost while its job was being added, so that what is acknowledged after a restart is there", async () => {
      const way = await CutWay.to(Number(new URL(redis.url).port));
      try {
        await reopen({ url: way.url, reduced: async () => new Set() });
        const got: string[] = [];
        for (let n = 0; got.length === 0 && n < 5; n += 1) {
          way.loseAnswer({ thenCutMs: 0, to: /bodyBytes/ });
          const published = queue.publish("telemetry", aTelemetryBatch(`tail-${n}`, 1_000));
          await until("the job's answer is lost", () => way.answersLost === n + 1);
          const lostMs = performance.now();
          await client.unlink(...(await payloads()));
          const wasInTime = performance.now() - lostMs < 40;
          await published;
          // Slower than the new connection, the body that is there again would have been the one that was removed.
          if (!wasInTime) continue;
          expect(await client.strlen(keys.payload(`tail-${n}`))).toBe(1_000);
          await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
          await until("it is handled", () => got.includes(`tail-${n}`));
        }
        expect(got.length).toBeGreaterThan(0);
      } finally {
        await queue.close();
        await way.close();
      }
    });

    it("looks again for a body that is missing, because its publisher may be about to bring it", async () => {
      await reopen({ reduced: async () => new Set() });
      await queue.publish("telemetry", aTelemetryBatch("late", 77));
      const body = await client.getBuffer(keys.payload("late"));
      await client.unlink(keys.payload("late"));
      const got: string[] = [];
      await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
      await until("it was looked for", () => counts.of("queue_retried") === 1);
      await client.set(keys.payload("late"), body ?? "");
      await queue.drain();
      expect(got).toEqual(["late"]);
      expect(counts.of("queue_payloads_lost")).toBe(0);
    });

    it("does not mind a handler that has removed the body itself", async () => {
      await queue.subscribe("telemetry", "ingest", async ({ id }) => void (await client.unlink(keys.payload(id))), { concurrency: 1 });
      await queue.publish("telemetry", aTelemetryBatch("1"));
      await queue.drain();
      expect(counts.of("queue_payloads_lost")).toBe(0);
      expect(await queue.deadLetters({ lettersMax: 10 })).toEqual([]);
    });

    it("keeps the body of a dead letter until it is dropped", async () => {
      const handler = async () => {
        throw new HeadwaterError("REQUEST_INVALID", "never");
      };
      await queue.subscribe("telemetry", "ingest", handler, { concurrency: 1 });
      await queue.publish("telemetry", aTelemetryBatch("1"));
      await queue.drain();
      expect(await payloads()).toHaveLength(1);
      const [letter] = await queue.deadLetters({ lettersMax: 10 });
      await queue.dropDeadLetter(letter?.id ?? "");
      expect(await payloads()).toEqual([]);
      expect(await client.keys(`${keys.queuePrefix}:telemetry.ingest:m-*`)).toEqual([]);
    });

    it("sweeps bodies that have no job, and no others, once they are old", async () => {
      await reopen({ orphanAgeSeconds: 0 });
      await queue.publish("telemetry", aTelemetryBatch("waiting"));
      for (const id of ["orphan:1", "orphan:2"]) await client.set(keys.payload(id), "body");
      const handled: string[] = [];
      const handler = async ({ id }: { id: string }) => {
        // Its body is in the way of the sweep for as long as this runs.
        await until("the orphans are gone", () => counts.of("queue_payloads_swept") === 2);
        expect(await payloads()).toEqual([keys.payload("waiting")]);
        handled.push(id);
      };
      await queue.subscribe("telemetry", "ingest", handler, { concurrency: 1 });
      await queue.drain();
      expect(handled).toEqual(["waiting"]);

      await reopen({});
      await client.set(keys.payload("young orphan"), "body");
      await queue.subscribe("telemetry", "ingest", async ({ id }) => void handled.push(id), { concurrency: 1 });
      await queue.publish("telemetry", aTelemetryBatch("later"));
      await queue.drain();
      await queue.close();
      expect(await payloads()).toEqual([keys.payload("young orphan")]);
    });
  });

  it("makes a dead letter with the field of a message that its schema refuses by now", async () => {
    await queue.publish("change", aChange("1"));
    const [job = ""] = await client.lrange(`${keys.queuePrefix}:change.incident:wait`, 0, -1);
    const data = JSON.stringify({ json: { ...aChange("1"), kind: "party" }, bodyBytes: null });
    await client.hset(`${keys.queuePrefix}:change.incident:${job}`, "data", data);
    await queue.subscribe("change", "incident", async () => undefined, { concurrency: 1 });
    await queue.drain();
    const letters = await queue.deadLetters({ lettersMax: 10 });
    expect(letters).toMatchObject([{ code: "REQUEST_INVALID", message: expect.stringContaining('topic change: "kind"') }]);
  });

  it("goes on when its connections are cut again and again", { timeout: 30_000 }, async () => {
    const got = new Set<string>();
    await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.add(id), { concurrency: 4 });
    const acknowledged: string[] = [];
    for (let n = 0; n < 60; n += 1) {
      if (n % 20 === 10) await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      const sent = await queue.publish("telemetry", aTelemetryBatch(`g-${n}`, 1_000)).then(
        () => true,
        (error: HeadwaterError) => error.code !== "QUEUE_UNAVAILABLE",
      );
      if (sent) acknowledged.push(`g-${n}`);
    }
    expect(acknowledged.length).toBeGreaterThan(50);
    await until("everything acknowledged is handled", () => acknowledged.every((id) => got.has(id)), 20_000);
    expect(counts.of("queue_payloads_lost")).toBe(0);
  });

  describe("at open", () => {
    it("says where it looked when nobody answers, without the password", async () => {
      const opening = open({ url: "redis://user:secret@127.0.0.1:1" });
      const error = (await opening.catch((thrown: unknown) => thrown)) as HeadwaterError;
      expect(error).toMatchObject({ code: "QUEUE_UNAVAILABLE", message: expect.stringContaining("127.0.0.1:1") });
      expect(error.message).not.toContain("secret");
    });

    it("refuses a wrong password, and a missing one", async () => {
      await client.config("SET", "requirepass", "right password");
      try {
        const address = redis.url.replace("redis://", "");
        for (const url of [`redis://:wrong@${address}`, redis.url]) {
          const error = (await open({ url }).catch((thrown: unknown) => thrown)) as HeadwaterError;
          expect(error).toMatchObject({ code: "SERVER_REFUSED", message: expect.stringContaining(address) });
          expect(error.message).not.toContain("wrong@");
        }
        await (await open({ url: `redis://:right%20password@${address}` })).close();
      } finally {
        await client.config("SET", "requirepass", "");
      }
    });

    it("refuses a Redis that drops keys when its memory is full", async () => {
      await client.config("SET", "maxmemory-policy", "allkeys-lru");
      try {
        await expect(open()).rejects.toMatchObject({
          code: "SERVER_UNSUITABLE",
          message: expect.stringContaining("set maxmemory-policy noeviction"),
        });
      } finally {
        await client.config("SET", "maxmemory-policy", "noeviction");
      }
    });

    it("refuses keys of a newer layout, and keys that are not ours", async () => {
      await client.set(keys.version, "99");
      await expect(open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN" });
      await client.set(keys.version, "somebody else's");
      await expect(open()).rejects.toMatchObject({ code: "DATA_FOREIGN" });
    });
  });

  it("says at open, and at the first use after it, that a key under its prefix is not its own", async () => {
    await client.set(`${keys.queuePrefix}:change.incident:wait`, "not a list");
    await expect(queue.publish("change", aChange("1"))).rejects.toMatchObject({ code: "DATA_FOREIGN" });
    await expect(open()).rejects.toMatchObject({ code: "DATA_FOREIGN", message: expect.stringContaining("redis.prefix") });
  });

  it("gives up a message that has cost too many workers their life", async () => {
    await queue.publish("telemetry", aTelemetryBatch("deadly"));
    const [job = ""] = await client.lrange(`${keys.queuePrefix}:telemetry.ingest:wait`, 0, -1);
    await client.lmove(`${keys.queuePrefix}:telemetry.ingest:wait`, `${keys.queuePrefix}:telemetry.ingest:active`, "RIGHT", "LEFT");
    await client.hset(`${keys.queuePrefix}:telemetry.ingest:${job}`, "stc", "10");
    await client.sadd(`${keys.queuePrefix}:telemetry.ingest:stalled`, job);
    const got: string[] = [];
    await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
    await until("it is given up", () => counts.of("queue_dead_letters") === 1);
    const [letter] = await queue.deadLetters({ lettersMax: 10 });
    expect(letter).toMatchObject({ code: "INTERNAL", message: "every process that began to handle it died or hung", bodyBytes: 8 });
    await queue.retryDeadLetter(letter?.id ?? "");
    await queue.drain();
    expect(got).toEqual(["deadly"]);
  });

  it("survives jobs that others have put into its queue", async () => {
    const name = `${keys.queuePrefix}:change.incident`;
    await client.lpush(`${name}:wait`, "an id without a job");
    await client.zadd(`${name}:marker`, 0, "0");
    const other = new BullQueue("change.incident", { connection: client, prefix: keys.queuePrefix });
    await other.add("something", { not: "ours" });
    await queue.publish("change", aChange("1"));
    const got: string[] = [];
    await queue.subscribe("change", "incident", async ({ id }) => void got.push(id), { concurrency: 1 });
    await queue.drain();
    expect(got).toEqual(["1"]);
    const letters = await queue.deadLetters({ lettersMax: 10 });
    expect(letters.map(({ code }) => code)).toEqual(["REQUEST_INVALID", "REQUEST_INVALID"]);
    expect(letters.map(({ message }) => message).join()).toContain('{"not":"ours"}');
  });

  it("refuses bodies before Redis is full, and still hands out what is there", async () => {
    await queue.publish("telemetry", aTelemetryBatch("1", 10_000_000));
    const isFull = async () => {
      const used = Number(/used_memory:(\d+)/.exec(await client.info("memory"))?.[1]);
      await client.config("SET", "maxmemory", String(Math.round(used * 1.15)));
      return (await queue.publish("telemetry", aTelemetryBatch("x")).catch(() => "refused")) === "refused";
    };
    try {
      const refused = { code: "QUEUE_FULL", message: expect.stringContaining("maxmemory"), retryAfterSeconds: 1 };
      await until("it is noticed", isFull);
      await expect(queue.publish("telemetry", aTelemetryBatch("2", 100_000))).rejects.toMatchObject(refused);
      const got: string[] = [];
      await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
      await queue.drain();
      expect(got).toContain("1");
    } finally {
      await client.config("SET", "maxmemory", "0");
    }
    const again = () => queue.publish("telemetry", aTelemetryBatch("3", 100_000)).then(() => true);
    await until("it takes bodies again", () => again().catch(() => false));
  });

  it("fails with QUEUE_UNAVAILABLE while Redis has no memory at all, and goes on by itself when it has", async () => {
    const got: string[] = [];
    await queue.publish("change", aChange("1"));
    await client.config("SET", "maxmemory", "1");
    await queue.subscribe("change", "incident", async ({ id }) => void got.push(id), { concurrency: 1 });
    await expect(queue.publish("change", aChange("2"))).rejects.toMatchObject({ code: "QUEUE_UNAVAILABLE" });
    await until("the subscriber is refused", () => counts.of("queue_redis_errors") > 0);
    expect(counts.of("queue_redis_errors")).toBeLessThan(20);
    await client.config("SET", "maxmemory", "0");
    await queue.drain();
    expect(got).toEqual(["1"]);
  });
});

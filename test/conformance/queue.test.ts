import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, it } from "vitest";
import { AppendFile } from "../../contract/append-file.ts";
import { encodeJsonAndBytes, frameRecord } from "../../contract/frame.ts";
import { SystemClock } from "../../services/platform.ts";
import { openBullmqQueue } from "../../services/queue/bullmq-queue.ts";
import { openMemoryQueue } from "../../services/queue/memory-queue.ts";
import { redisKeys } from "../../services/redis/redis-keys.ts";
import { type NewQueuePlace, queueConformance } from "./queue.ts";
import { queueFanOutConformance } from "./queue-fan-out.ts";
import { type RedisServer, redisMissing, startRedis } from "./redis-server.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

const clock = new SystemClock();

const inMemory: NewQueuePlace = async (options) => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openMemoryQueue({ directory: folder.path, clock, onCounted: counts.onCounted, ...options });
  const poison = async () => {
    const file = await AppendFile.create(join(folder.path, "queue-0000000900.journal"), { version: 1 });
    const message = { id: 900, topic: "change", readers: ["incident"], json: { id: "broken" }, body: false };
    await file.write(frameRecord(encodeJsonAndBytes(message, [])));
    await file.close();
  };
  return { counts, open, poison, remove: folder.remove };
};
queueConformance("memory with a journal", inMemory);
queueFanOutConformance("memory with a journal", inMemory);

if (redisMissing !== null) {
  console.warn(`BullMQ is not tested: ${redisMissing}`);
  describe("Queue: BullMQ on Redis", () => {
    it.skip(redisMissing ?? "", () => undefined);
  });
} else {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(async () => {
    await redis.stop();
  });
  const onRedis: NewQueuePlace = async (options) => {
    const counts = new Counts();
    const prefix = "conformance";
    const open = () => openBullmqQueue({ url: redis.url, prefix, clock, onCounted: counts.onCounted, ...options });
    const poison = async () => {
      const client = new Redis(redis.url);
      const queue = `${redisKeys(prefix).queuePrefix}:change.incident`;
      await client.hset(`${queue}:broken`, { name: "change", data: '{"json": cut off', opts: "{}", timestamp: 1, delay: 0, priority: 0 });
      await client.lpush(`${queue}:wait`, "broken");
      await client.zadd(`${queue}:marker`, 0, "0");
      await client.quit();
    };
    return { counts, open, poison, remove: () => redis.flush() };
  };
  queueConformance("BullMQ on Redis", onRedis);
  queueFanOutConformance("BullMQ on Redis", onRedis);
}

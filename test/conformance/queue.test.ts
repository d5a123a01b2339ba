import { afterAll, beforeAll, describe, it } from "vitest";
import { SystemClock } from "../../services/platform.ts";
import { openBullmqQueue } from "../../services/queue/bullmq-queue.ts";
import { openMemoryQueue } from "../../services/queue/memory-queue.ts";
import { queueConformance } from "./queue.ts";
import { type RedisServer, redisMissing, startRedis } from "./redis-server.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

const clock = new SystemClock();

queueConformance("memory with a journal", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openMemoryQueue({ directory: folder.path, clock, onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});

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
  queueConformance("BullMQ on Redis", async () => {
    const counts = new Counts();
    const open = () => openBullmqQueue({ url: redis.url, prefix: "conformance", clock, onCounted: counts.onCounted });
    return { counts, open, remove: () => redis.flush() };
  });
}

import { afterAll, beforeAll, describe, it } from "vitest";
import { openFilePartitionLog } from "../../services/log/file-log.ts";
import { openRedisPartitionLog } from "../../services/log/redis-log.ts";
import { SystemClock } from "../../services/platform.ts";
import { partitionLogConformance } from "./partition-log.ts";
import { type RedisServer, redisMissing, startRedis } from "./redis-server.ts";
import { Counts, temporaryFolder } from "./temporary.ts";

partitionLogConformance("files", async () => {
  const folder = await temporaryFolder();
  const counts = new Counts();
  const open = () => openFilePartitionLog({ directory: folder.path, clock: new SystemClock(), onCounted: counts.onCounted });
  return { counts, open, remove: folder.remove };
});

if (redisMissing !== null) {
  console.warn(`the Redis log is not tested: ${redisMissing}`);
  describe("PartitionLog: Redis", () => {
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
  partitionLogConformance("Redis", async () => {
    const counts = new Counts();
    const open = () =>
      openRedisPartitionLog({ url: redis.url, prefix: "conformance", clock: new SystemClock(), onCounted: counts.onCounted });
    return { counts, open, remove: () => redis.flush() };
  });
}

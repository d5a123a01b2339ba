/** A real redis-server of our own, set as BullMQ wants it, that forgets everything on demand. */
import { Redis } from "ioredis";
import { findRedis } from "../../lab/servers.ts";
import { startRedis as startServer } from "../../scripts/servers.ts";

/** Why Redis cannot be tested here; null when it can. */
export const redisMissing: string | null =
  findRedis() === null ? "redis-server is not installed (Debian: apt-get install redis-server)" : null;

export interface RedisServer {
  readonly url: string;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(): Promise<RedisServer> {
  const server = await startServer({ arguments: ["--appendonly", "yes", "--maxmemory-policy", "noeviction"] });
  const client = new Redis(server.url);
  return {
    url: server.url,
    flush: async () => {
      await client.flushall();
    },
    stop: async () => {
      client.disconnect();
      await server.stop();
    },
  };
}

/** A redis-server that keeps what it acknowledged, that can be killed, paused and started again on its data. */
import { dataFolder, freePort } from "../../lab/guarded-server.ts";
import { type RestartableServer, startRestartable } from "../../lab/restartable-server.ts";
import { answers, attempt, findRedis } from "../../lab/servers.ts";

export type Fsync = "always" | "everysec";

/** Starts it; every acknowledged write is on the disk at once unless told. Throws LAB_FAILED. */
export async function startRestartableRedis(fsync: Fsync = "always"): Promise<RestartableServer> {
  return await attempt(async () => {
    const port = await freePort();
    const folder = dataFolder("redis", null);
    const durable = ["--appendonly", "yes", "--appendfsync", fsync, "--save", "", "--maxmemory-policy", "noeviction"];
    return await startRestartable({
      name: "Redis",
      file: findRedis() ?? "redis-server",
      arguments: ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...durable],
      folder,
      account: null,
      isReady: () => answers(port, { question: "PING\r\n", expected: "+PONG" }),
      readyWaitMs: 20_000,
      url: `redis://127.0.0.1:${port}`,
    });
  });
}

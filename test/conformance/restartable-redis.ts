/** A redis-server that keeps what it acknowledged, that can be killed, paused and started again on its data. */
import { dataFolder, freePort } from "../../lab/guarded-server.ts";
import { type RestartableServer, startRestartable } from "../../lab/restartable-server.ts";
import { answers, attempt, findRedis } from "../../lab/servers.ts";

export type Fsync = "always" | "everysec";

export interface RestartableRedis extends RestartableServer {
  readonly port: number;
  /** Its `dir`, which holds `appendonlydir`. */
  readonly folder: string;
}

export interface RestartableRedisOptions {
  /** `always`, unless told: every acknowledged write is on the disk at once. */
  readonly fsync?: Fsync;
  /** None unless told. */
  readonly password?: string;
}

/** Starts it. Throws LAB_FAILED. */
export async function startRestartableRedis(options: RestartableRedisOptions = {}): Promise<RestartableRedis> {
  const { fsync = "always", password = null } = options;
  return await attempt(async () => {
    const port = await freePort();
    const folder = dataFolder("redis", null);
    const durable = ["--appendonly", "yes", "--appendfsync", fsync, "--save", "", "--maxmemory-policy", "noeviction"];
    const guarded = password === null ? [] : ["--requirepass", password];
    const server = await startRestartable({
      name: "Redis",
      file: findRedis() ?? "redis-server",
      arguments: ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...durable, ...guarded],
      folder,
      account: null,
      isReady: () => answers(port, { question: "PING\r\n", expected: password === null ? "+PONG" : "-NOAUTH" }),
      readyWaitMs: 20_000,
      url: `redis://127.0.0.1:${port}`,
    });
    return Object.assign(server, { port, folder });
  });
}

import { spawn } from "node:child_process";
import { connect, createServer, type Server, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Presence } from "../../contract/port.ts";
import type { RunningServer } from "../../lab/guarded-server.ts";
import { startRedis } from "../../scripts/servers.ts";
import { ManualClock, SystemClock } from "../../services/platform.ts";
import { openMemoryPresence } from "../../services/presence/memory-presence.ts";
import { openRedisPresence } from "../../services/presence/redis-presence.ts";
import { redisKeys } from "../../services/redis/redis-keys.ts";
import { presenceConformance } from "./presence.ts";
import { redisMissing } from "./redis-server.ts";
import { aStatus } from "./sample-process.ts";
import { Counts, until } from "./temporary.ts";

presenceConformance("memory", async () => {
  const counts = new Counts();
  const clock = new ManualClock(1_764_000_000_000);
  return {
    counts,
    open: () => openMemoryPresence({ clock, onCounted: counts.onCounted }),
    pass: async (durationMs) => clock.advanceTo(clock.nowMs() + durationMs),
    remove: async () => undefined,
  };
});

if (redisMissing !== null) {
  console.warn(`Presence in Redis is not tested: ${redisMissing}`);
  describe("Presence: Redis", () => {
    it.skip(redisMissing ?? "", () => undefined);
  });
} else {
  describe("Presence in Redis", withRedis);
}

function withRedis(): void {
  const prefix = "conformance";
  const { processes: key, version } = redisKeys(prefix);
  const clock = new SystemClock();
  let server: RunningServer;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  /** Redis's own clock cannot be moved, so everybody on the list is made older. */
  async function makeOlder(durationMs: number): Promise<void> {
    for (const [id, value] of Object.entries(await redis.hgetall(key))) {
      const [at, ...json] = value.split(" ");
      await redis.hset(key, id, [String(Number(at) - durationMs), ...json].join(" "));
    }
  }

  presenceConformance("Redis", async () => {
    const counts = new Counts();
    return {
      counts,
      open: () => openRedisPresence({ url: server.url, prefix, clock, onCounted: counts.onCounted }),
      pass: makeOlder,
      remove: async () => {
        await redis.flushall();
      },
    };
  });

  async function opened<T>(work: (presence: Presence, counts: Counts) => Promise<T>, url = server.url): Promise<T> {
    const counts = new Counts();
    const presence = await openRedisPresence({ url, prefix, clock, onCounted: counts.onCounted });
    try {
      return await work(presence, counts);
    } finally {
      await presence.close();
      await redis.flushall();
    }
  }

  it("takes the time of announcements from Redis, whatever the clock of the host says", async () => {
    const wrong = new ManualClock(5);
    const presence = await openRedisPresence({ url: server.url, prefix, clock: wrong, onCounted: () => undefined });
    await presence.announce(aStatus("p-1"));
    const [seen] = await presence.list();
    const [seconds] = await redis.time();
    expect(Math.abs((seen?.atMs ?? 0) - Number(seconds) * 1_000)).toBeLessThan(60_000);
    await presence.close();
    await redis.flushall();
  });

  it("passes over and counts entries that it cannot read, and lists the others", async () => {
    await opened(async (presence, counts) => {
      await presence.announce(aStatus("p-1"));
      const now = String((await presence.list())[0]?.atMs);
      const json = JSON.stringify(aStatus("x"));
      const strange = {
        "no-time": json,
        "no-json": `${now} {`,
        "no-process": `${now} {"id":"no-process"}`,
        "other-id": `${now} ${json}`,
        "other-state": `${now} ${JSON.stringify({ ...aStatus("other-state"), state: "dancing" })}`,
      };
      await redis.hset(key, strange);
      expect((await presence.list()).map(({ id }) => id)).toEqual(["p-1"]);
      expect(counts.of("presence_entries_unknown")).toBe(5);
      await redis.hset(key, "newer", `${now} ${JSON.stringify({ ...aStatus("newer"), mood: "good" })}`);
      expect((await presence.list()).map(({ id }) => id)).toEqual(["newer", "p-1"]);
    });
  });

  it("shows processes to each other, and one that is killed falls silent but stays on the list", async () => {
    await opened(async (presence) => {
      const script = fileURLToPath(new URL("./announcing-process.ts", import.meta.url));
      const other = spawn(process.execPath, ["--import", "tsx", script, server.url, prefix], { stdio: ["ignore", "ignore", "inherit"] });
      const ended = new Promise((resolve) => other.on("close", resolve));
      await until("the other process is seen", async () => (await presence.list()).some(({ id }) => id === `other-${other.pid}`));
      await presence.announce(aStatus("this"));
      await until("it sees this one", async () =>
        (await presence.list()).some(({ reasons }) => reasons[0] === `sees other-${other.pid}, this`),
      );
      other.kill("SIGKILL");
      await ended;
      const silentMs = async (): Promise<number> => {
        const seen = (await presence.list()).find(({ id }) => id.startsWith("other-"));
        return seen === undefined ? Number.NaN : seen.readAtMs - seen.atMs;
      };
      // It announces every 2 s; more than that is silence.
      await until("it falls silent", async () => (await silentMs()) > 2_500);
    });
  });

  it("fails within 5 s while Redis is paused, and works again by itself", async () => {
    await opened(async (presence) => {
      await presence.announce(aStatus("p-1"));
      process.kill(server.pid, "SIGSTOP");
      const beganMs = Date.now();
      try {
        const [announced, listed] = await Promise.allSettled([presence.announce(aStatus("p-1")), presence.list()]);
        for (const result of [announced, listed])
          expect(result).toMatchObject({ status: "rejected", reason: { code: "QUEUE_UNAVAILABLE" } });
      } finally {
        process.kill(server.pid, "SIGCONT");
      }
      expect(Date.now() - beganMs).toBeLessThan(6_000);
      await until("it works again", async () => (await presence.list().catch(() => [])).length === 1);
      await presence.announce(aStatus("p-2"));
    });
  }, 20_000);

  it("fails soon while nobody listens, names the address and not the password, and connects again by itself", async () => {
    const gate = await openGate(Number(new URL(server.url).port));
    await redis.config("SET", "requirepass", "");
    await opened(async (presence, counts) => {
      await presence.announce(aStatus("p-1"));
      await gate.shut();
      const beganMs = Date.now();
      const error = await presence.list().then(
        () => null,
        (thrown: unknown) => thrown as Error,
      );
      expect(error).toMatchObject({ code: "QUEUE_UNAVAILABLE" });
      expect(error?.message).toContain(`127.0.0.1:${gate.port}`);
      expect(error?.message).not.toContain("secret");
      expect(Date.now() - beganMs).toBeLessThan(6_000);
      await until("attempts are counted", () => counts.of("presence_connection_errors") > 0);
      await gate.open();
      await until("it is connected again", async () => (await presence.list().catch(() => [])).length === 1);
    }, `redis://default:secret@127.0.0.1:${gate.port}`).finally(() => gate.shut());
  });

  it("refuses at open what is not there, not ours or not fit, each in its words", async () => {
    const open = (url: string): Promise<Presence> => openRedisPresence({ url, prefix, clock, onCounted: () => undefined });
    await expect(open("redis://127.0.0.1:1")).rejects.toMatchObject({
      code: "QUEUE_UNAVAILABLE",
      message: expect.stringContaining("127.0.0.1:1"),
    });
    await redis.set(version, "something else");
    await expect(open(server.url)).rejects.toMatchObject({ code: "DATA_FOREIGN" });
    await redis.flushall();
    await redis.config("SET", "maxmemory-policy", "allkeys-lru");
    await expect(open(server.url)).rejects.toMatchObject({ code: "SERVER_UNSUITABLE" });
    await redis.config("SET", "maxmemory-policy", "noeviction");
    await opened(async (presence) => {
      await redis.set(key, "not a hash");
      await expect(presence.announce(aStatus("p-1"))).rejects.toMatchObject({
        code: "DATA_FOREIGN",
        message: expect.stringContaining("prefix"),
      });
      await expect(presence.list()).rejects.toMatchObject({ code: "DATA_FOREIGN" });
    });
  });
}

/** A way to a port of this machine that can be shut: connections break, new ones are refused. */
async function openGate(to: number): Promise<{ port: number; open(): Promise<void>; shut(): Promise<void> }> {
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let port = 0;
  const open = async (): Promise<void> => {
    const created = createServer((from) => {
      const onward = connect({ host: "127.0.0.1", port: to });
      for (const socket of [from, onward]) {
        sockets.add(socket);
        socket.on("error", () => socket.destroy());
        socket.on("close", () => {
          sockets.delete(socket);
          from.destroy();
          onward.destroy();
        });
      }
      from.pipe(onward).pipe(from);
    });
    await new Promise<void>((resolve) => created.listen(port, "127.0.0.1", resolve));
    const address = created.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
    server = created;
  };
  const shut = async (): Promise<void> => {
    const closing = server;
    server = null;
    const closed = new Promise<void>((resolve) => (closing === null ? resolve() : closing.close(() => resolve())));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await open();
  return { port, open, shut };
}

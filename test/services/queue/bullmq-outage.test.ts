import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HeadwaterError } from "../../../contract/error.ts";
import type { RestartableServer } from "../../../lab/restartable-server.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openBullmqQueue } from "../../../services/queue/bullmq-queue.ts";
import type { AnyQueue } from "../../conformance/queue.ts";
import { redisMissing } from "../../conformance/redis-server.ts";
import { startRestartableRedis } from "../../conformance/restartable-redis.ts";
import { aTelemetryBatch } from "../../conformance/sample-messages.ts";
import { Counts, until } from "../../conformance/temporary.ts";

const prefix = "outage-test";

describe.skipIf(redisMissing !== null)("the BullMQ queue when a process dies", { timeout: 60_000 }, () => {
  let redis: RestartableServer;
  let counts: Counts;
  let queue: AnyQueue;

  beforeEach(async () => {
    redis = await startRestartableRedis();
    counts = new Counts();
    queue = await openBullmqQueue({ url: redis.url, prefix, clock: new SystemClock(), onCounted: counts.onCounted });
  });

  afterEach(async () => {
    await queue.close();
    await redis.stop();
  });

  it("hands the five messages that a killed worker held out again within 10 s, each once", async () => {
    const ids = ["1", "2", "3", "4", "5"];
    for (const id of ids) await queue.publish("telemetry", aTelemetryBatch(id));
    const script = fileURLToPath(new URL("./holding-worker.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", script, redis.url, prefix], { stdio: ["ignore", "pipe", "inherit"] });
    const held: string[] = [];
    createInterface({ input: child.stdout }).on("line", (id) => held.push(id));
    await until("the child holds all five", () => held.length === 5, 30_000);
    const got: string[] = [];
    await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 5 });
    child.kill("SIGKILL");
    await until("all five are handled again", () => got.length >= 5, 10_000);
    await queue.drain();
    expect(got.sort()).toEqual(ids);
    expect(counts.of("queue_payloads_lost")).toBe(0);
    expect(counts.of("queue_dead_letters")).toBe(0);
  });

  it("loses nothing that was acknowledged when Redis is killed under load and started again", async () => {
    const got = new Map<string, number>();
    const handler = async ({ id }: { id: string }) => {
      got.set(id, (got.get(id) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 2));
    };
    await queue.subscribe("telemetry", "ingest", handler, { concurrency: 4 });
    const acknowledged: string[] = [];
    const refusals: string[] = [];
    let isOver = false;
    const publisher = async (name: string): Promise<void> => {
      for (let n = 0; !isOver; n += 1) {
        const id = `${name}-${n}`;
        await queue.publish("telemetry", aTelemetryBatch(id, 2_000)).then(
          () => acknowledged.push(id),
          (error: HeadwaterError) => refusals.push(error.code),
        );
      }
    };
    const publishing = ["a", "b", "c"].map(publisher);
    await until("there is load", () => acknowledged.length > 100);
    await redis.kill();
    const before = acknowledged.length;
    await until("publishers are told", () => refusals.length > 3);
    await redis.restart();
    await until("there is load again", () => acknowledged.length > before + 100);
    isOver = true;
    await Promise.all(publishing);
    await until("everything acknowledged is handled", () => acknowledged.every((id) => got.has(id)), 20_000);
    expect(refusals.filter((code) => code !== "QUEUE_UNAVAILABLE" && code !== "QUEUE_FULL")).toEqual([]);
    expect(counts.of("queue_payloads_lost")).toBe(0);
    expect(counts.of("queue_dead_letters")).toBe(0);
  });

  it.each(["killed", "paused"] as const)("says so within 5 s while Redis is %s, and closes within 5 s", async (how) => {
    const address = redis.url.replace("redis://", "");
    const got: string[] = [];
    const unsubscribe = await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
    await queue.publish("telemetry", aTelemetryBatch("1"));
    await until("it has worked", () => got.length === 1);
    await queue.drain();
    if (how === "killed") await redis.kill();
    else redis.pause();
    try {
      const beganMs = performance.now();
      const failures = await Promise.all(
        [
          queue.publish("telemetry", aTelemetryBatch("2")),
          queue.depth("telemetry", "ingest"),
          queue.drain(),
          queue.deadLetters({ lettersMax: 1 }),
          queue.retryDeadLetter("telemetry.ingest.m-1"),
        ].map((step) => step.then(() => null).catch((error: HeadwaterError) => error)),
      );
      expect(performance.now() - beganMs).toBeLessThan(5_500);
      for (const error of failures) expect(error).toMatchObject({ code: "QUEUE_UNAVAILABLE", message: expect.stringContaining(address) });
      const leftMs = performance.now();
      await unsubscribe();
      await queue.close();
      expect(performance.now() - leftMs).toBeLessThan(5_500);
    } finally {
      if (how === "paused") redis.resume();
    }
  });
});

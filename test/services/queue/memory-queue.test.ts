import { spawnSync } from "node:child_process";
import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { Queue } from "../../../contract/port.ts";
import { ManualClock, SystemClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import { killedWriter } from "../../conformance/killed-writer.ts";
import { aChange, anAlert, aTelemetryBatch, aVerdictRequest } from "../../conformance/sample-messages.ts";
import { Counts, until, useTemporaryFolder } from "../../conformance/temporary.ts";

describe("the memory queue's journal", () => {
  const folder = useTemporaryFolder();
  let counts: Counts;
  let queue: Queue;
  /** Never advanced unless a test says so: first deliveries must not need it. */
  let clock: ManualClock;

  beforeEach(async () => {
    counts = new Counts();
    clock = new ManualClock(1_000);
    queue = await open();
  });

  afterEach(async () => {
    await queue.close();
  });

  function open(options: { segmentBytesMax?: number; depthBytesMax?: number } = {}): Promise<Queue> {
    return openMemoryQueue({ directory: folder.path, clock, onCounted: counts.onCounted, ...options });
  }

  async function reopen(options: { segmentBytesMax?: number; depthBytesMax?: number } = {}): Promise<void> {
    await queue.close();
    queue = await open(options);
  }

  async function segments(): Promise<string[]> {
    return (await readdir(folder.path)).filter((name) => name.startsWith("queue-")).sort();
  }

  it("hands out after SIGKILL everything that was acknowledged", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 3; round += 1) {
      const directory = join(folder.path, `round-${round}`);
      const acknowledged = await killedWriter("queue", directory, 100 + round * 200);
      const again = await openMemoryQueue({ directory, clock: new SystemClock(), onCounted: counts.onCounted });
      const got = new Map<string, number>();
      const handler = async ({ id, body }: { id: string; body: Uint8Array }) => {
        got.set(id, (got.get(id) ?? 0) + 1);
        expect(Buffer.compare(body, aTelemetryBatch(id, 1_000).body)).toBe(0);
      };
      await again.subscribe("telemetry", "ingest", handler, { concurrency: 4 });
      await again.drain();
      for (const n of acknowledged) expect(got.get(`w-${n}`), `w-${n}`).toBe(1);
      await again.close();
    }
    expect(counts.of("queue_dead_letters")).toBe(0);
  });

  it("forgets what was handled, and its files", async () => {
    await reopen({ segmentBytesMax: 2_000 });
    await queue.subscribe("telemetry", "ingest", async () => undefined, { concurrency: 1 });
    for (let n = 0; n < 50; n += 1) await queue.publish("telemetry", aTelemetryBatch(`g-${n}`, 500));
    await queue.drain();
    await until("one segment is left", async () => (await segments()).length === 1);
    await reopen();
    expect(await queue.depth("telemetry", "ingest")).toBe(0);
  });

  it("is not kept large by one message that nobody handles", async () => {
    await reopen({ segmentBytesMax: 2_000 });
    await queue.publish("verdict-request", aVerdictRequest("stuck"));
    await queue.subscribe("telemetry", "ingest", async () => undefined, { concurrency: 1 });
    for (let n = 0; n < 200; n += 1) await queue.publish("telemetry", aTelemetryBatch(`g-${n}`, 500));
    await queue.drain();
    expect((await segments()).length).toBeLessThanOrEqual(10);
    expect(counts.of("queue_journal_carried_messages")).toBeGreaterThan(0);
    await reopen();
    const got: string[] = [];
    await queue.subscribe("verdict-request", "ranking", async ({ id }) => void got.push(id), { concurrency: 1 });
    await queue.drain();
    expect(got).toEqual(["stuck"]);
  });

  it("cuts off a torn tail, counts it, and keeps what was before it", async () => {
    await queue.publish("change", aChange("1"));
    await queue.close();
    const path = join(folder.path, (await segments()).at(-1) ?? "");
    const whole = await readFile(path);
    await appendFile(path, whole.subarray(8, whole.length - 3));
    queue = await open();
    expect(counts.of("queue_journal_torn_bytes")).toBe(whole.length - 11);
    expect((await stat(path)).size).toBe(whole.length);
    const got: string[] = [];
    await queue.subscribe("change", "incident", async ({ id }) => void got.push(id), { concurrency: 1 });
    await queue.drain();
    expect(got).toEqual(["1"]);
  });

  it("sets a file aside that is not one of its own, and goes on", async () => {
    await queue.close();
    await writeFile(join(folder.path, "queue-0000000000.journal"), "something else, and long");
    queue = await open();
    expect(await readdir(folder.path)).toContain("queue-0000000000.journal.damaged");
    await queue.publish("change", aChange("1"));
  });

  it("refuses to start on files of a newer version, and says what to do", async () => {
    await queue.close();
    await writeFile(join(folder.path, "queue-0000000099.journal"), Uint8Array.of(0x48, 0x57, 0x46, 0x52, 0, 0, 0, 9));
    await expect(open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("newer") });
  });

  it("refuses at the bound on bytes as at the bound on messages", async () => {
    await reopen({ depthBytesMax: 1_000 });
    await queue.publish("telemetry", aTelemetryBatch("g-1", 900));
    await expect(queue.publish("telemetry", aTelemetryBatch("g-2", 200))).rejects.toMatchObject({ code: "QUEUE_FULL" });
    await queue.publish("telemetry", aTelemetryBatch("g-3", 100));
    expect(counts.of("queue_refused")).toBe(1);
  });

  it("retries after 100, 200, 400 and 800 ms of the given clock", async () => {
    const attemptsAtMs: number[] = [];
    const handler = async () => {
      attemptsAtMs.push(clock.nowMs());
      throw new HeadwaterError("STORE_UNAVAILABLE", "away");
    };
    await queue.subscribe("alert", "incident", handler, { concurrency: 1 });
    await queue.publish("alert", anAlert("a"));
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      await until("the attempt has failed", () => counts.of("queue_retried") === attempt);
      clock.advanceTo(clock.nowMs() + 100 * 2 ** (attempt - 1));
    }
    await queue.drain();
    expect(attemptsAtMs).toEqual([1_000, 1_100, 1_300, 1_700, 2_500]);
  });

  it("keeps dead letters with their cause over restarts, the newest thousand at most", async () => {
    const handler = async ({ id }: { id: string }) => {
      throw new HeadwaterError("REQUEST_INVALID", `cannot handle ${id}`);
    };
    await queue.subscribe("telemetry", "ingest", handler, { concurrency: 8 });
    for (let n = 0; n < 1_600; n += 1) {
      await queue.publish("telemetry", aTelemetryBatch(`g-${n}`));
      if (n % 500 === 0) await queue.drain();
    }
    await queue.drain();
    const letters = await queue.deadLetters({ lettersMax: 2_000 });
    expect(letters.length).toBeGreaterThan(500);
    expect(letters.length).toBeLessThanOrEqual(1_000);
    expect(counts.of("queue_dead_letters_trimmed")).toBe(1_600 - letters.length);
    const newest = letters.find(({ message }) => message === "cannot handle g-1599");
    expect(newest).toMatchObject({ topic: "telemetry", reader: "ingest", code: "REQUEST_INVALID", attempts: 1, atMs: 1_000, bodyBytes: 8 });
    await reopen();
    expect(await queue.deadLetters({ lettersMax: 2_000 })).toEqual(letters);
    expect(counts.of("queue_dead_letters")).toBe(1_600);
    const got: unknown[] = [];
    await queue.subscribe("telemetry", "ingest", async (batch) => void got.push(batch), { concurrency: 1 });
    await queue.retryDeadLetter(newest?.id ?? "");
    await queue.drain();
    expect(got).toEqual([aTelemetryBatch("g-1599")]);
    await reopen();
    expect(await queue.deadLetters({ lettersMax: 2_000 })).toHaveLength(letters.length - 1);
  });

  it("hands a dead letter out again after a restart that came before anybody took it", async () => {
    const unsubscribe = await queue.subscribe(
      "change",
      "incident",
      async () => {
        throw new HeadwaterError("REQUEST_INVALID", "never");
      },
      { concurrency: 1 },
    );
    await queue.publish("change", aChange("c"));
    await queue.drain();
    await unsubscribe();
    const [letter] = await queue.deadLetters({ lettersMax: 10 });
    await queue.retryDeadLetter(letter?.id ?? "");
    await reopen();
    expect(await queue.deadLetters({ lettersMax: 10 })).toEqual([]);
    const got: string[] = [];
    await queue.subscribe("change", "incident", async ({ id }) => void got.push(id), { concurrency: 1 });
    await queue.drain();
    expect(got).toEqual(["c"]);
  });

  it("stops the process on a programmer error in a handler, but not again on the same message", { timeout: 60_000 }, async () => {
    await queue.publish("change", aChange("fatal"));
    await queue.publish("change", aChange("fine"));
    await queue.close();
    const script = fileURLToPath(new URL("./failing-handler.ts", import.meta.url));
    const run = () => spawnSync(process.execPath, ["--import", "tsx", script, folder.path], { encoding: "utf8", timeout: 30_000 });
    const first = run();
    expect(first.status).not.toBe(0);
    expect(first.stderr).toContain("InvariantError");
    const second = run();
    expect(second.stdout).toContain("drained");
    expect(second.status).toBe(0);
    queue = await open();
    const letters = await queue.deadLetters({ lettersMax: 10 });
    expect(letters.map(({ json }) => (json as { id: string }).id)).toEqual(["fatal"]);
  });
});

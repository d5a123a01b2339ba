import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { endHeadwater, eventually, type RunningHeadwater, startHeadwater, writeConfig } from "./headwater-process.ts";
import { sendTraces, traceBody } from "./otlp-json.ts";
import { storedSpans } from "./stored-spans.ts";

const rounds = 10;
const spanCount = 7;

/** Sends batches one after another, each from a service of its own, until the process is killed at a random moment. */
async function sendUntilKilled(running: RunningHeadwater, round: number, acknowledged: Set<string>, sent: Set<string>): Promise<void> {
  const killed = new Promise<void>((resolve) => setTimeout(resolve, 200 + Math.random() * 900)).then(() =>
    endHeadwater(running, "SIGKILL"),
  );
  for (let batch = 0; running.child.signalCode === null && batch < 60; batch += 1) {
    const service = `round${round}-batch${batch}`;
    sent.add(service);
    if (await sendTraces(running.otlpUrl, traceBody({ service, spanCount, endMs: Date.now() }))) acknowledged.add(service);
  }
  await killed;
}

it("counts every acknowledged span exactly once after ten SIGKILLs at random moments under load", { timeout: 240_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "headwater-sigkill-"));
  const configFile = writeConfig(directory);
  let running: RunningHeadwater | null = null;
  onTestFinished(async () => {
    if (running !== null) await endHeadwater(running, "SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  const startedMs = Date.now() - 1_000;
  const acknowledged = new Set<string>();
  const sent = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    running = await startHeadwater(configFile);
    await sendUntilKilled(running, round, acknowledged, sent);
  }
  expect(acknowledged.size).toBeGreaterThan(rounds);
  const last = await startHeadwater(configFile);
  running = last;
  // A mover keeps event time going, so that the windows of the last round close.
  const lastAcknowledged = [...acknowledged].at(-1) ?? "";
  await eventually(
    async () => {
      await sendTraces(last.otlpUrl, traceBody({ service: "mover", spanCount: 1, endMs: Date.now() }));
      return await storedSpans(last, lastAcknowledged, startedMs);
    },
    (count) => count !== null,
    `the windows of ${lastAcknowledged} close`,
  );
  const stored = new Map<string, number | null>();
  for (const service of sent) stored.set(service, await storedSpans(last, service, startedMs));
  expect([...acknowledged].filter((service) => stored.get(service) !== spanCount)).toEqual([]);
  // What was sent and not acknowledged may be there, but then whole.
  expect([...sent].filter((service) => ![null, spanCount].includes(stored.get(service) ?? null))).toEqual([]);
});

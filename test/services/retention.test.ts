import { expect, it } from "vitest";
import type { TelemetryStore } from "../../contract/port.ts";
import { createMetrics, ManualClock, type Platform } from "../../services/platform.ts";
import { startRetention } from "../../services/retention.ts";

const hourMs = 3_600_000;
const quiet = (): void => undefined;

function platformOf(clock: ManualClock, warnings: string[]): Platform {
  const logger = { debug: quiet, info: quiet, error: quiet, warn: (fields: object) => void warnings.push(JSON.stringify(fields)) };
  return { clock, logger, metrics: createMetrics(), random: () => 0.5 };
}

/** A store of which only `retain` is asked. */
function storeOf(retain: (nowMs: number) => Promise<string[]>): TelemetryStore {
  return { retain } as TelemetryStore;
}

async function rest(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

it("looks for old telemetry at start and every hour, and no more once stopped", async () => {
  const clock = new ManualClock(1_000);
  const asked: number[] = [];
  const stop = startRetention(
    storeOf(async (nowMs) => {
      asked.push(nowMs);
      return [];
    }),
    platformOf(clock, []),
  );
  await rest();
  clock.advanceTo(1_000 + hourMs);
  await rest();
  clock.advanceTo(1_000 + 2 * hourMs);
  await rest();
  expect(asked).toEqual([1_000, 1_000 + hourMs, 1_000 + 2 * hourMs]);
  await stop();
  clock.advanceTo(1_000 + 9 * hourMs);
  await rest();
  expect(asked).toHaveLength(3);
});

it("says so when it fails, and tries again an hour later", async () => {
  const clock = new ManualClock(0);
  const warnings: string[] = [];
  let looks = 0;
  const stop = startRetention(
    storeOf(async () => {
      looks += 1;
      if (looks === 1) throw new Error("the disk is read-only");
      return ["metrics-1.duckdb"];
    }),
    platformOf(clock, warnings),
  );
  await rest();
  expect(warnings).toEqual([JSON.stringify({ reason: "the disk is read-only" })]);
  clock.advanceTo(hourMs);
  await rest();
  expect(looks).toBe(2);
  expect(warnings).toHaveLength(1);
  await stop();
});

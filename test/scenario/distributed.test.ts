import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { DistributedPlatform } from "../../services/command/distributed-platform.ts";
import { readRecording } from "../../services/command/recording.ts";
import { replay } from "../../services/command/replay.ts";
import { SystemClock } from "../../services/platform.ts";
import type { Role } from "../../services/role.ts";
import { openPostgresEventStore } from "../../store/postgres/postgres-event-store.ts";
import { replayDistributed } from "./distributed-replay.ts";
import { eventually } from "./headwater-process.ts";
import { type Replayed, replayedIn } from "./recorded-verdicts.ts";
import { serversMissing } from "./servers-missing.ts";

const fixtures = join(import.meta.dirname, "../fixture");
const [first = "", second = ""] = readdirSync(fixtures)
  .filter((name) => name.endsWith(".br"))
  .sort();

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "headwater-distributed-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function embedded(name: string): Promise<Replayed> {
  const app = await replay({
    recording: readRecording(join(fixtures, name)),
    dataDirectory: join(temporaryDirectory(), "data"),
    webDirectory: null,
  });
  try {
    return await replayedIn(app.ports.events);
  } finally {
    await app.stop();
  }
}

/** On real servers, every role a process of its own but the gateway, which is fed here on an injected clock. */
async function distributed(name: string, options: { processCount: Partial<Record<Role, number>>; verdicts: number }): Promise<Replayed> {
  const processCount = { ...options.processCount, gateway: 0 };
  const platform = await DistributedPlatform.start({ directory: temporaryDirectory(), say: () => undefined, processCount });
  onTestFinished(() => platform.stop());
  await replayDistributed(readRecording(join(fixtures, name)), platform.configFile);
  const clock = new SystemClock();
  const events = await openPostgresEventStore({ url: platform.urls.postgres, clock, onCounted: () => undefined });
  try {
    return await eventually(
      () => {
        platform.check();
        return replayedIn(events);
      },
      ({ sealed }) => sealed.length >= options.verdicts,
      `${options.verdicts} verdicts are there`,
    );
  } finally {
    await events.close();
  }
}

if (serversMissing !== null) console.warn(`the distributed form is not tested: ${serversMissing}`);

describe.skipIf(serversMissing !== null)("a recorded lab stream gives the same bytes embedded and distributed", () => {
  const forms: [string, string, Partial<Record<Role, number>>][] = [
    [first, "one process for each role", {}],
    [second, "two ingest and two detection processes", { ingest: 2, detection: 2 }],
  ];
  for (const [name, form, processCount] of forms) {
    it(`${name}, ${form}`, { timeout: 180_000 }, async () => {
      const expected = await embedded(name);
      expect(expected.sealed.length).toBeGreaterThan(0);
      const found = await distributed(name, { processCount, verdicts: expected.sealed.length });
      expect(found.bytes).toBe(expected.bytes);
    });
  }
});

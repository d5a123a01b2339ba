/** What a power failure of Redis under appendfsync everysec takes with it: the end of what it wrote. */
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { createClient } from "../../client/client.ts";
import { type Config, parseConfig } from "../../config/config.ts";
import { App } from "../../services/app.ts";
import { labSpec } from "../../services/command/lab-config.ts";
import { createPlatform } from "../../services/platform.ts";
import type { Role } from "../../services/role.ts";
import { redisMissing } from "../conformance/redis-server.ts";
import { type RestartableRedis, startRestartableRedis } from "../conformance/restartable-redis.ts";
import { eventually } from "./headwater-process.ts";
import { Load, StoredLoad } from "./load.ts";

/** What was written for so long before the kill is taken away. */
const cutMs = 600;
/** With everysec, Redis answers before it writes when its disk is slow, for up to 2 s. */
const unwrittenMs = 2_000;
/** How long an answer may be on its way from Redis through a gateway to whoever sent the batch. */
const arrivedMs = 300;
const full = process.env.HEADWATER_TEST_FULL === "yes";
const kills = full ? 12 : 2;

/** Longer than whatever is still under way takes. */
const settledMs = 2_000;

const cleanups: (() => Promise<void> | void)[] = [];
afterAll(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
}, 60_000);

async function startApp(config: Config, name: string, roles?: readonly Role[]): Promise<App> {
  const platform = createPlatform({ level: "silent" });
  const gatewayId = `lost-tail-${name}`;
  const app = await App.start({ config, platform, gatewayId, webDirectory: null, ...(roles === undefined ? {} : { roles }) });
  cleanups.push(() => app.stop());
  return app;
}

/** The newest file that Redis appends to. */
function appendOnlyFile({ folder }: RestartableRedis): string {
  const directory = join(folder, "appendonlydir");
  const numberOf = (name: string): number => Number(/\.(\d+)\.incr\.aof$/.exec(name)?.[1] ?? -1);
  const [newest = ""] = readdirSync(directory).sort((left, right) => numberOf(right) - numberOf(left));
  expect(numberOf(newest)).toBeGreaterThan(0);
  return join(directory, newest);
}

/** Kills Redis, takes away what it wrote in the last moments, within a command, and starts it again. Answers when it was killed. */
async function loseTail(redis: RestartableRedis): Promise<number> {
  const file = appendOnlyFile(redis);
  const keptBytes = statSync(file).size + Math.floor(Math.random() * 300);
  await pause(cutMs);
  await redis.kill();
  // What was answered before has arrived by now, so that nothing acknowledged later may be missing.
  await pause(arrivedMs);
  const killedMs = Date.now();
  expect(statSync(file).size).toBeGreaterThan(keptBytes);
  truncateSync(file, keptBytes);
  await redis.restart();
  return killedMs;
}

if (redisMissing !== null) console.warn(`a lost tail of Redis is not tested: ${redisMissing}`);

it.skipIf(redisMissing !== null)(
  "stores each batch once or not at all after Redis lost its tail, and the first screen says how many acknowledged ones are missing",
  { timeout: full ? 400_000 : 90_000 },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "headwater-lost-tail-"));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const redis = await startRestartableRedis({ fsync: "everysec" });
    cleanups.push(() => redis.stop());
    const config = parseConfig({ ...labSpec(directory), health: { port: 0 }, urls: { queue: redis.url } });
    const whole = await startApp(config, "whole");
    const gateway = await startApp(config, "gateway", ["gateway"]);
    await startApp(config, "ingest", ["ingest"]);
    const apiUrl = whole.addresses.api ?? "";
    const senders = [whole, gateway].flatMap(({ addresses }, app) =>
      [0, 1].map((sender) => ({ otlpUrl: addresses.gateway ?? "", source: `sender-${app}-${sender}` })),
    );
    const load = new Load({ name: "tail", senders });
    cleanups.push(() => load.end());
    const stored = new StoredLoad(load, apiUrl);
    await stored.worksAgain("before anything is lost");
    const killedMs: number[] = [];
    for (let kill = 0; kill < kills; kill += 1) {
      killedMs.push(await loseTail(redis));
      await stored.worksAgain("after Redis lost its tail");
    }
    // Longer than a gap is waited for.
    await pause(config.window.sourceSilentMs + config.window.windowMs);
    await load.end();

    const told = async () => {
      const { troubles } = await createClient({ baseUrl: apiUrl }).call("overview", {});
      const trouble = troubles.find(({ id }) => id === "lost-batches") ?? null;
      return { trouble, missing: await stored.missing() };
    };
    const { trouble, missing } = await eventually(
      told,
      (answer) => answer.missing.length > 0 && answer.trouble?.sentence === sentenceOf(answer.missing.length),
      "as many batches are told to be lost as are missing",
    );
    // And it stays so: nothing that was told comes after all, and nothing more is found.
    await pause(settledMs);
    expect((await told()).trouble?.sentence).toBe(sentenceOf(missing.length));
    expect(await stored.missing()).toEqual(missing);
    stored.expectWhole();
    const unexplained = missing.flatMap((service) => {
      const atMs = load.acknowledged.get(service) ?? 0;
      if (killedMs.some((killed) => atMs <= killed && atMs > killed - arrivedMs - cutMs - unwrittenMs)) return [];
      return [`${service}, acknowledged so long before each kill, in ms: ${killedMs.map((killed) => killed - atMs).join(", ")}`];
    });
    expect(unexplained).toEqual([]);
    expect(trouble).toMatchObject({ weight: "weakened", sinceMs: expect.any(Number) });
    expect(trouble?.meaning).toContain("appendfsync everysec");
    expect(trouble?.details.length).toBeGreaterThanOrEqual(2);
    for (const detail of trouble?.details ?? [])
      expect(detail).toMatch(/^\d+ acknowledged batch(es)? of the gateway on .+ \(pid \d+\), found at [\d:]+ UTC$/);
    console.info(`${load.acknowledged.size} batches were acknowledged, ${missing.length} lost; ${trouble?.details.join("; ")}`);
  },
);

function sentenceOf(count: number): string {
  return count === 1 ? "1 acknowledged batch was lost." : `${count} acknowledged batches were lost.`;
}

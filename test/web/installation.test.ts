/** The first screen of a real page when something is wrong with Headwater itself. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Presence } from "../../contract/port.ts";
import type { StageName } from "../../contract/topic.ts";
import { startRedis } from "../../scripts/servers.ts";
import { flowRoles } from "../../services/api/role-words.ts";
import { SystemClock } from "../../services/platform.ts";
import { createAnnouncer } from "../../services/presence/announcer.ts";
import { openMemoryPresence } from "../../services/presence/memory-presence.ts";
import { openRedisPresence } from "../../services/presence/redis-presence.ts";
import { redisMissing } from "../conformance/redis-server.ts";
import { aStatus } from "../conformance/sample-process.ts";
import { awayPort } from "../services/api/fixture/away.ts";
import { openShop, type Shop, type ShopOptions } from "../services/api/fixture/shop.ts";
import { sceneOf, writeGraph, writeTelemetry } from "../services/api/fixture/telemetry.ts";
import { buildPage, launch, noBrowser, type Watched, watch } from "./browser.ts";

const missing = noBrowser ?? redisMissing;
if (missing !== null) console.warn(`skipped: what the page tells of the installation, because ${missing}`);

const clock = new SystemClock();
const prefix = "page";

describe.skipIf(missing !== null)("the first screen when something is wrong with Headwater itself", () => {
  let browser: Browser;
  let built: Awaited<ReturnType<typeof buildPage>>;
  const cleanups: (() => Promise<void> | void)[] = [];
  beforeAll(async () => {
    [built, browser] = await Promise.all([buildPage(), launch()]);
  });
  afterAll(async () => {
    await browser?.close();
    await built?.remove();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function open(options: ShopOptions): Promise<Shop> {
    const shop = await openShop({ webDirectory: built.directory, ...options });
    cleanups.push(() => shop.close());
    const scene = sceneOf();
    await writeGraph(shop, scene);
    await writeTelemetry(shop, scene);
    return shop;
  }

  async function visit(shop: Shop, options: Parameters<typeof watch>[2] = {}): Promise<Watched> {
    const watched = await watch(browser, shop.api.url(), options);
    cleanups.push(() => watched.close());
    await watched.page.goto("/");
    return watched;
  }

  async function announce(presence: Presence, roles: readonly StageName[], host = "host-a"): Promise<void> {
    const announcer = createAnnouncer({
      presence,
      clock,
      status: () => aStatus(roles.join("-"), { roles, host }),
      onError: () => undefined,
    });
    cleanups.push(() => announcer.stop());
    await announcer.start();
  }

  /** A process of its own that has one role. */
  async function spawnRole(url: string, role: StageName): Promise<ChildProcess> {
    const script = fileURLToPath(new URL("../conformance/announcing-process.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", script, url, prefix, role], { stdio: ["ignore", "ignore", "inherit"] });
    cleanups.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    });
    return child;
  }

  test("of eight roles two are killed and one is paused: within 15 s it says which, what that means and what to do", async () => {
    const server = await startRedis();
    cleanups.push(() => server.stop());
    const presence = await openRedisPresence({ url: server.url, prefix, clock, onCounted: () => undefined });
    cleanups.push(() => presence.close());
    const silenced = ["ingest", "ranking", "store"] as const;
    const children = await Promise.all(silenced.map((role) => spawnRole(server.url, role)));
    for (const role of flowRoles) if (!silenced.some((other) => other === role)) await announce(presence, [role]);
    const shop = await open({ presence });
    const { page, troubles } = await visit(shop);
    await page.getByText("8 processes, all ready").waitFor({ timeout: 20_000 });
    await page.getByText("Nothing is burning.").waitFor();
    expect(await page.locator(".trouble").count()).toBe(0);

    const beganMs = Date.now();
    children[0]?.kill("SIGKILL");
    children[1]?.kill("SIGKILL");
    children[2]?.kill("SIGSTOP");
    for (const role of silenced) await page.getByText(`No ${role} process answers.`).waitFor({ timeout: 15_000 });
    expect(Date.now() - beganMs).toBeLessThan(15_000);
    await page.getByText("8 processes: 5 ready, 3 not answering").waitFor();
    const told = (await page.locator(".troubles").first().textContent()) ?? "";
    expect(told).toContain("Accepted telemetry waits in the queue and is not lost");
    expect(told).toContain("Killed or paused, which look alike from here");
    expect(told).toContain(`kill -CONT ${children[2]?.pid} || headwater start --role store --config headwater.yaml`);
    expect(await page.getByRole("row", { name: /ranking/ }).textContent()).toContain("not answering");
    // A part that would see a fire does not work, so nobody is told that there is none.
    await page.getByText("No incident is open.").waitFor();
    expect(await page.title()).toBe("3 not working · Headwater");

    children[2]?.kill("SIGCONT");
    await page.getByText("No store process answers.").waitFor({ state: "detached", timeout: 10_000 });
    expect(troubles).toEqual([]);
  }, 60_000);

  test("embedded it looks as before, with one quiet line about its process", async () => {
    const presence = await openMemoryPresence({ clock, onCounted: () => undefined });
    await announce(presence, flowRoles, "shop-host");
    const shop = await open({ presence });
    const { page, troubles } = await visit(shop);
    await page.getByText("Nothing is burning.").waitFor();
    await page.getByText("One process does all of it: shop-host, pid 4242, version 0.1.0.").waitFor();
    expect(await page.locator(".trouble, .processes").count()).toBe(0);
    expect(await page.locator("main > :nth-child(2)").getAttribute("class")).toBe("figures");
    expect(troubles).toEqual([]);
  });

  test("while Redis and a store are away it says so, shows what it knows, and is itself again afterwards", async () => {
    const inner = await openMemoryPresence({ clock, onCounted: () => undefined });
    const redis = awayPort<Presence>(inner, "QUEUE_UNAVAILABLE", "Redis at redis://10.0.0.5:6379");
    for (const role of flowRoles) await announce(redis.port, [role]);
    let graph: ReturnType<typeof awayPort> | null = null;
    const shop = await open({
      presence: redis.port,
      wrap: (stores) => {
        const gate = awayPort(stores.graph, "GRAPH_UNAVAILABLE", "Neo4j at bolt://10.0.0.7:7687");
        graph = gate;
        return { ...stores, graph: gate.port };
      },
    });
    const { page, troubles } = await visit(shop, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
    await page.getByText("8 processes, all ready").waitFor();
    await page.getByRole("row", { name: /checkout/ }).waitFor();
    redis.become("refused");
    graph!.become("refused");
    await page.getByText("The queue cannot be reached.").waitFor();
    await page.getByText("The graph cannot be reached.").waitFor();
    await page.getByText("Neo4j at bolt://10.0.0.7:7687 cannot be reached").waitFor();
    await page.getByText("8 processes; how they are is not known").waitFor();
    // What was read before stays.
    await page.getByRole("row", { name: /checkout/ }).waitFor();
    await page.getByRole("button", { name: /8 processes/ }).click();
    await page.getByRole("row", { name: /gateway/ }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    redis.become("here");
    graph!.become("here");
    await page.getByText("8 processes, all ready").waitFor();
    await page.locator(".trouble").first().waitFor({ state: "detached" });
    expect(troubles).toEqual([]);
  }, 30_000);

  test("when its own API is gone, the page says that too, and until when what it shows is", async () => {
    const shop = await open({});
    const { page } = await visit(shop);
    await page.getByText("● live").waitFor();
    await shop.api.stop();
    await page.getByText("The API of Headwater does not answer.").waitFor();
    await page.getByText("What is below is as it was then.").waitFor();
    await page.getByRole("row", { name: /checkout/ }).waitFor();
  });

  test("with stores that were never read it does not say that nothing arrives", async () => {
    const shop = await openShop({
      webDirectory: built.directory,
      wrap: (stores) => {
        const gates = [
          awayPort(stores.graph, "GRAPH_UNAVAILABLE", "Neo4j at bolt://10.0.0.7:7687"),
          awayPort(stores.telemetry, "STORE_UNAVAILABLE", "the store at http://10.0.0.8:4319"),
        ] as const;
        for (const gate of gates) gate.become("refused");
        return { ...stores, graph: gates[0].port, telemetry: gates[1].port };
      },
    });
    cleanups.push(() => shop.close());
    const { page } = await visit(shop);
    await page.getByText("What arrives is not known yet.").waitFor();
    expect(await page.getByText("Nothing arrives yet.").count()).toBe(0);
  });
});

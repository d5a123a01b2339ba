import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { verdictOf, writeChanges, writeIncident } from "../services/api/fixture/incident.ts";
import { openShop, otlpUrl, type Shop, type ShopOptions } from "../services/api/fixture/shop.ts";
import {
  type Names,
  plainNames,
  type Scene,
  sceneOf,
  shapesOf,
  syscallShapesOf,
  writeGraph,
  writeTelemetry,
} from "../services/api/fixture/telemetry.ts";
import { buildPage, launch, noBrowser, type Watched, watch } from "./browser.ts";

if (noBrowser !== null) console.warn(`skipped: the page's tests, because ${noBrowser}`);

let browser: Browser;
let built: Awaited<ReturnType<typeof buildPage>>;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  built = await buildPage();
});
afterAll(() => built?.remove());

describe.skipIf(noBrowser !== null)("the page in a real browser", () => {
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function open(options: ShopOptions = {}): Promise<Shop> {
    const shop = await openShop({ webDirectory: built.directory, ...options });
    cleanups.push(() => shop.close());
    return shop;
  }

  async function visit(shop: Shop, address: string, options: Parameters<typeof watch>[2] = {}): Promise<Watched> {
    const watched = await watch(browser, shop.api.url(), options);
    cleanups.push(() => watched.close());
    await watched.page.goto(address);
    return watched;
  }

  async function furnish(shop: Shop, names: Names = plainNames): Promise<Scene> {
    const scene = sceneOf(names);
    await writeGraph(shop, scene);
    await writeTelemetry(shop, scene);
    return scene;
  }

  test("with nothing connected it says what brings telemetry, and where to", async () => {
    const shop = await open();
    const { page, troubles } = await visit(shop, "/");
    await page.getByText("Nothing arrives yet.").waitFor();
    const text = await page.locator("main").textContent();
    for (const part of [`OTEL_EXPORTER_OTLP_ENDPOINT=${otlpUrl}`, `curl -i ${otlpUrl}/v1/traces`, "npm run demo"])
      expect(text).toContain(part);
    await page.getByText("● live").waitFor();
    for (const [address, words] of [
      ["/incidents", "No incidents."],
      ["/map", "The map is empty at this moment."],
      ["/changes", "No change was announced yet."],
    ] as const) {
      await page.goto(address);
      await page.getByText(words).waitFor();
    }
    expect(troubles).toEqual([]);
  });

  test("with telemetry and no incident it says who sends what, until when it learns, and what is not linked", async () => {
    const shop = await open();
    await furnish(shop);
    const { page, troubles } = await visit(shop, "/");
    await page.getByText("Nothing is burning.").waitFor();
    const row = page.getByRole("row", { name: /checkout/ });
    expect(await row.textContent()).toMatch(/12 \/s\s*13 %\s*1\.11 s\s*1 → 2\s*known for 2 series/);
    expect(await page.getByRole("row", { name: /night-batch/ }).textContent()).toContain("learning 1 of 1 until");
    expect(await page.locator(".unlinked").textContent()).toContain("No requests are seen");
    await page.getByPlaceholder("Search services").fill("pay");
    await page.getByRole("row", { name: /checkout/ }).waitFor({ state: "detached" });
    await page.getByRole("link", { name: "payment", exact: true }).click();
    await page.waitForURL("**/services/payment");
    await page.locator(".chart canvas").nth(3).waitFor();
    await page.getByRole("link", { name: "spans" }).click();
    await page.getByText("PoolTimeoutError").first().waitFor();
    await page.getByRole("link", { name: "log lines" }).click();
    await page.getByText("timed out after 2000 ms").first().waitFor();
    await page.goBack();
    await page.getByText("PoolTimeoutError").first().waitFor();
    expect(troubles).toEqual([]);
  });

  test("a service shows how often it makes each system call, the most frequent first, and what would tell where nobody does", async () => {
    const shop = await open();
    const scene = sceneOf();
    await writeGraph(shop, scene);
    await writeTelemetry(shop, scene, [...shapesOf(scene), ...syscallShapesOf(scene)]);
    const { page, troubles } = await visit(shop, "/services/payment");
    await page.getByRole("link", { name: "system calls" }).click();
    await page.waitForURL("**/services/payment?show=syscalls");
    await page.locator(".chart canvas").nth(2).waitFor();
    expect(await page.locator(".caption-name").allTextContents()).toEqual(["epoll_wait", "futex", "openat"]);
    expect(await page.locator(".chart").nth(1).getAttribute("aria-label")).toMatch(
      /^futex\. Between [\d.]+ \/s and [\d.]+ \/s, last 9\d\d \/s/,
    );
    await page.goto("/services/catalog?show=syscalls");
    await page.getByText("No system calls in this range.").waitFor();
    expect(troubles).toEqual([]);
  });

  test("an incident shows the cause first, then its evidence, and can be acknowledged and resolved", async () => {
    const shop = await open();
    const scene = await furnish(shop);
    await writeChanges(shop, scene);
    await writeIncident(shop, scene, { id: "inc-a", number: 42, verdicts: 2 });
    const { page, troubles } = await visit(shop, "/");
    await page.getByRole("link", { name: /INC-42/ }).click();
    await page.getByRole("heading", { level: 1, name: "payment waits for database connections" }).waitFor();
    expect(await page.locator(".who").textContent()).toBe("storefront: 12 % of requests failing");
    await page.locator(".evidence .chart canvas").first().waitFor();
    await page.getByText("Nothing is known of the kernel on host-a.").waitFor();
    expect(await page.locator(".drawing").textContent()).toMatch(
      /payment[\s\S]*cause[\s\S]*checkout[\s\S]*critical failure[\s\S]*storefront[\s\S]*impact/,
    );
    await page.getByText("catalog 1.4.2 → 1.4.3", { exact: true }).waitFor();
    expect(await page.locator(".change-mark").count()).toBeGreaterThan(0);

    await page.getByRole("textbox", { name: "as" }).fill("ann");
    await page.getByRole("button", { name: "Acknowledge" }).click();
    await page.getByText("ann is on it").waitFor();
    await page.getByRole("button", { name: "Resolve" }).click();
    await page.getByRole("button", { name: "Yes, resolve" }).click();
    await page.getByText("Nothing to do: it is resolved.").waitFor();
    const types = (await shop.events.read("incident/inc-a")).map((event) => (event.data as { type: string }).type);
    expect(types.slice(-2)).toEqual(["acknowledged", "resolved"]);
    await page.getByRole("link", { name: "HTML" }).click();
    await page.waitForURL("**/report.html");
    expect(await page.locator("body").textContent()).toContain("payment waits for database connections");
    expect(troubles).toEqual([]);
  });

  test("it is live: a new incident and a new verdict appear by themselves, and a lost connection is visible", async () => {
    const shop = await open();
    const scene = await furnish(shop);
    const { page, troubles } = await visit(shop, "/");
    await page.getByText("● live").waitFor();
    await writeIncident(shop, scene, { id: "inc-a", number: 7, verdicts: 0 });
    await page.getByRole("link", { name: /INC-7/ }).click();
    await page.getByText("No verdict yet.").waitFor();
    const verdict = verdictOf(scene, "inc-a", 1);
    const operational = { rankedInMs: 1, gatheredInMs: 1, answeredAtMs: scene.endMs };
    await shop.events.append("incident/inc-a", [{ type: "verdict-added", atMs: scene.endMs, actor: null, verdict, operational }], {
      expectedSequence: 2,
    });
    await page.getByRole("heading", { level: 1, name: "payment waits for database connections" }).waitFor();
    // Its evidence was never written here: that is said, and the rest of the screen stands.
    await page.getByText("The evidence could not be read.").waitFor();
    await page.getByText("Versions of the verdict").waitFor();
    expect(troubles.filter((trouble) => !trouble.includes("404"))).toEqual([]);
    await shop.api.stop();
    await page.getByText("reconnecting …").waitFor();
  });

  test("the keys move through lists, open, acknowledge, search and help", async () => {
    const shop = await open();
    const scene = await furnish(shop);
    await writeIncident(shop, scene, { id: "inc-a", number: 1, verdicts: 1 });
    await writeIncident(shop, scene, { id: "inc-b", number: 2, verdicts: 1 });
    const { page, troubles } = await visit(shop, "/incidents");
    await page.getByRole("link", { name: /INC-1/ }).waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.keyboard.press("/");
    await page.keyboard.type("inc-1");
    await page.getByRole("link", { name: /INC-2/ }).waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/incidents/inc-a");
    await page.getByRole("button", { name: "Acknowledge" }).waitFor();
    await page.keyboard.press("a");
    await page.getByText("on-call is on it").waitFor();
    expect(troubles).toEqual([]);
  });

  test("names from telemetry are text, however they look, and long ones do not widen the page", async () => {
    const shop = await open();
    const hostile = `<img src=x onerror="document.title='owned'">`.padEnd(200, "<b>x</b>");
    const scene = await furnish(shop, { ...plainNames, payment: hostile, checkout: "c".repeat(200) });
    await writeChanges(shop, scene);
    await writeIncident(shop, scene, { id: "inc-a", number: 1, verdicts: 2 });
    const { page, troubles } = await visit(shop, "/", { viewport: { width: 360, height: 740 } });
    const addresses = ["/", "/incidents", "/incidents/inc-a", `/services/${encodeURIComponent(hostile)}`, "/map", "/changes"];
    for (const address of addresses) {
      await page.goto(address);
      await page.locator("main h1").waitFor();
      await page.waitForFunction(() => document.querySelector(".waiting") === null);
      expect(await page.locator("main img, main b").count(), address).toBe(0);
      expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), address).toBeLessThanOrEqual(0);
    }
    await page.goto(addresses[3]!);
    expect(await page.locator("h1").textContent()).toBe(hostile);
    expect(await page.title()).not.toBe("owned");
    expect(troubles).toEqual([]);
  });

  test("the map loads its drawing when it is opened, within the page's policy", async () => {
    const shop = await open();
    const scene = await furnish(shop);
    const { page, troubles } = await visit(shop, "/");
    const scripts: string[] = [];
    page.on("request", (request) => scripts.push(request.url()));
    await page.getByRole("link", { name: "Map" }).click();
    await page.locator(".map canvas").first().waitFor();
    expect(scripts.some((url) => url.includes("cytoscape"))).toBe(true);
    await page.goto(`/map?at=${scene.startMs - 1}`);
    await page.getByText("The map is empty at this moment.").waitFor();
    await page.goto(`/map?since=${scene.startMs - 1}`);
    await page.getByText("+ checkout → payment (grpc)").waitFor();
    expect(troubles).toEqual([]);
  });

  test("where the API wants a token the page asks for one and goes on", async () => {
    const token = "a-viewer-token-0123456789";
    const shop = await open({ tokens: [{ token, roles: ["viewer"] }] });
    const scene = await furnish(shop);
    await writeIncident(shop, scene, { id: "inc-a", number: 1, verdicts: 1 });
    const { page } = await visit(shop, "/incidents/inc-a");
    await page.getByText("A token is needed").waitFor();
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByRole("heading", { level: 1, name: "payment waits for database connections" }).waitFor();
    await page.getByText("● live").waitFor();
    await page.getByRole("button", { name: "Acknowledge" }).click();
    await page.getByRole("alert").getByText('This needs the role "responder"').waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Markdown" }).click();
    expect((await download).suggestedFilename()).toBe("inc-a.md");
  });
});

describe("the built page", () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await openShop({ webDirectory: built.directory });
  });
  afterAll(() => shop?.close());

  test("the first load without the map is at most 120 kB compressed, and index.html brings nothing else", async () => {
    const html = await readFile(path.join(built.directory, "index.html"), "utf8");
    const first = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1]!);
    expect(first.some((file) => file.includes("cytoscape"))).toBe(false);
    const bodies = await Promise.all(
      [html, ...first].map((file, index) => (index === 0 ? file : readFile(path.join(built.directory, file)))),
    );
    const bytes = bodies.reduce((sum, body) => sum + gzipSync(body).length, 0);
    expect(bytes).toBeLessThanOrEqual(120_000);
    expect(html).not.toMatch(/<script>|<style>|https?:\/\//);
  });

  test("each screen's address is answered with the page, others and ways out of the folder are not", async () => {
    for (const address of ["/", "/incidents", "/incidents/x", "/services/a%2Fb", "/map", "/changes", "/incidents?status=open"]) {
      const response = await fetch(`${shop.api.url()}${address}`);
      expect(response.headers.get("content-type"), address).toBe("text/html; charset=utf-8");
      expect(response.headers.get("cache-control")).toBe("no-cache");
    }
    for (const address of [
      "/nothing",
      "/incidents/x/y",
      "/assets/none.js",
      "/%2e%2e/package.json",
      "/assets/..%2f..%2fpackage.json",
      "/.env",
    ]) {
      expect((await fetch(`${shop.api.url()}${address}`)).status, address).toBe(404);
    }
    expect((await fetch(shop.api.url(), { method: "POST" })).status).toBe(404);
  });

  test("hashed files are kept for ever, compressed where the browser takes it, and known by their tag", async () => {
    for (const file of await readdir(path.join(built.directory, "assets"))) {
      const response = await fetch(`${shop.api.url()}/assets/${file}`);
      expect(response.headers.get("cache-control"), file).toBe("public, max-age=31536000, immutable");
      expect(response.headers.get("content-encoding")).toBe("gzip");
      const served = Buffer.from(await response.arrayBuffer());
      expect(served.equals(await readFile(path.join(built.directory, "assets", file))), file).toBe(true);
    }
    const tag = (await fetch(shop.api.url())).headers.get("etag") ?? "";
    const again = await fetch(shop.api.url(), { headers: { "if-none-match": tag } });
    expect(again.status).toBe(304);
    const head = await fetch(shop.api.url(), { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });
});

test("without a built page its addresses say what builds it", async () => {
  for (const webDirectory of [null, "/nonexistent/dist/web"]) {
    const shop = await openShop({ webDirectory });
    const response = await fetch(shop.api.url());
    expect(response.status).toBe(404);
    expect(((await response.json()) as { detail: string }).detail).toContain("npm run build");
    await shop.close();
  }
});

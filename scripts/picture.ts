/**
 * Takes the pictures of the README and the documents from the running product: replays a recorded lab stream, opens the page in
 * Chromium and saves what it shows. `node dist/scripts/picture.js [DIRECTORY]`
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { readIncidents } from "../services/command/incident-reader.ts";
import { readRecording } from "../services/command/recording.ts";
import { replay } from "../services/command/replay.ts";
import { builtPage } from "../services/command/start.ts";

const root = join(import.meta.dirname, "../..");
const target = process.argv[2] ?? join(root, "docs/picture");
const sizes = [
  { name: "wide", width: 1_280, height: 900 },
  { name: "phone", width: 390, height: 844 },
] as const;

async function take(page: Page, url: string, options: { name: string; shows: string }): Promise<void> {
  const { name, shows } = options;
  await page.goto(url);
  await page.locator(shows).first().waitFor();
  // A chart is drawn in the frame after its element is there.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  await page.screenshot({ path: join(target, `${name}.png`) });
  process.stdout.write(`${join(target, name)}.png\n`);
}

mkdirSync(target, { recursive: true });
const directory = mkdtempSync(join(tmpdir(), "headwater-picture-"));
const recording = readRecording(join(root, "test/fixture/pool-leak.br"));
const app = await replay({ recording, dataDirectory: join(directory, "data"), webDirectory: builtPage() });
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
try {
  const incident = (await readIncidents(app.ports.events))[0];
  for (const { name, width, height } of sizes) {
    const page = await browser.newPage({ viewport: { width, height } });
    await take(page, `${app.api.url()}/`, { name: `now-${name}`, shows: "main h1" });
    if (incident !== undefined)
      await take(page, `${app.api.url()}/incidents/${incident.id}`, { name: `incident-${name}`, shows: "canvas" });
    await page.close();
  }
} finally {
  await browser.close();
  await app.stop();
  rmSync(directory, { recursive: true, force: true });
}

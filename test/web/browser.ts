/** A real Chromium for the page's tests, and what every test must not see in it. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { build } from "vite";

const executable = "/usr/bin/chromium";

/** Null where there is a browser, else why these tests cannot run. */
export const noBrowser: string | null = existsSync(executable) ? null : `there is no ${executable} (apt-get install chromium)`;

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  });
}

/** Builds the page into a folder of its own; the answer removes it. */
export async function buildPage(): Promise<{ directory: string; remove: () => Promise<void> }> {
  const directory = await mkdtemp(path.join(os.tmpdir(), "headwater-web-"));
  await build({ configFile: path.resolve("web/vite.config.ts"), logLevel: "silent", build: { outDir: directory } });
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
}

export interface Watched {
  readonly page: Page;
  /** Console errors, uncaught errors, refused policies, and requests to other origins: each is a failure. */
  readonly troubles: string[];
  close(): Promise<void>;
}

/** Opens a page that writes down everything that must not happen. */
export async function watch(browser: Browser, baseURL: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ baseURL, viewport: { width: 1_440, height: 900 }, timezoneId: "UTC", ...options });
  const page = await context.newPage();
  const troubles: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") troubles.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => troubles.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.protocol !== "blob:" && url.origin !== new URL(baseURL).origin)
      troubles.push(`external: ${url.href}`);
  });
  await page.exposeFunction("reportViolation", (text: string) => troubles.push(`policy: ${text}`));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      const report = (globalThis as unknown as { reportViolation: (text: string) => void }).reportViolation;
      report(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return { page, troubles, close: () => context.close() };
}

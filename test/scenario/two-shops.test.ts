import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createClient } from "../../client/client.ts";
import { endHeadwater, eventually, startHeadwater, writeConfig } from "./headwater-process.ts";

const lab = join(import.meta.dirname, "../../dist/lab/main.js");

/** The same shop, as far as names go, in a namespace of its own. */
function startShop(otlpUrl: string, namespace: string): void {
  const addresses = ["--otlp", otlpUrl, "--changes", `${otlpUrl}/v1/changes`];
  const shop = spawn(process.execPath, [lab, "--seed", "1", ...addresses, "--namespace", namespace, "--datastores", "own"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  onTestFinished(() => ended(shop));
}

async function ended(shop: ChildProcess): Promise<void> {
  if (shop.exitCode !== null || shop.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => shop.once("close", () => resolve()));
  shop.stdin?.end();
  await gone;
}

const namespaceOf = (id: string): string => id.slice(0, id.indexOf("/"));

function servicesIn(namespace: string, entities: readonly { type: string; id: string }[]): string[] {
  const ids = entities.filter(({ type, id }) => type === "service" && namespaceOf(id) === namespace).map(({ id }) => id);
  return ids.map((id) => id.slice(namespace.length + 1)).sort();
}

it("keeps two shops of the same service names apart by their namespaces", { timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "headwater-two-shops-"));
  const running = await startHeadwater(writeConfig(directory));
  onTestFinished(async () => {
    await endHeadwater(running, "SIGTERM");
    rmSync(directory, { recursive: true, force: true });
  });
  for (const namespace of ["red", "blue"]) startShop(running.otlpUrl, namespace);
  const client = createClient({ baseUrl: running.apiUrl });
  const graph = await eventually(
    () => client.call("graph", {}),
    ({ entities, dependencies }) => {
      const [red, blue] = [servicesIn("red", entities), servicesIn("blue", entities)];
      const callers = new Set(dependencies.map(({ source }) => namespaceOf(source)));
      return red.length >= 8 && red.join() === blue.join() && callers.has("red") && callers.has("blue");
    },
    "both shops are there, with the same names",
  );
  const services = new Set(graph.entities.filter(({ type }) => type === "service").map(({ id }) => id));
  const calls = graph.dependencies.filter(({ source, target }) => services.has(source) && services.has(target));
  expect(calls.length).toBeGreaterThan(5);
  expect(calls.filter(({ source, target }) => namespaceOf(source) !== namespaceOf(target))).toEqual([]);
});

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const main = join(import.meta.dirname, "../../../dist/services/main.js");
const directory = mkdtempSync(join(tmpdir(), "headwater-cli-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function headwater(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8", timeout: 30_000 });
  return { status, stdout, stderr };
}

function config(text: string): string {
  const file = join(directory, "headwater.yaml");
  writeFileSync(file, text);
  return file;
}

describe("headwater", () => {
  it("stops at a wrong configuration key with the key, the nearest match and what is allowed", () => {
    const file = config("apiVersion: headwater/v1\nkind: Configuration\nspec:\n  gatway: {}\n");
    const { status, stderr } = headwater("start", "--config", file);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `headwater: ${file}: unknown key "gatway"; did you mean "gateway"? (allowed here: dataDirectory, tenant, logLevel, gateway, api, tokens, window, objective, timeScale, urls, redis, store, health, agent)\n`,
    );
  });

  it("refuses an unknown role and a role without the URLs of what it shares, naming each", () => {
    const unknown = headwater("start", "--role", "ingest,stor");
    expect(unknown.status).toBe(2);
    expect(unknown.stderr).toBe(
      "headwater: unknown role stor; known are gateway, ingest, detection, topology, incident, ranking, api, store, and all\n",
    );
    const alone = headwater("start", "--role", "topology", "--health-port", "0");
    expect(alone.status).toBe(2);
    expect(alone.stderr).toBe(
      "headwater: role topology alone shares queue, graph with other processes: set urls.queue, urls.graph, or start --role all\n",
    );
  });

  it("stops at a variable of the environment that is not set", () => {
    const named = `$${"{HEADWATER_NO_SUCH}"}`;
    const file = config(`apiVersion: headwater/v1\nkind: Configuration\nspec:\n  urls: { events: '${named}' }\n`);
    const { status, stderr } = headwater("start", "--config", file);
    expect(status).toBe(2);
    expect(stderr).toBe(`headwater: ${file}: "urls.events" names the environment variable HEADWATER_NO_SUCH, which is not set\n`);
  });

  it("stops at a value of the wrong kind with the key and the value", () => {
    const file = config("apiVersion: headwater/v1\nkind: Configuration\nspec:\n  gateway: { port: high }\n");
    const { status, stderr } = headwater("start", "--config", file);
    expect(status).toBe(2);
    expect(stderr).toContain('"gateway.port" is "high"');
  });

  it("says in one line that the data directory belongs to a running process", () => {
    const data = mkdtempSync(join(directory, "data-"));
    writeFileSync(join(data, "headwater.lock"), String(process.pid));
    const file = config("apiVersion: headwater/v1\nkind: Configuration\nspec:\n  gateway: { port: 0 }\n  api: { port: 0 }\n");
    const { status, stderr } = headwater("start", "--config", file, "--data", data);
    expect(status).toBe(1);
    expect(stderr).toContain(`headwater: ${data} belongs to the running process ${process.pid}; stop it, or choose another data directory`);
  });

  it("says in one line that the data directory cannot be made", () => {
    const blocked = join(directory, "a-file");
    writeFileSync(blocked, "");
    const { status, stderr } = headwater("start", "--data", join(blocked, "data"));
    expect(status).toBe(1);
    expect(stderr).toContain(`headwater: ${join(blocked, "data")} cannot be written: `);
  });

  it("refuses an unknown fault with the known ones", () => {
    const { status, stderr } = headwater("demo", "--fault", "gremlin");
    expect(status).toBe(2);
    expect(stderr).toBe(
      "headwater: unknown fault gremlin; known are slow-code, exception-deploy, pool-leak, crash, slow-dependency, bad-flag, packet-loss, refused, network-delay, disk-throttle, cpu-quota, memory-limit, noisy-neighbour\n",
    );
  });

  it("says where it looked when no platform answers", () => {
    const { status, stderr } = headwater("incidents", "--api", "http://127.0.0.1:9");
    expect(status).toBe(1);
    expect(stderr).toContain("headwater: no platform answers at http://127.0.0.1:9");
  });

  it("names file, line and column of a malformed case", () => {
    writeFileSync(
      join(directory, "case.json"),
      JSON.stringify({ id: "a", system: "s", normal: { from: 0, to: 10 }, fault: { from: 10, to: 20 }, alert: null, truth: null }),
    );
    writeFileSync(join(directory, "metrics.csv"), "timestamp,entity,metric,value\n1,web,latency,abc\n");
    const { status, stderr } = headwater("rank", "--case", directory);
    expect(status).toBe(2);
    expect(stderr).toBe('headwater: metrics.csv: line 2, column value: "abc" is not a number\n');
  });
});

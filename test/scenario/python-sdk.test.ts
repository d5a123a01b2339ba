import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { createClient } from "../../client/client.ts";
import { type PythonClient, preparePythonClient } from "../../scripts/python-client.ts";
import { endHeadwater, eventually, type RunningHeadwater, startHeadwater, writeConfig } from "./headwater-process.ts";
import { sendTraces, traceBody } from "./otlp-json.ts";
import { storedCount, storedSpans } from "./stored-spans.ts";

const program = join(import.meta.dirname, "../fixture/python-client.py");
/** At 20 ms each about 4 s, so that windows of 1 s close by what it sends itself. */
const requests = 200;

let prepared: PythonClient;
beforeAll(async () => {
  prepared = await preparePythonClient();
}, 600_000);

/** Sends and ends; answers what the SDK was answered, per signal and outcome, and what it complained about. */
async function runPython(
  python: string,
  otlpUrl: string,
): Promise<{ results: Record<string, Record<string, number>>; complaints: string[] }> {
  const { stdout } = await promisify(execFile)(python, [program, otlpUrl, String(requests)], { timeout: 60_000, killSignal: "SIGKILL" });
  return JSON.parse(stdout);
}

it("takes traces, metrics and logs of Python's OpenTelemetry SDK, counts them exactly and sees who called whom", {
  timeout: 120_000,
}, async (context) => {
  if ("missing" in prepared) return context.skip(prepared.missing);
  const directory = mkdtempSync(join(tmpdir(), "headwater-python-"));
  const running: RunningHeadwater = await startHeadwater(writeConfig(directory));
  onTestFinished(async () => {
    await endHeadwater(running, "SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  const client = createClient({ baseUrl: running.apiUrl });
  const fromMs = Date.now() - 1_000;
  const sending = runPython(prepared.python, running.otlpUrl);
  const listing = eventually(
    () => client.call("services", { query: {} }),
    ({ items }) => ["python-shop", "python-stock"].every((service) => items.some(({ entity }) => entity.id === service)),
    "both Python services are listed within 30 s",
  );
  const [{ results, complaints }] = await Promise.all([sending, listing]);
  expect(complaints).toEqual([]);
  for (const signal of ["traces", "metrics", "logs"]) expect(Object.keys(results[signal] ?? {}), signal).toEqual(["SUCCESS"]);

  const counted = async (): Promise<Record<string, number | null>> => {
    // A mover keeps event time going, so that the last windows close.
    await sendTraces(running.otlpUrl, traceBody({ service: "mover", spanCount: 1, endMs: Date.now() }));
    const linesOf = (entity: string, severity: string) =>
      storedCount(running, { entity, metric: "log.records", attributes: `severity=${severity}`, fromMs });
    return {
      shopSpans: await storedSpans(running, "python-shop", fromMs),
      stockSpans: await storedSpans(running, "python-stock", fromMs),
      shopLines: await linesOf("python-shop", "ERROR"),
      stockLines: await linesOf("python-stock", "INFO"),
    };
  };
  const all = { shopSpans: requests, stockSpans: requests, shopLines: requests, stockLines: requests };
  await eventually(counted, (now) => Object.values(now).every((count) => count === requests), "everything is counted exactly once");
  expect(await counted()).toEqual(all);

  const { items: series } = await client.call("series", { query: { fromMs, toMs: Date.now(), entity: "python-shop", limit: 1_000 } });
  const metrics = series.map(({ key }) => key.metric);
  for (const metric of ["orders", "work.duration", "waiting"]) expect(metrics).toContain(metric);
  const { items: lines } = await client.call("lines", { query: { fromMs, toMs: Date.now(), entity: "python-shop", limit: 1_000 } });
  expect(new Set(lines.map(({ body }) => body))).toContain(`order ${requests - 1} was taken`);
  const graph = await eventually(
    () => client.call("graph", { query: {} }),
    ({ dependencies }) => dependencies.length > 0,
    "the call becomes a dependency",
  );
  expect(graph.dependencies).toMatchObject([{ source: "python-shop", target: "python-stock", confidence: 1, validToMs: null }]);
  const seen = new Map(graph.entities.map((entity) => [entity.id, entity]));
  expect(seen.get("python-shop")).toMatchObject({ type: "service", version: "1.0", entry: true });
  expect(seen.get("python-stock")).toMatchObject({ type: "service", version: "1.0", entry: false });
});

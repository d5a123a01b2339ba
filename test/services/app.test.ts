import { afterEach, expect, it } from "vitest";
import { createClient } from "../../client/client.ts";
import { parseConfig } from "../../config/config.ts";
import { EvidenceSnapshot } from "../../contract/evidence.ts";
import type { GraphStore, Queue } from "../../contract/port.ts";
import { App, type AppOptions } from "../../services/app.ts";
import { labSpec } from "../../services/command/lab-config.ts";
import { createPlatform } from "../../services/platform.ts";
import { anEntity } from "../conformance/sample-messages.ts";
import { until, useTemporaryFolder } from "../conformance/temporary.ts";
import { traceBody } from "../scenario/otlp-json.ts";
import { tellWholeGraph } from "./whole-graph.ts";

const folder = useTemporaryFolder();
const running: App[] = [];
afterEach(async () => {
  for (const app of running.splice(0)) await app.stop();
});

const onsetMs = 1_700_000_000_000;
const askedForMs = onsetMs + 5_000;

async function start(options: Partial<AppOptions> = {}, gatewayPort = 0): Promise<App> {
  const config = parseConfig({ dataDirectory: folder.path, gateway: { port: gatewayPort }, api: { port: 0 } });
  const app = await App.start({ config, platform: createPlatform({ level: "silent" }), gatewayId: "g", webDirectory: null, ...options });
  running.push(app);
  return app;
}

/** Asks for a verdict about a service that sends nothing. */
async function ask({ graph, queue }: { graph: GraphStore; queue: Queue }): Promise<void> {
  const entities = [anEntity("silent", { seenMs: onsetMs - 60_000 })];
  await tellWholeGraph(graph, { completeThroughMs: askedForMs, entities, dependencies: [] });
  const symptoms = [{ entity: "silent", metric: "availability", atMs: onsetMs }];
  await queue.publish("verdict-request", { id: "r", incident: "i", version: 1, askedForMs, reason: "onset+5s", onsetMs, symptoms });
}

/** The commands in the evidence of the one verdict that was asked for. */
async function commands({ ports: { events } }: App): Promise<string[]> {
  await until("the evidence is sealed", async () => (await events.streams("evidence/")).length === 1);
  const [stream = ""] = await events.streams("evidence/");
  const [sealed] = await events.read(stream);
  return EvidenceSnapshot.parse(sealed?.data).blindSpots.map(({ command }) => command);
}

function sendTo(url: string): string[] {
  return ["TRACES", "METRICS"].map((signal) => `OTEL_EXPORTER_OTLP_ENDPOINT=${url} OTEL_${signal}_EXPORTER=otlp <start it again>`);
}

it("seals commands without an address, so that evidence does not depend on the ports that were bound", async () => {
  const app = await start();
  await ask(app.ports);
  expect(await commands(app)).toEqual(expect.arrayContaining(sendTo("{otlpUrl}")));
});

it("refuses roles that share ports with other processes and have no URL for them, naming each", async () => {
  const config = parseConfig({ dataDirectory: folder.path });
  const platform = createPlatform({ level: "silent" });
  await expect(App.start({ config, platform, gatewayId: "g", webDirectory: null, roles: ["ranking"] })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("set urls.queue, urls.events, urls.graph, urls.telemetry"),
  });
});

it("tells on the first screen how many acknowledged batches never came, also embedded", async () => {
  const app = await start({ config: parseConfig(labSpec(folder.path)) });
  const nowMs = Date.now();
  const shared = { tenant: "default", gateway: "g", source: "shop", signal: "traces", encoding: "json" } as const;
  for (const [sequence, atMs] of [
    [0, nowMs - 5_000],
    [3, nowMs - 4_000],
    [4, nowMs],
  ] as const) {
    const body = Buffer.from(traceBody({ service: "shop", spanCount: 1, endMs: atMs }));
    await app.ports.queue.publish("telemetry", { id: `g-${sequence}`, ...shared, sequence, receivedAtMs: atMs, body });
  }
  await app.settle();
  const client = createClient({ baseUrl: app.addresses.api ?? "" });
  const told = async () => (await client.call("overview", {})).troubles.find(({ id }) => id === "lost-batches");
  await until("the loss is told", async () => (await told()) !== undefined);
  expect(await told()).toMatchObject({
    sentence: "2 acknowledged batches were lost.",
    details: [expect.stringMatching(/^2 acknowledged batches of the gateway on .+ \(pid \d+\), found at /)],
    sinceMs: nowMs,
  });
  const metrics = await (await fetch(`${app.addresses.api}/metrics`)).text();
  expect(metrics).toContain("headwater_detection_lost_batches 2");
  expect(metrics).toContain('headwater_detection_source_gaps_total{what="gap"} 2');
});

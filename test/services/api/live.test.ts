import { afterEach, expect, test } from "vitest";
import { createClient } from "../../../client/client.ts";
import type { ConnectionState } from "../../../client/live.ts";
import type { IncidentSummary } from "../../../contract/route.ts";
import { createLiveStream, sseBufferedBytesMax, sseClientsMax } from "../../../services/api/live-stream.ts";
import { ManualClock } from "../../../services/platform.ts";
import { writeIncident } from "./fixture/incident.ts";
import { eventually, openShop, type Shop, windowMs } from "./fixture/shop.ts";
import { sceneOf, windowCount, writeGraph, writeTelemetry } from "./fixture/telemetry.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function open(): Promise<Shop> {
  const shop = await openShop();
  cleanups.push(() => shop.close());
  return shop;
}

test("a listener hears of each new incident event and of the newest window", async () => {
  const shop = await open();
  const scene = sceneOf();
  const incidents: IncidentSummary[] = [];
  const windows: number[] = [];
  const states: ConnectionState[] = [];
  const client = createClient({ baseUrl: shop.api.url() });
  cleanups.push(
    client.subscribe({
      onIncident: (incident) => incidents.push(incident),
      onWindow: (window) => windows.push(window.newestWindowMs),
      onState: (state) => states.push(state),
    }),
  );
  await eventually("the stream is live", () => states.includes("live"));
  await writeGraph(shop, scene);
  await writeTelemetry(shop, scene);
  await writeIncident(shop, scene, { id: "inc-a", number: 1, verdicts: 1 });
  await eventually("the incident is told", () =>
    incidents.find((incident) => incident.sentence === "payment waits for database connections"),
  );
  await client.call("acknowledge", { params: { incident: "inc-a" }, body: { actor: "ann" } });
  await eventually("the acknowledgement is told", () => incidents.at(-1)?.status === "acknowledged");
  await eventually("the window is told", () => windows.at(-1) === scene.startMs + (windowCount - 1) * windowMs);
});

test("stopping ends the streams, and a client sees that it must reconnect", async () => {
  const shop = await open();
  const states: ConnectionState[] = [];
  const unsubscribe = createClient({ baseUrl: shop.api.url() }).subscribe({ onState: (state) => states.push(state) });
  cleanups.push(unsubscribe);
  await eventually("live", () => states.at(-1) === "live");
  await shop.api.stop();
  await eventually("reconnecting", () => states.at(-1) === "reconnecting");
  unsubscribe();
  await eventually("closed", () => states.at(-1) === "closed");
});

test("a client over the bound is told to come back, and its place is free after another left", async () => {
  const shop = await open();
  const url = `${shop.api.url()}/api/v1/events`;
  const controllers = Array.from({ length: sseClientsMax }, () => new AbortController());
  cleanups.push(() => {
    for (const controller of controllers) controller.abort();
  });
  const joined = await Promise.all(controllers.map((controller) => fetch(url, { signal: controller.signal })));
  expect(joined.every((response) => response.status === 200)).toBe(true);
  const refused = await fetch(url);
  expect(refused.status).toBe(503);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  await refused.body?.cancel();
  controllers[0]!.abort();
  await eventually("a place is free", async () => {
    const controller = new AbortController();
    const response = await fetch(url, { signal: controller.signal });
    controller.abort();
    return response.status === 200;
  });
});

test("a client that does not read is dropped instead of filling memory, and heartbeats go to the others", () => {
  const counted: string[] = [];
  const clock = new ManualClock(0);
  const live = createLiveStream({
    clock,
    newestWindow: async () => null,
    installation: async () => "as it was",
    onClients: (count) => counted.push(`clients ${count}`),
    onCounted: (reason) => counted.push(reason),
    onError: (error) => counted.push(String(error)),
  });
  const client = () => {
    const written: string[] = [];
    const response = {
      writableLength: 0,
      destroyed: false,
      status: () => response,
      setHeader: () => response,
      flushHeaders: () => undefined,
      on: () => response,
      write: (text: string) => written.push(text),
      destroy: () => {
        response.destroyed = true;
      },
      end: () => undefined,
    };
    return { response, written };
  };
  const slow = client();
  const quick = client();
  live.start();
  for (const one of [slow, quick]) live.join({ socket: { setNoDelay: () => undefined } } as never, one.response as never);
  slow.response.writableLength = sseBufferedBytesMax;
  clock.advanceTo(15_000);
  expect(slow.response.destroyed).toBe(true);
  expect(quick.written.at(-1)).toBe(": heartbeat\n\n");
  expect(counted).toEqual(["clients 1", "clients 2", "slow", "clients 1"]);
  live.stop();
});

import { expect, test } from "vitest";
import type { IncidentEvent } from "../../../contract/incident.ts";
import type { Verdict } from "../../../contract/verdict.ts";
import { aRankResult } from "../../conformance/sample-messages.ts";
import { until } from "../../conformance/temporary.ts";
import { anomalyAt, breakShop, epochMs, failing, healthy, started } from "./harness.ts";

test("an entry service that burns opens one incident, paged, with its onset where failing began", async () => {
  const harness = await started();
  await breakShop(harness, 6);
  const [incident, ...others] = await harness.incidents();
  expect(others).toEqual([]);
  expect(incident).toMatchObject({ number: 1, status: "open", severity: "P1", onsetMs: epochMs + 40_000 });
  expect(incident?.alerts).toMatchObject([{ entity: "shop", objective: "availability" }]);
  const pages = await harness.platform.metrics.registry.getSingleMetricAsString("headwater_incident_page_decisions_total");
  expect(pages).toContain('reason="page"} 1');
});

test("a service that is no entry pages nobody, however it fails", async () => {
  const harness = await started({ entries: [] });
  await breakShop(harness, 10);
  expect(await harness.incidents()).toEqual([]);
});

test("an anomaly alone opens nothing", async () => {
  const harness = await started();
  await harness.windows(0, 40, healthy);
  await harness.window(40, healthy, { anomalies: [anomalyAt("payment", 40, { severity: 300 })] });
  await harness.windows(41, 50, healthy);
  await harness.stage.settle();
  expect(await harness.incidents()).toEqual([]);
});

test("anomalies downstream join, those of strangers do not, and a lasting severe one moves the onset back", async () => {
  const harness = await started({ entries: ["shop"], calls: { shop: ["payment"], other: ["elsewhere"] } });
  await harness.windows(0, 36, healthy);
  const anomalies = [anomalyAt("payment", 36), anomalyAt("elsewhere", 36), anomalyAt("shop>payment", 37)];
  await harness.window(36, healthy, { anomalies });
  await harness.windows(37, 40, healthy);
  await harness.windows(40, 45, failing);
  await harness.window(45, failing, {
    anomalies: [anomalyAt("payment", 36, { state: "close", atMs: epochMs + 46_000, endMs: epochMs + 45_000 })],
  });
  await harness.stage.settle();
  const [incident] = await harness.incidents();
  expect(incident?.onsetMs).toBe(epochMs + 36_000);
  expect(incident?.anomalies.map(({ series, state }) => [series.entity, state])).toEqual([
    ["payment", "close"],
    ["shop>payment", "open"],
  ]);
});

test("verdicts are asked for at fixed times after the onset, and at close", async () => {
  const harness = await started();
  await breakShop(harness, 25);
  await harness.windows(65, 180, healthy);
  await harness.stage.settle();
  await until("the verdict at close is asked for", () => harness.requests.some(({ reason }) => reason === "close"));
  const onset = epochMs + 40_000;
  const [incident] = await harness.incidents();
  expect(incident).toMatchObject({ status: "resolved", onsetMs: onset });
  const closedMs = incident?.resolvedMs ?? 0;
  const asked = [...harness.requests].sort((left, right) => left.version - right.version);
  expect(asked.map(({ version, reason, askedForMs }) => [version, reason, askedForMs - onset])).toEqual([
    [1, "onset+5s", 5_000],
    [2, "onset+15s", 15_000],
    [3, "onset+30s", 30_000],
    [4, "close", closedMs - onset],
  ]);
  expect(asked[0]?.symptoms).toEqual([{ entity: "shop", metric: "availability", atMs: onset }]);
  expect(new Set(asked.map(({ id }) => id)).size).toBe(4);
});

test("what was due before the opening is asked once, for the tick that opened it", async () => {
  const harness = await started();
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 60, { shop: { count: 50, failed: 3 }, payment: { count: 50 } });
  await harness.windows(60, 62, failing);
  await harness.stage.settle();
  await until("a verdict is asked for", () => harness.requests.length > 0);
  const [incident] = await harness.incidents();
  const [first] = harness.requests;
  expect(incident?.openedMs).toBeGreaterThan((incident?.onsetMs ?? 0) + 15_000);
  expect(first).toMatchObject({ version: 1, reason: "onset+15s", askedForMs: incident?.openedMs });
});

test("an incident resolves itself when its objective has recovered, and a new fault much later is a new incident", async () => {
  const harness = await started();
  await breakShop(harness, 20);
  await harness.windows(60, 100, healthy);
  await harness.windows(100, 106, failing);
  await harness.stage.settle();
  const incidents = await harness.incidents();
  expect(incidents.map(({ number, status, onsetMs }) => [number, status, onsetMs - epochMs])).toEqual([
    [1, "resolved", 40_000],
    [2, "open", 100_000],
  ]);
  expect((incidents[0]?.resolvedMs ?? 0) - epochMs).toBeLessThanOrEqual(72_000);
  const events = await harness.eventsOf(incidents[0]!.id);
  expect(events.slice(-2).map(({ type }) => type)).toEqual(["recovered", "resolved"]);
});

test("the same trouble within the cool-down reopens the incident", async () => {
  const harness = await started();
  let second = await breakShop(harness, 20);
  while ((await harness.incidents())[0]?.status !== "resolved" && second < 90) {
    await harness.windows(second, second + 1, healthy);
    await harness.stage.settle();
    second += 1;
  }
  await harness.windows(second, second + 5, failing);
  await harness.stage.settle();
  const incidents = await harness.incidents();
  expect(incidents.map(({ status }) => status)).toEqual(["open"]);
  expect((await harness.eventsOf(incidents[0]!.id)).map(({ type }) => type)).toContain("reopened");
});

test("a second entry that shares a callee joins; one that shares nothing opens its own incident", async () => {
  const harness = await started({ entries: ["shop", "app", "island"], calls: { shop: ["payment"], app: ["payment"] } });
  const well = { shop: { count: 50 }, app: { count: 50 }, island: { count: 50 } };
  const ill = { shop: { count: 50, failed: 40 }, app: { count: 50, failed: 40 }, island: { count: 50, failed: 40 } };
  await harness.windows(0, 40, well);
  await harness.windows(40, 46, ill);
  await harness.stage.settle();
  const incidents = await harness.incidents();
  expect(incidents.map(({ alerts }) => alerts.map(({ entity }) => entity).sort())).toEqual([["app", "shop"], ["island"]]);
});

test("a latency objective burns too", async () => {
  const harness = await started();
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 46, { shop: { count: 50, ms: 200 }, payment: { count: 50, ms: 200 } });
  await harness.stage.settle();
  expect(await harness.incidents()).toMatchObject([
    { onsetMs: epochMs + 40_000, alerts: [{ objective: "latency" }], impacts: [{ badRatio: 1 }] },
  ]);
});

test("a person's resolution is followed and not written twice; burning on reopens it", async () => {
  const harness = await started();
  const second = await breakShop(harness, 8);
  const [incident] = await harness.incidents();
  const resolved: IncidentEvent = { type: "resolved", atMs: epochMs + 48_000, actor: "ada", by: "person", note: "false alarm" };
  await harness.events.append(`incident/${incident!.id}`, [resolved], { expectedSequence: incident!.sequence });
  await until("the verdict at close is asked for", () => harness.requests.some(({ reason }) => reason === "close"));
  await harness.windows(second, second + 3, failing);
  await harness.stage.settle();
  expect((await harness.incidents())[0]?.status).toBe("resolved");
  await harness.windows(second + 3, second + 10, failing);
  await harness.stage.settle();
  const [reopened, ...others] = await harness.incidents();
  expect(others).toEqual([]);
  expect(reopened?.status).toBe("open");
  expect(reopened?.timeline.at(-1)?.text).toContain("still burning");
});

test("changes are recorded once, and a verdict is added once", async () => {
  const harness = await started();
  await breakShop(harness, 6);
  const change = { id: "c1", atMs: epochMs, entity: "payment", kind: "deploy" as const, summary: "v2", actor: null, undo: null };
  await harness.queue.publish("change", change);
  await harness.queue.publish("change", change);
  await harness.queue.publish("change", { ...change, id: "c2" });
  const [incident] = await harness.incidents();
  const verdict: Verdict = {
    id: "v1",
    incident: incident!.id,
    version: 1,
    askedForMs: epochMs + 45_000,
    reason: "onset+5s",
    snapshotHash: "h",
    result: aRankResult("payment broke first"),
  };
  const operational = { rankedInMs: 1, gatheredInMs: 2, answeredAtMs: 3 };
  await harness.queue.publish("verdict", { verdict, operational });
  await harness.queue.publish("verdict", { verdict, operational: { ...operational, rankedInMs: 9 } });
  await harness.queue.publish("verdict", { verdict: { ...verdict, incident: "nobody" }, operational });
  await harness.stage.settle();
  expect((await harness.events.read("change")).map(({ data }) => (data as { change: { id: string } }).change.id)).toEqual(["c1", "c2"]);
  expect((await harness.incidents()).map(({ verdicts }) => verdicts.map(({ id }) => id))).toEqual([["v1"]]);
});

test("a declared alert opens an incident, and its end resolves it", async () => {
  const harness = await started();
  await harness.windows(0, 40, healthy);
  await harness.stage.settle();
  const alert = {
    id: "disk-1",
    entity: "payment",
    objective: "DiskFull",
    startsAtMs: epochMs + 39_000,
    endsAtMs: null,
    summary: "disk is full",
  };
  await harness.queue.publish("alert", alert);
  await harness.queue.publish("alert", alert);
  await harness.stage.settle();
  expect(await harness.incidents()).toMatchObject([{ status: "open", severity: "P2", alerts: [{ id: "disk-1" }] }]);
  await harness.queue.publish("alert", { ...alert, endsAtMs: epochMs + 40_000 });
  await harness.stage.settle();
  await harness.windows(40, 42, healthy);
  await harness.stage.settle();
  expect(await harness.incidents()).toMatchObject([{ status: "resolved", alerts: [{ endsAtMs: epochMs + 40_000 }] }]);
});

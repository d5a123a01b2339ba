import { rm } from "node:fs/promises";
import { afterEach, expect, test } from "vitest";
import { partitionCount } from "../../../contract/canonical.ts";
import type { IncidentEvent } from "../../../contract/incident.ts";
import type { Verdict } from "../../../contract/verdict.ts";
import { anomalyAt, epochMs, type Harness, type HarnessOptions, openHarness, temporaryDirectory, until } from "./harness.ts";

const open: Harness[] = [];
const directories: string[] = [];

async function started(options?: HarnessOptions): Promise<Harness> {
  const harness = await openHarness(options);
  open.push(harness);
  return harness;
}

afterEach(async () => {
  for (const harness of open.splice(0)) await harness.close();
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true });
});

const healthy = { shop: { count: 50 }, payment: { count: 50 } };
const failing = { shop: { count: 50, failed: 40 }, payment: { count: 50, failed: 40 } };

/** 40 healthy seconds, then everything fails for `seconds`. */
async function breakShop(harness: Harness, seconds: number): Promise<number> {
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 40 + seconds, failing);
  await harness.stage.settle();
  return 40 + seconds;
}

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
  await until(() => harness.requests.some(({ reason }) => reason === "close"));
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
  await until(() => harness.requests.length > 0);
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
  await until(() => harness.requests.some(({ reason }) => reason === "close"));
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
  const interval = { fromMs: 0, toMs: 1 };
  const verdict: Verdict = {
    id: "v1",
    incident: incident!.id,
    version: 1,
    askedForMs: epochMs + 45_000,
    reason: "onset+5s",
    snapshotHash: "h",
    result: {
      schemaVersion: 1,
      conclusion: "cause",
      confidence: null,
      sentence: "payment broke first",
      ranking: [],
      onsetMs: null,
      normal: interval,
      fault: interval,
      counterEvidence: [],
      blindSpots: [],
    },
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

/** The whole life of two incidents, with the partitions of each window appended in an order of their own. */
async function lifeWith(harness: Harness, orderOf: (second: number) => number[]): Promise<void> {
  for (let second = 0; second < 110; second += 1) {
    const ill = (second >= 40 && second < 60) || second >= 100;
    const anomalies = second === 38 ? [anomalyAt("payment", 38), anomalyAt("shop", 38)] : [];
    await harness.window(second, ill ? failing : healthy, { anomalies, partitions: orderOf(second) });
  }
  await harness.stage.settle();
}

async function whatHappened(harness: Harness) {
  const incidents = await harness.incidents();
  const streams = await Promise.all(incidents.map(({ id }) => harness.eventsOf(id)));
  const requests = [...harness.requests].sort((left, right) => (left.id < right.id ? -1 : 1));
  return { incidents, streams, requests };
}

test("the result does not depend on how partitions interleave", async () => {
  const straight = await started();
  await lifeWith(straight, () => Array.from({ length: partitionCount }, (_, partition) => partition));
  await until(() => straight.requests.length >= 4);
  const mixed = await started();
  // One partition after the other is withheld for many windows.
  const lag: { second: number; partitions: number[] }[] = [];
  for (let second = 0; second < 110; second += 1) {
    const withheld = Math.floor(second / 10) % partitionCount;
    lag.push({
      second,
      partitions: Array.from({ length: partitionCount }, (_, p) => (p * 7 + second) % partitionCount).filter((p) => p !== withheld),
    });
    if (second % 10 === 9) for (let late = second - 9; late <= second; late += 1) lag.push({ second: late, partitions: [withheld] });
  }
  for (const { second, partitions } of lag) {
    const ill = (second >= 40 && second < 60) || second >= 100;
    const anomalies = second === 38 ? [anomalyAt("payment", 38), anomalyAt("shop", 38)] : [];
    await mixed.window(second, ill ? failing : healthy, { anomalies, partitions });
  }
  await mixed.stage.settle();
  await until(() => mixed.requests.length >= straight.requests.length);
  const expected = await whatHappened(straight);
  expect(expected.incidents).toHaveLength(2);
  expect(await whatHappened(mixed)).toEqual(expected);
});

test("a stage killed in the middle of an incident writes nothing twice and goes on where it was", async () => {
  const straight = await started();
  await lifeWith(straight, () => Array.from({ length: partitionCount }, (_, partition) => partition));
  await until(() => straight.requests.length >= 4);
  const expected = await whatHappened(straight);

  const directory = await temporaryDirectory();
  directories.push(directory);
  const first = await openHarness({ directory });
  for (let second = 0; second < 52; second += 1) {
    await first.window(second, second >= 40 ? failing : healthy, {
      anomalies: second === 38 ? [anomalyAt("payment", 38), anomalyAt("shop", 38)] : [],
    });
  }
  await first.stage.settle();
  expect(await first.incidents()).toMatchObject([{ status: "open" }]);
  // Closed under the stage's feet: it cannot commit what it did since its last checkpoint (second 30).
  await first.log.close();
  await first.close();

  const second = await started({ directory });
  for (let at = 52; at < 110; at += 1) {
    await second.window(at, (at >= 40 && at < 60) || at >= 100 ? failing : healthy);
  }
  await second.stage.settle();
  await until(() => new Set([...first.requests, ...second.requests].map(({ id }) => id)).size >= expected.requests.length);
  const happened = await whatHappened(second);
  expect(happened.streams).toEqual(expected.streams);
  const asked = new Map([...first.requests, ...second.requests].map((request) => [request.id, request]));
  expect([...asked.values()].sort((left, right) => (left.id < right.id ? -1 : 1))).toEqual(expected.requests);
});

test("a clean stop keeps what was learned, and an acknowledgement while it was down is kept", async () => {
  const directory = await temporaryDirectory();
  directories.push(directory);
  const first = await openHarness({ directory });
  await first.windows(0, 40, healthy);
  await first.windows(40, 46, failing);
  await first.stage.settle();
  const [incident] = await first.incidents();
  await first.stage.stop();
  const acknowledged: IncidentEvent = { type: "acknowledged", atMs: epochMs, actor: "ada", note: null };
  await first.events.append(`incident/${incident!.id}`, [acknowledged], { expectedSequence: incident!.sequence });
  await first.close();

  const second = await started({ directory });
  await second.windows(46, 75, healthy);
  await second.stage.settle();
  expect(await second.incidents()).toMatchObject([{ id: incident!.id, status: "resolved", acknowledgedBy: "ada" }]);
});

test("what was learned before a clean stop is judged by right after the restart", async () => {
  const directory = await temporaryDirectory();
  directories.push(directory);
  const first = await openHarness({ directory });
  await first.windows(0, 40, healthy);
  await first.stage.settle();
  await first.close();

  const second = await started({ directory });
  await second.windows(40, 46, { shop: { count: 50, ms: 200 }, payment: { count: 50, ms: 200 } });
  await second.stage.settle();
  expect(await second.incidents()).toMatchObject([{ onsetMs: epochMs + 40_000, alerts: [{ objective: "latency" }] }]);
});

test("an incident that the event store has open and no checkpoint knows is taken over, and resolves itself", async () => {
  const harness = await started();
  const alert = { id: "a", entity: "shop", objective: "availability", startsAtMs: epochMs - 5_000, endsAtMs: null, summary: "" };
  const impact = { entity: "shop", objective: "availability" as const, badRatio: 0.5, requestsPerSecond: 10 };
  const opened: IncidentEvent = {
    type: "opened",
    atMs: epochMs,
    actor: null,
    number: 1,
    onsetMs: epochMs - 5_000,
    severity: "P1",
    alert,
    impact,
  };
  await harness.events.append("incident/orphan", [opened], { expectedSequence: 0 });
  // The stage hears of it by its subscription, some turns later.
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await harness.windows(0, 40, healthy);
  await harness.stage.settle();
  expect(await harness.incidents()).toMatchObject([{ id: "orphan", status: "resolved" }]);
});

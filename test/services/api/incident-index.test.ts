import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EventStore } from "../../../contract/port.ts";
import type { IncidentSummary } from "../../../contract/route.ts";
import { createIncidentIndex, type IncidentIndex, type IncidentIndexOptions } from "../../../services/api/incident-index.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openSqliteEventStore } from "../../../store/sqlite/sqlite-event-store.ts";
import { openedEvent } from "./fixture/incident.ts";
import { eventually } from "./fixture/shop.ts";
import { sceneOf } from "./fixture/telemetry.ts";

let directory: string;
let store: EventStore;
let index: IncidentIndex | null = null;
let changed: IncidentSummary[];
let counted: string[];

beforeEach(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), "headwater-index-"));
  store = await openSqliteEventStore({ file: path.join(directory, "events.sqlite"), clock: new SystemClock(), onCounted: () => undefined });
  changed = [];
  counted = [];
});
afterEach(async () => {
  await index?.stop();
  await store.close();
  await rm(directory, { recursive: true, force: true });
});

async function startIndex(bounds: Partial<IncidentIndexOptions> = {}): Promise<IncidentIndex> {
  index = createIncidentIndex({
    events: store,
    onChange: (summary) => changed.push(summary),
    onCounted: (reason) => counted.push(reason),
    ...bounds,
  });
  await index.start();
  return index;
}

const open = (number: number): Promise<number> =>
  store.append(`incident/inc-${number}`, [openedEvent(sceneOf(), number)], { expectedSequence: 0 });
const recovered = { type: "recovered", atMs: 1, actor: null };

test("what was there before the start is listed, newest first, and what comes after it is followed", async () => {
  for (const number of [2, 1, 3]) await open(number);
  const started = await startIndex();
  expect(started.list().map((one) => one.summary.number)).toEqual([3, 2, 1]);
  await open(4);
  await eventually("the new one is listed", () => started.list().length === 4);
  await store.append("incident/inc-1", [recovered], { expectedSequence: 1 });
  await eventually("the change is listed", () => started.list().at(-1)?.summary.status === "mitigated");
  expect(changed.filter((summary) => summary.id === "inc-1").map((summary) => summary.status)).toEqual(["open", "mitigated"]);
});

test("an incident whose events were let go is read again, whole, when it is asked for or changes", async () => {
  for (let number = 1; number <= 6; number += 1) await open(number);
  const started = await startIndex({ incidentsFoldedMax: 2 });
  expect(started.list()).toHaveLength(6);
  await store.append("incident/inc-1", [recovered, recovered], { expectedSequence: 1 });
  expect(await started.load("inc-1")).toMatchObject({ status: "mitigated", sequence: 3 });
  expect((await started.events("inc-2"))?.map((event) => event.type)).toEqual(["opened"]);
  expect(changed.filter((summary) => summary.id === "inc-1")).toHaveLength(2);
});

test("over the bound the oldest leaves the list, is counted, and can still be opened", async () => {
  for (let number = 1; number <= 5; number += 1) await open(number);
  const started = await startIndex({ incidentsMax: 3 });
  expect(started.list().map((one) => one.summary.number)).toEqual([5, 4, 3]);
  expect(counted).toContain("evicted");
  expect(await started.load("inc-1")).toMatchObject({ number: 1 });
  expect(started.list().map((one) => one.summary.number)).toEqual([5, 4, 3]);
});

test("many readers of one incident see each event once", async () => {
  await open(1);
  const started = await startIndex();
  await store.append("incident/inc-1", [recovered], { expectedSequence: 1 });
  const loaded = await Promise.all(Array.from({ length: 20 }, () => started.load("inc-1")));
  expect(new Set(loaded.map((incident) => incident?.sequence))).toEqual(new Set([2]));
  expect(loaded[0]?.timeline).toHaveLength(2);
  expect(await started.load("never")).toBeNull();
  expect(await started.events("never")).toBeNull();
});

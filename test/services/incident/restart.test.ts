import { expect, test } from "vitest";
import type { IncidentEvent } from "../../../contract/incident.ts";
import { until } from "../../conformance/temporary.ts";
import { breakShop, epochMs, failing, type Harness, healthy, lastingDirectory, openHarness, started } from "./harness.ts";

/** A fault that is over but not for long enough to resolve itself; then Ada resolves it. */
async function resolvedByAda(harness: Harness, options: { stopsBefore: "yes" | "no" }): Promise<void> {
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 46, failing);
  await harness.windows(46, 52, healthy);
  await harness.stage.settle();
  const [incident] = await harness.incidents();
  expect(incident).toMatchObject({ status: "open" });
  if (options.stopsBefore === "yes") {
    await harness.log.close();
    await harness.stage.stop();
  }
  const resolved: IncidentEvent = { type: "resolved", atMs: epochMs + 52_000, actor: "ada", by: "person", note: null };
  await harness.events.append(`incident/${incident!.id}`, [resolved], { expectedSequence: incident!.sequence });
}

test.each(["yes", "no"] as const)("a person's resolution stands after a kill (killed before it was followed: %s)", async (stopsBefore) => {
  const directory = await lastingDirectory();
  const first = await openHarness({ directory });
  await resolvedByAda(first, { stopsBefore });
  if (stopsBefore === "no") await until("the verdict at close is asked for", () => first.requests.some(({ reason }) => reason === "close"));
  await first.log.close();
  await first.close();

  const second = await started({ directory });
  await second.windows(52, 75, healthy);
  await second.stage.settle();
  const [incident, ...others] = await second.incidents();
  expect(others).toEqual([]);
  expect(incident?.status).toBe("resolved");
  const types = (await second.eventsOf(incident!.id)).map(({ type }) => type);
  expect(types.filter((type) => type === "reopened" || type === "recovered")).toEqual([]);
  await until("the verdict at close is asked for", () => [...first.requests, ...second.requests].some(({ reason }) => reason === "close"));
  const closing = [...first.requests, ...second.requests].filter(({ reason }) => reason === "close");
  expect(new Set(closing.map(({ id }) => id)).size).toBe(1);
  // Asked for what was known when she resolved it, after the two that were due before.
  expect(closing[0]).toMatchObject({ version: 2, askedForMs: epochMs + 52_000 });
});

test("a person's resolution is followed after a clean restart, also while event time stands still", async () => {
  const directory = await lastingDirectory();
  const first = await openHarness({ directory });
  await breakShop(first, 8);
  await first.close();

  const second = await started({ directory });
  const [incident] = await second.incidents();
  const resolved: IncidentEvent = { type: "resolved", atMs: epochMs + 48_000, actor: "ada", by: "person", note: null };
  await second.events.append(`incident/${incident!.id}`, [resolved], { expectedSequence: incident!.sequence });
  await until("the verdict at close is asked for", () => second.requests.some(({ reason }) => reason === "close"));
});

test("a checkpoint of another version refuses the start and is left alone", async () => {
  const directory = await lastingDirectory();
  const first = await openHarness({ directory });
  await first.windows(0, 40, healthy);
  await first.stage.settle();
  await first.stage.stop();
  const owner = await first.log.own("anomaly", 0);
  const [[name, bytes] = ["", new Uint8Array()]] = owner.checkpoint.chunks;
  const newer = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(bytes).toString("utf8")), version: 99 }));
  await owner.commit(owner.checkpoint.offset, new Map([[name, newer]]));
  await first.close();

  const refusal = { code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("99") };
  await expect(openHarness({ directory })).rejects.toMatchObject(refusal);
  await expect(openHarness({ directory })).rejects.toMatchObject(refusal);
});

test("a clean stop keeps what was learned, and an acknowledgement while it was down is kept", async () => {
  const directory = await lastingDirectory();
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
  const directory = await lastingDirectory();
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

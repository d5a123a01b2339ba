import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { type Client, createClient } from "../../client/client.ts";
import { canonicalJson } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type { Incident, IncidentEvent } from "../../contract/incident.ts";
import { endHeadwater, eventually, type RunningHeadwater, startHeadwater, writeConfig } from "./headwater-process.ts";
import { sendTraces, traceBody } from "./otlp-json.ts";

/** Nobody calls them and they call nobody, so each has an incident of its own. */
const acknowledgedService = "front-acknowledged";
const resolvedService = "front-resolved";
const rounds = [0, 1, 2].map((round) => ({ acknowledge: `front-in-flight-a${round}`, resolve: `front-in-flight-r${round}` }));
const services = [acknowledgedService, resolvedService, ...rounds.flatMap((round) => [round.acknowledge, round.resolve])];
const spanCount = 4;

/** Seconds of event time, which moves only with what is sent: healthy, failing, healthy again but not for long enough to resolve itself. */
const failing = { from: 60, to: 70 };
const standsAt = 77;
const recoveredAt = 92;

/** In the past, so that no second lies ahead of the machine's clock. */
const startMs = Math.floor(Date.now() / 1_000) * 1_000 - 2 * recoveredAt * 1_000;

function atMs(second: number): number {
  return startMs + second * 1_000 + 500;
}

/** Sends second after second of every service's requests; answers the first second that was not acknowledged whole. */
async function feed(running: RunningHeadwater, seconds: { from: number; to: number }): Promise<number> {
  for (let second = seconds.from; second < seconds.to; second += 1) {
    const failedCount = second >= failing.from && second < failing.to ? spanCount : 0;
    const bodies = services.map((service) => traceBody({ service, spanCount, endMs: atMs(second), failedCount }));
    const answers = await Promise.all(bodies.map((body) => sendTraces(running.otlpUrl, body)));
    if (answers.includes(false)) return second;
  }
  return seconds.to;
}

/** Work for every stage but no progress of event time, until the process is gone. */
async function load(running: RunningHeadwater): Promise<void> {
  while (running.child.signalCode === null) {
    await sendTraces(running.otlpUrl, traceBody({ service: "load", spanCount: 50, endMs: atMs(standsAt - 1) }));
  }
}

/** Every incident by the service that burned. */
async function incidentsByService(client: Client): Promise<Map<string, Incident>> {
  const { items } = await client.call("incidents", { query: {} });
  const incidents = await Promise.all(items.map(({ id }) => client.call("incident", { params: { incident: id } })));
  return new Map(incidents.map((incident) => [incident.alerts[0]?.entity ?? "", incident]));
}

/** What is known of every incident's events: id → those that were seen last. */
type Histories = Map<string, readonly IncidentEvent[]>;

/** Reads all events; what was seen before must be there unchanged, in its place, and nothing twice. */
async function readHistories(client: Client, before: Histories): Promise<Histories> {
  const { items } = await client.call("incidents", { query: {} });
  const histories: Histories = new Map();
  for (const { id } of items) histories.set(id, (await client.call("incidentEvents", { params: { incident: id } })).items);
  expect([...before.keys()].filter((id) => !histories.has(id))).toEqual([]);
  for (const [id, events] of histories) {
    const known = before.get(id) ?? [];
    expect(events.slice(0, known.length)).toEqual(known);
    expect(new Set(events.map((event) => canonicalJson(event))).size).toBe(events.length);
    for (const type of ["opened", "acknowledged", "recovered", "resolved"] as const) {
      expect(events.filter((event) => event.type === type).length, `${type} of ${id}`).toBeLessThanOrEqual(1);
    }
    expect(events.filter((event) => event.type === "reopened")).toEqual([]);
    const versions = events.flatMap((event) => (event.type === "verdict-added" ? [event.verdict.version] : []));
    expect(new Set(versions).size, `verdicts of ${id}`).toBe(versions.length);
  }
  return histories;
}

/** What an attempt to change an incident came to; `unheard`: the connection broke before an answer. */
interface Attempt {
  readonly actor: string;
  readonly outcome: "done" | "refused" | "unheard";
}

async function attempt(client: Client, action: "acknowledge" | "resolve", by: { incident: string; actor: string }): Promise<Attempt> {
  const { incident, actor } = by;
  try {
    await client.call(action, { params: { incident }, body: { actor, note: noteOf(actor) } });
    return { actor, outcome: "done" };
  } catch (error) {
    return { actor, outcome: error instanceof HeadwaterError && error.code !== "STOPPING" ? "refused" : "unheard" };
  }
}

/** Long enough to be seen when it is cut short. */
function noteOf(actor: string): string {
  return `${actor} says: ${"this is mine. ".repeat(100)}`;
}

/** What was answered is there, once and whole; what was not may be there, but only once and whole. */
function checkAttempts(attempts: readonly Attempt[], written: readonly IncidentEvent[]): void {
  const done = attempts.filter(({ outcome }) => outcome === "done").map(({ actor }) => actor);
  expect(done.length).toBeLessThanOrEqual(1);
  expect(written.length).toBeLessThanOrEqual(1);
  // A refusal names what somebody else has done, so that has to be there too.
  if (attempts.some(({ outcome }) => outcome !== "unheard")) expect(written.length).toBe(1);
  const [event] = written;
  if (event === undefined) return;
  const tried = attempts.filter(({ outcome }) => outcome !== "refused").map(({ actor }) => actor);
  expect(done.length === 1 ? done : tried).toContain(event.actor);
  expect(event).toMatchObject({ note: noteOf(event.actor ?? "") });
}

it("has every incident, acknowledgement and verdict exactly once after SIGKILLs while they are being written", {
  timeout: 180_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), "headwater-sigkill-incident-"));
  const configFile = writeConfig(directory);
  let running: RunningHeadwater | null = null;
  onTestFinished(async () => {
    if (running !== null) await endHeadwater(running, "SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  const start = async (): Promise<{ live: RunningHeadwater; client: Client }> => {
    const live = await startHeadwater(configFile);
    running = live;
    return { live, client: createClient({ baseUrl: live.apiUrl }) };
  };

  // Killed as soon as the first incident is seen, while the others open and verdicts are given.
  let { live, client } = await start();
  const feeding = feed(live, { from: 0, to: standsAt });
  await eventually(
    () => client.call("incidents", { query: {} }),
    ({ items }) => items.length > 0,
    "the first incident opens",
  );
  let histories = await readHistories(client, new Map());
  await endHeadwater(live, "SIGKILL");
  const fed = await feeding;

  ({ live, client } = await start());
  expect(await feed(live, { from: fed, to: standsAt })).toBe(standsAt);
  const opened = await eventually(
    () => incidentsByService(client),
    (found) => services.every((service) => found.get(service)?.verdicts.some((verdict) => verdict.reason === "onset+15s") ?? false),
    "every service has an incident with a verdict for 15 s after onset",
  );
  const idOf = (service: string): string => opened.get(service)?.id ?? "";
  expect(opened.size).toBe(services.length);
  expect([...opened.values()].map(({ number }) => number).sort()).toEqual(services.map((_, index) => index + 1));

  const maria = { params: { incident: idOf(acknowledgedService) }, body: { actor: "maria", note: noteOf("maria") } };
  const first = await client.call("acknowledge", { ...maria, idempotencyKey: "maria-1" });
  expect(first).toMatchObject({ status: "acknowledged", acknowledgedBy: "maria" });
  expect(await client.call("acknowledge", { ...maria, idempotencyKey: "maria-1" })).toEqual(first);
  const jo = { params: { incident: idOf(resolvedService) }, body: { actor: "jo", note: null } };
  expect(await client.call("resolve", jo)).toMatchObject({ status: "resolved" });
  histories = await readHistories(client, histories);
  await endHeadwater(live, "SIGKILL");

  const attempts = new Map<string, { type: "acknowledged" | "resolved"; tried: Attempt[] }>();
  const checkAll = async (): Promise<void> => {
    const found = await incidentsByService(client);
    expect([...found].map(([service, { id }]) => [service, id]).sort()).toEqual(services.map((service) => [service, idOf(service)]).sort());
    expect(found.get(acknowledgedService)).toMatchObject({ status: "acknowledged", acknowledgedBy: "maria" });
    expect(found.get(resolvedService)).toMatchObject({ status: "resolved", acknowledgedBy: null });
    histories = await readHistories(client, histories);
    for (const [service, { type, tried }] of attempts) {
      checkAttempts(
        tried,
        (histories.get(idOf(service)) ?? []).filter((event) => event.type === type),
      );
    }
  };

  for (const [round, { acknowledge, resolve }] of rounds.entries()) {
    ({ live, client } = await start());
    await checkAll();
    // Asked again after a restart it is known already, with the first key and with another.
    const again = await client.call("acknowledge", { ...maria, idempotencyKey: round === 0 ? "maria-1" : `maria-again-${round}` });
    expect(again.acknowledgedMs).toBe(first.acknowledgedMs);
    const loading = load(live);
    const asked = [0, 1, 2, 3].map((index) => ({
      acknowledge: attempt(client, "acknowledge", { incident: idOf(acknowledge), actor: `acknowledger-${round}-${index}` }),
      resolve: attempt(client, "resolve", { incident: idOf(resolve), actor: `resolver-${round}-${index}` }),
    }));
    await new Promise((done) => setTimeout(done, Math.random() * 40));
    await endHeadwater(live, "SIGKILL");
    await loading;
    attempts.set(acknowledge, { type: "acknowledged", tried: await Promise.all(asked.map((one) => one.acknowledge)) });
    attempts.set(resolve, { type: "resolved", tried: await Promise.all(asked.map((one) => one.resolve)) });
  }

  // The stage that opened them goes on where it was: each ends once, those that people resolved not again.
  ({ live, client } = await start());
  await checkAll();
  expect(await feed(live, { from: standsAt, to: recoveredAt })).toBe(recoveredAt);
  await eventually(
    () => incidentsByService(client),
    (found) => [...found.values()].every(({ status, verdicts }) => status === "resolved" && verdicts.at(-1)?.reason === "close"),
    "every incident is resolved, with a verdict at close",
  );
  await readHistories(client, histories);
  const ended = await incidentsByService(client);
  expect([...ended.values()].map(({ id }) => id).sort()).toEqual(services.map(idOf).sort());
  expect(ended.get(acknowledgedService)).toMatchObject({ acknowledgedBy: "maria", acknowledgedMs: first.acknowledgedMs });
});

import { afterAll, beforeAll, expect, test } from "vitest";
import { Incident } from "../../../contract/incident.ts";
import { openedEvent, writeIncident } from "./fixture/incident.ts";
import { openShop, type Shop } from "./fixture/shop.ts";
import { type Scene, sceneOf } from "./fixture/telemetry.ts";

let shop: Shop;
let scene: Scene;
let next = 0;

beforeAll(async () => {
  shop = await openShop();
  scene = sceneOf();
});
afterAll(() => shop.close());

async function newIncident(): Promise<string> {
  next += 1;
  const id = `inc-${next}`;
  await writeIncident(shop, scene, { id, number: next, verdicts: 0 });
  return id;
}

function post(id: string, action: string, options: { body?: unknown; headers?: Record<string, string> } = {}): Promise<Response> {
  return fetch(`${shop.api.url()}/api/v1/incidents/${id}/${action}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...options.headers },
    body: JSON.stringify(options.body ?? {}),
  });
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { code: string }).code;
}

test("acknowledging and resolving append events and answer the incident as it is then", async () => {
  const id = await newIncident();
  const acknowledged = await post(id, "acknowledge", { body: { actor: "ann", note: "on it" } });
  expect(acknowledged.status).toBe(200);
  expect(acknowledged.headers.get("etag")).toBe('"3"');
  expect(Incident.parse(await acknowledged.json())).toMatchObject({ status: "acknowledged", acknowledgedBy: "ann", sequence: 3 });
  const resolved = await post(id, "resolve", { body: { actor: "ann" } });
  expect(Incident.parse(await resolved.json())).toMatchObject({ status: "resolved", sequence: 4 });
  const events = (await shop.events.read(`incident/${id}`)).map((event) => event.data);
  expect(events.slice(2)).toMatchObject([
    { type: "acknowledged", actor: "ann", note: "on it" },
    { type: "resolved", actor: "ann", by: "person", note: null },
  ]);
});

test("a POST without a body acknowledges as on-call", async () => {
  const id = await newIncident();
  const response = await fetch(`${shop.api.url()}/api/v1/incidents/${id}/acknowledge`, { method: "POST" });
  expect(Incident.parse(await response.json()).acknowledgedBy).toBe("on-call");
});

test("a state that does not allow it refuses", async () => {
  const id = await newIncident();
  await post(id, "acknowledge", { body: { actor: "ann" } });
  expect((await post(id, "acknowledge", { body: { actor: "ann" } })).status).toBe(200);
  const other = await post(id, "acknowledge", { body: { actor: "bob" } });
  expect(other.status).toBe(409);
  expect(await codeOf(other)).toBe("TRANSITION_REFUSED");
  await post(id, "resolve");
  expect(await codeOf(await post(id, "acknowledge", { body: { actor: "ann" } }))).toBe("TRANSITION_REFUSED");
  expect(await codeOf(await post(id, "resolve"))).toBe("TRANSITION_REFUSED");
  expect(await codeOf(await post("none", "resolve"))).toBe("NOT_FOUND");
  expect(await shop.events.read(`incident/${id}`)).toHaveLength(4);
});

test("an ETag spares the body, and If-Match refuses a stale version", async () => {
  const id = await newIncident();
  const url = `${shop.api.url()}/api/v1/incidents/${id}`;
  const etag = (await fetch(url)).headers.get("etag");
  expect(etag).toBe('"2"');
  const same = await fetch(url, { headers: { "if-none-match": '"2"' } });
  expect(same.status).toBe(304);
  const stale = await post(id, "acknowledge", { headers: { "if-match": '"1"' } });
  expect(stale.status).toBe(409);
  expect(await codeOf(stale)).toBe("CONFLICT");
  expect(await codeOf(await post(id, "acknowledge", { headers: { "if-match": 'W/"2"' } }))).toBe("CONFLICT");
  expect((await post(id, "acknowledge", { headers: { "if-match": '"1", "2"' } })).status).toBe(200);
  expect((await post(id, "resolve", { headers: { "if-match": "*" } })).status).toBe(200);
  expect((await fetch(url, { headers: { "if-none-match": '"2"' } })).status).toBe(200);
});

test("the same Idempotency-Key does it once and gets the first answer, refusals too", async () => {
  const id = await newIncident();
  const headers = { "idempotency-key": "key-1" };
  const [first, second] = await Promise.all([post(id, "resolve", { headers }), post(id, "resolve", { headers })]);
  expect([first.status, second.status]).toEqual([200, 200]);
  expect(await first.json()).toEqual(await second.json());
  const third = await post(id, "resolve", { headers });
  expect(third.headers.get("idempotency-replayed")).toBe("true");
  expect(third.headers.get("etag")).toBe('"3"');
  expect(await shop.events.read(`incident/${id}`)).toHaveLength(3);
  const otherRequest = await post(await newIncident(), "resolve", { headers });
  expect(await codeOf(otherRequest)).toBe("REQUEST_INVALID");
  const tooLong = await post(id, "resolve", { headers: { "idempotency-key": "k".repeat(201) } });
  expect(await codeOf(tooLong)).toBe("REQUEST_INVALID");
});

test("when the stage writes in between, the decision is made anew and nothing is lost", async () => {
  const id = await newIncident();
  const append = shop.events.append.bind(shop.events);
  let between = 0;
  shop.events.append = async (stream, events, options) => {
    if (stream === `incident/${id}` && between < 2) {
      between += 1;
      await append(stream, [{ type: "recovered", atMs: 1, actor: null }], options);
    }
    return append(stream, events, options);
  };
  const response = await post(id, "resolve");
  shop.events.append = append;
  expect(response.status).toBe(200);
  expect(between).toBe(2);
  const types = (await shop.events.read(`incident/${id}`)).map((event) => (event.data as { type: string }).type);
  expect(types).toEqual(["opened", "anomalies-joined", "recovered", "recovered", "resolved"]);
});

test("an event that its schema refuses is skipped and does not stop the incident from being changed", async () => {
  const id = "inc-odd";
  await shop.events.append(`incident/${id}`, [openedEvent(scene, 900), { type: "from the future" }], { expectedSequence: 0 });
  const response = await post(id, "acknowledge");
  expect(response.status).toBe(200);
  expect(response.headers.get("etag")).toBe('"3"');
});

import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../../client/client.ts";
import { fillPath, paths } from "../../client/paths.ts";
import { type RouteName, routes } from "../../contract/route.ts";
import { writeChanges, writeIncident } from "../services/api/fixture/incident.ts";
import { openShop, type Shop } from "../services/api/fixture/shop.ts";
import { type Scene, sceneOf, writeGraph, writeTelemetry } from "../services/api/fixture/telemetry.ts";

const token = "responder-token-0123456789";
let shop: Shop;
let scene: Scene;

beforeAll(async () => {
  shop = await openShop({
    tokens: [
      { token, roles: ["responder"] },
      { token: "ingest-token-0123456789", roles: ["ingest"] },
    ],
  });
  scene = sceneOf();
  await writeGraph(shop, scene);
  await writeTelemetry(shop, scene);
  await writeChanges(shop, scene);
  await writeIncident(shop, scene, { id: "inc-a", number: 1, verdicts: 1 });
});
afterAll(() => shop.close());

test("the path table is the API table, row for row", () => {
  const expected = Object.fromEntries(
    (Object.keys(routes) as RouteName[]).map((name) => [name, { method: routes[name].method, path: routes[name].path }]),
  );
  expect(paths).toEqual(expected);
});

test("parameters are encoded into the path", () => {
  expect(fillPath("/a/:incident/b", { incident: "x/../y?z#" })).toBe("/a/x%2F..%2Fy%3Fz%23/b");
});

test("every route answers through the client", async () => {
  const client = createClient({ baseUrl: `${shop.api.url()}/`, token });
  const range = { fromMs: scene.startMs, toMs: scene.endMs };
  const params = { incident: "inc-a" };
  expect((await client.call("overview", {})).services).toHaveLength(5);
  expect((await client.call("services", { query: { limit: 2 } })).items).toHaveLength(2);
  expect((await client.call("incidents", { query: { status: "open" } })).items).toHaveLength(1);
  expect((await client.call("incident", { params })).number).toBe(1);
  expect((await client.call("incidentEvents", { params })).items).toHaveLength(3);
  expect((await client.call("incidentEvidence", { params })).windowMs).toBe(10_000);
  expect((await client.call("verdicts", { params })).items).toHaveLength(1);
  expect((await client.call("graph", {})).entities).toHaveLength(6);
  expect((await client.call("graphDiff", { query: range })).entitiesAdded).toHaveLength(0);
  expect((await client.call("series", { query: { ...range, entity: "payment" } })).items).toHaveLength(4);
  expect((await client.call("spans", { query: { ...range, failed: "yes", limit: 3 } })).items).toHaveLength(3);
  expect((await client.call("lines", { query: { ...range, limit: 3 } })).items).toHaveLength(3);
  expect((await client.call("changes", { query: { entity: "catalog" } })).items).toHaveLength(1);
  const acknowledged = await client.call("acknowledge", { params, body: { actor: "ann" }, ifSequence: 3, idempotencyKey: "once" });
  expect(acknowledged.status).toBe("acknowledged");
  expect((await client.call("resolve", { params })).status).toBe("resolved");
  expect(await client.report("inc-a", "md")).toContain("payment");
});

test("a problem comes out as the HeadwaterError it was", async () => {
  const client = createClient({ baseUrl: shop.api.url(), token });
  await expect(client.call("incident", { params: { incident: "none" } })).rejects.toMatchObject({
    name: "HeadwaterError",
    code: "NOT_FOUND",
    status: 404,
    message: expect.stringContaining("none"),
  });
  await expect(client.call("acknowledge", { params: { incident: "inc-a" }, ifSequence: 99 })).rejects.toMatchObject({ code: "CONFLICT" });
  await expect(createClient({ baseUrl: shop.api.url() }).call("overview", {})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  const ingest = createClient({ baseUrl: shop.api.url(), token: "ingest-token-0123456789" });
  await expect(ingest.call("overview", {})).rejects.toMatchObject({ code: "FORBIDDEN" });
  await expect(ingest.report("inc-a", "json")).rejects.toMatchObject({ code: "FORBIDDEN" });
});

test("an answer that is no problem+json is INTERNAL with its status, Retry-After kept", async () => {
  const answer = new Response("<h1>Bad gateway</h1>", { status: 502, headers: { "retry-after": "7" } });
  const client = createClient({ baseUrl: "http://proxy.invalid", fetch: async () => answer });
  await expect(client.call("overview", {})).rejects.toMatchObject({
    code: "INTERNAL",
    message: expect.stringContaining("502"),
    retryAfterSeconds: 7,
  });
});

test("what a route needs is asked for by the compiler", () => {
  const client = createClient({ baseUrl: "http://never.invalid", fetch: async () => new Response("{}") });
  // @ts-expect-error an incident needs its id
  void client.call("incident", {});
  // @ts-expect-error a range needs both ends
  void client.call("series", { query: { fromMs: 1 } });
  // @ts-expect-error times are numbers
  void client.call("graph", { query: { atMs: "yesterday" } });
});

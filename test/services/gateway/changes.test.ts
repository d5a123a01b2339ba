import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type GatewayWorld, gatewayWorld } from "./gateway-world.ts";

let world: GatewayWorld;
beforeEach(async () => {
  world = await gatewayWorld();
});
afterEach(() => world.close());

const structured = { "content-type": "application/cloudevents+json" };
const batch = { "content-type": "application/cloudevents-batch+json" };

function eventOf(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    specversion: "1.0",
    id: "deploy-1",
    source: "/ci",
    type: "headwater.change.deploy",
    subject: "shop/cart",
    time: new Date(Date.now() - 60_000).toISOString(),
    data: { summary: "cart 1.2 → 1.3", actor: "ci", undo: "kubectl rollout undo deployment/cart" },
    ...fields,
  };
}

describe("accepting changes", () => {
  it("takes a structured event", async () => {
    const event = eventOf();
    const answer = await world.post("/v1/changes", JSON.stringify(event), structured);
    expect([answer.status, answer.text]).toEqual([202, '{"ids":["deploy-1"]}']);
    await world.queue.drain();
    expect(world.changes).toEqual([
      {
        id: "deploy-1",
        atMs: Date.parse(event.time as string),
        entity: "shop/cart",
        kind: "deploy",
        summary: "cart 1.2 → 1.3",
        actor: "ci",
        undo: "kubectl rollout undo deployment/cart",
      },
    ]);
    expect(world.recorded).toMatchObject([{ path: "/v1/changes", contentType: "application/cloudevents+json" }]);
  });

  it("takes a batch whole, or nothing of it", async () => {
    const good = [eventOf({ id: "a" }), eventOf({ id: "b", type: "headwater.change.flag" })];
    const refused = await world.post("/v1/changes", JSON.stringify([...good, eventOf({ subject: undefined })]), batch);
    expect([refused.status, JSON.parse(refused.text).detail]).toEqual([400, '"[2].subject" is missing; a text is expected']);
    expect((await world.post("/v1/changes", JSON.stringify(good), batch)).text).toBe('{"ids":["a","b"]}');
    await world.queue.drain();
    expect(world.changes.map((change) => [change.id, change.kind])).toEqual([
      ["a", "deploy"],
      ["b", "flag"],
    ]);
  });

  it("takes an event in headers, and records it as a structured one that means the same", async () => {
    const headers = {
      "content-type": "application/json",
      "ce-specversion": "1.0",
      "ce-id": "flag-1",
      "ce-source": "/flags",
      "ce-type": "headwater.change.flag",
      "ce-subject": "caf%C3%A9",
    };
    const before = Date.now();
    expect((await world.post("/v1/changes", '{"summary":"new checkout on"}', headers)).status).toBe(202);
    await world.queue.drain();
    const [change] = world.changes;
    expect(change).toMatchObject({ id: "flag-1", kind: "flag", entity: "café", summary: "new checkout on", actor: null, undo: null });
    expect(change?.atMs).toBeGreaterThanOrEqual(before);
    const [recorded] = world.recorded;
    const again = await world.gateway.accept({
      method: "POST",
      path: "/v1/changes",
      headers: { "content-type": recorded?.contentType },
      body: recorded?.body ?? new Uint8Array(0),
      receivedAtMs: change?.atMs ?? 0,
    });
    expect(again.status).toBe(202);
    await world.queue.drain();
    expect(world.changes[1]).toEqual(change);
  });
});

describe("refusing changes", () => {
  const allowed = ["deploy", "config", "flag", "scale", "restart", "security", "binary", "dependency"]
    .map((kind) => `headwater.change.${kind}`)
    .join(", ");

  it.each([
    [{ type: "headwater.change.reboot" }, `"type" is "headwater.change.reboot", an unknown change kind; allowed are ${allowed}`],
    [{ type: "deploy" }, `"type" is "deploy", an unknown change kind; allowed are ${allowed}`],
    [{ specversion: "0.3" }, '"specversion" is "0.3"; CloudEvents 1.0 is expected'],
    [{ id: "" }, '"id" is ""; a text is expected'],
    [{ id: "x".repeat(201) }, '"id" has 201 characters, at most 200 are allowed'],
    [{ source: undefined }, '"source" is missing; a text is expected'],
    [{ time: "yesterday" }, '"time" is "yesterday"; RFC 3339 is expected, for example 2026-11-25T10:58:00Z'],
    [{ time: "1970-01-01T00:00:00Z" }, '"time" is "1970-01-01T00:00:00Z", more than 30 days before its receipt'],
    [{ time: "2999-01-01T00:00:00Z" }, '"time" is "2999-01-01T00:00:00Z", more than 5 minutes after its receipt'],
    [{ datacontenttype: "text/xml" }, '"datacontenttype" is "text/xml"; application/json is expected'],
  ])("names the field and what is allowed: %j", async (fields, detail) => {
    const answer = await world.post("/v1/changes", JSON.stringify(eventOf(fields)), structured);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([400, "application/problem+json"]);
    expect(JSON.parse(answer.text)).toEqual({
      type: "about:blank",
      title: "The request is not valid",
      status: 400,
      code: "REQUEST_INVALID",
      detail,
    });
  });

  it("names the field inside the data", async () => {
    const answer = await world.post("/v1/changes", JSON.stringify(eventOf({ data: { actor: "me" } })), structured);
    expect(JSON.parse(answer.text).detail).toMatch(/^"data\.summary" /);
  });

  it("names the byte where the JSON is broken, and what a content type may be", async () => {
    const broken = await world.post("/v1/changes", '{"specversion" "1.0"}', structured);
    expect([broken.status, JSON.parse(broken.text).detail]).toEqual([
      400,
      'the body is not valid JSON at byte 15: """ where ":" was expected',
    ]);
    const plain = await world.post("/v1/changes", "{}", { "content-type": "application/json" });
    expect([plain.status, JSON.parse(plain.text).detail]).toEqual([
      415,
      'the content type "application/json" is not supported here; send application/cloudevents+json, ' +
        "application/cloudevents-batch+json, or application/json with ce-* headers",
    ]);
    const list = await world.post("/v1/changes", "[]", structured);
    expect(JSON.parse(list.text).detail).toBe("is not an event object");
    await world.queue.drain();
    expect(world.changes).toEqual([]);
  });
});

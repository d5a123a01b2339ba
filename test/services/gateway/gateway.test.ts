import { request as httpRequest } from "node:http";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { Queue } from "../../../contract/port.ts";
import { queueTopics } from "../../../contract/topic.ts";
import { until } from "../../conformance/temporary.ts";
import { fixedRequests, spanOf, traceRequest } from "../../native/otlp-bodies.ts";
import { decodeOtlp, encodeOtlp } from "../../native/otlp-oracle.ts";
import { json, protobuf, useGatewayWorlds } from "./gateway-world.ts";

const open = useGatewayWorlds();
const traces = () => Uint8Array.from(encodeOtlp("traces", fixedRequests.traces));
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

function statusIn(answer: { bytes: Uint8Array; headers: Headers }): { code: number; message: string } {
  expect(answer.headers.get("content-type")).toBe("application/x-protobuf");
  return decodeOtlp("RpcStatus", answer.bytes) as { code: number; message: string };
}

describe("accepting telemetry", () => {
  it.each(["traces", "metrics", "logs"] as const)(
    "takes %s in protobuf and JSON, plain and gzip, and forwards the bytes untouched",
    async (signal) => {
      const { post, queue, batches, recorded } = await open();
      const binary = Uint8Array.from(encodeOtlp(signal, fixedRequests[signal]));
      const text = JSON.stringify(fixedRequests[signal]);
      const answers = [
        await post(`/v1/${signal}`, binary, protobuf),
        await post(`/v1/${signal}`, gzipSync(binary), { ...protobuf, "content-encoding": "gzip" }),
        await post(`/v1/${signal}`, text, { "content-type": "application/json; charset=utf-8" }),
        await post(`/v1/${signal}`, gzipSync(text), { ...json, "content-encoding": "gzip" }),
      ];
      expect(answers.map((answer) => [answer.status, answer.headers.get("content-type"), answer.text])).toEqual([
        [200, "application/x-protobuf", ""],
        [200, "application/x-protobuf", ""],
        [200, "application/json", "{}"],
        [200, "application/json", "{}"],
      ]);
      await queue.drain();
      expect(batches.map(({ id, sequence, encoding, signal: found }) => [id, sequence, encoding, found])).toEqual([
        ["gw-0", 0, "protobuf", signal],
        ["gw-1", 1, "protobuf", signal],
        ["gw-2", 2, "json", signal],
        ["gw-3", 3, "json", signal],
      ]);
      expect(new Set(batches.map((batch) => batch.source)).size).toBe(1);
      expect(batches[0]?.source).toMatch(/^[0-9a-f]{16}$/);
      for (const batch of batches.slice(0, 2)) expect(Buffer.compare(batch.body, binary)).toBe(0);
      for (const batch of batches.slice(2)) expect(Buffer.from(batch.body).toString()).toBe(text);
      expect(recorded.map((body) => [body.path, body.contentType])).toEqual([
        [`/v1/${signal}`, "application/x-protobuf"],
        [`/v1/${signal}`, "application/x-protobuf"],
        [`/v1/${signal}`, "application/json"],
        [`/v1/${signal}`, "application/json"],
      ]);
    },
  );

  it("numbers each source by itself, without gaps, under load", async () => {
    const { post, queue, batches } = await open();
    const services = ["a", "b", "c"];
    await Promise.all(
      Array.from({ length: 60 }, (_, index) => {
        const service = services[index % 3] as string;
        return post("/v1/traces", Uint8Array.from(encodeOtlp("traces", traceRequest(service, [spanOf()]))), protobuf);
      }),
    );
    await queue.drain();
    const sources = [...new Set(batches.map((batch) => batch.source))];
    expect(sources).toHaveLength(3);
    for (const source of sources) {
      const sequences = batches.filter((batch) => batch.source === source).map((batch) => batch.sequence);
      expect(sequences).toEqual(Array.from({ length: 20 }, (_, index) => index));
    }
    expect(new Set(batches.map((batch) => batch.id)).size).toBe(60);
  });

  it("gives instances, signals and gateways sources of their own, and the same again to a replay", async () => {
    const sourcesOf = async (gatewayId: string) => {
      const { gateway, queue, batches } = await open({ gatewayId });
      const send = (instance: string) =>
        gateway.accept({
          method: "POST",
          path: "/v1/traces",
          headers: protobuf,
          body: encodeOtlp("traces", traceRequest("cart", [spanOf()], { "service.instance.id": instance })),
          receivedAtMs: 5,
        });
      await send("1");
      await send("2");
      await gateway.accept({ method: "POST", path: "/v1/logs", headers: json, body: Buffer.from(JSON.stringify(fixedRequests.logs)) });
      await queue.drain();
      expect(batches[0]?.receivedAtMs).toBe(5);
      return batches.map((batch) => batch.source);
    };
    const [first, again, other] = [await sourcesOf("g1"), await sourcesOf("g1"), await sourcesOf("g2")];
    expect(new Set([...first, ...other]).size).toBe(6);
    expect(again).toEqual(first);
  });

  it("does not use up a number when publishing fails", async () => {
    let failing = true;
    const wrap = (queue: Queue): Queue => ({
      publish: (topic, message) =>
        failing ? Promise.reject(new HeadwaterError("QUEUE_UNAVAILABLE", "redis is away")) : queue.publish(topic, message),
      subscribe: (topic, reader, handler, options) => queue.subscribe(topic, reader, handler, options),
      depth: (topic, reader) => queue.depth(topic, reader),
      deadLetters: (options) => queue.deadLetters(options),
      retryDeadLetter: (id) => queue.retryDeadLetter(id),
      dropDeadLetter: (id) => queue.dropDeadLetter(id),
      drain: () => queue.drain(),
      close: () => queue.close(),
    });
    const { post, queue, batches, recorded } = await open({ wrap });
    const refused = await post("/v1/traces", traces(), protobuf);
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(statusIn(refused)).toEqual({ code: 14, message: "redis is away" });
    failing = false;
    expect((await post("/v1/traces", traces(), protobuf)).status).toBe(200);
    await queue.drain();
    expect(batches.map((batch) => batch.sequence)).toEqual([0]);
    expect(recorded).toHaveLength(1);
  });

  it("answers an empty request without publishing anything", async () => {
    const { post, queue, batches } = await open();
    expect((await post("/v1/traces", new Uint8Array(0), protobuf)).status).toBe(200);
    expect((await post("/v1/logs", "{}", json)).text).toBe("{}");
    await queue.drain();
    expect(batches).toEqual([]);
  });

  it("tells the flow once that nothing came any more, so that what came last closes its windows", async () => {
    const world = await open({ idleMs: 50 });
    await world.post("/v1/traces", traces(), protobuf);
    await until("the flow is told", () => world.batches.length === 2);
    expect(world.batches[1]).toMatchObject({ sequence: 0, body: new Uint8Array(0) });
    expect(world.batches[1]?.source).not.toBe(world.batches[0]?.source);
    await world.post("/v1/traces", traces(), protobuf);
    await until("it is told again after more came", () => world.batches.length === 4);
    expect(world.batches[3]).toMatchObject({ sequence: 1, source: world.batches[1]?.source });
  });

  it("says that it lives", async () => {
    const { gateway } = await open({ tokens: [{ token: "a-secret-of-sixteen", roles: ["ingest"] }] });
    const response = await fetch(`${gateway.url()}/livez`);
    expect([response.status, await response.json()]).toEqual([200, { status: "live" }]);
  });
});

describe("refusing telemetry", () => {
  it("names the byte where a body is truncated or wrong", async () => {
    const { post } = await open();
    const cut = await post("/v1/traces", traces().subarray(0, 40), protobuf);
    expect(cut.status).toBe(400);
    expect(statusIn(cut)).toEqual({
      code: 3,
      message: expect.stringMatching(/^the body is not valid OTLP traces at byte 0: field 1 needs \d+ bytes, \d+ are left$/),
    });
    const text = await post("/v1/traces", '{"resourceSpans":[}', json);
    expect([text.status, text.headers.get("content-type"), text.text]).toEqual([
      400,
      "application/json",
      JSON.stringify({ code: 3, message: 'the body is not valid OTLP traces at byte 18: "}" where a value was expected' }),
    ]);
    const shape = await post("/v1/metrics", '{"resourceMetrics":{}}', json);
    expect(JSON.parse(shape.text).message).toBe("the body is not valid OTLP metrics: resourceMetrics is an object, expected a list");
    const other = await post("/v1/logs", JSON.stringify(fixedRequests.traces), json);
    expect(JSON.parse(other.text).message).toContain('so it belongs to /v1/traces; /v1/logs expects "resourceLogs"');
  });

  it("names what is accepted when the content type or encoding is something else", async () => {
    const { post } = await open();
    const type = await post("/v1/traces", "x", { "content-type": "text/plain" });
    expect([type.status, JSON.parse(type.text)]).toEqual([
      415,
      { code: 3, message: 'the content type "text/plain" is not supported; send application/x-protobuf or application/json' },
    ]);
    const encoding = await post("/v1/traces", traces(), { ...protobuf, "content-encoding": "br" });
    expect(encoding.status).toBe(415);
    expect(statusIn(encoding).message).toBe('the content encoding "br" is not supported; send gzip or identity');
  });

  it("refuses a body that is too large, announced, streamed or compressed, and goes on", async () => {
    const { post, gateway } = await open({ http: { bodyBytesMax: 100_000 } });
    const announced = await post("/v1/traces", new Uint8Array(100_001), protobuf);
    expect(announced.status).toBe(413);
    expect(statusIn(announced).message).toBe("the body is larger than 100000 bytes; send smaller batches or raise gateway.bodyBytesMax");
    expect(
      await streamed(
        gateway.url(),
        Array.from({ length: 20 }, () => new Uint8Array(10_000)),
      ),
    ).toBe(413);
    const bomb = gzipSync(new Uint8Array(50_000_000));
    expect(bomb.length).toBeLessThan(100_000);
    const before = process.memoryUsage().arrayBuffers;
    const bombed = await post("/v1/traces", bomb, { ...protobuf, "content-encoding": "gzip" });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
    expect(bombed.status).toBe(413);
    expect(statusIn(bombed)).toEqual({
      code: 8,
      message: "the decompressed body is larger than 100000 bytes; send smaller batches or raise gateway.bodyBytesMax",
    });
    const behind = await gateway.accept({
      method: "POST",
      path: "/v1/traces",
      headers: { ...protobuf, "content-encoding": "gzip" },
      body: bomb,
    });
    expect(behind.status).toBe(413);
    expect((await post("/v1/traces", traces(), protobuf)).status).toBe(200);
  });

  it("says that gzip is broken, also when it is cut off", async () => {
    const { post } = await open();
    for (const body of [Buffer.from("not gzip"), gzipSync(traces()).subarray(0, 60)]) {
      const answer = await post("/v1/traces", body, { ...protobuf, "content-encoding": "gzip" });
      expect(answer.status).toBe(400);
      expect(statusIn(answer).message).toMatch(/^the body is not valid gzip: /);
    }
  });

  it("gives up on a body that does not arrive", async () => {
    const { gateway, post } = await open({ http: { bodyTimeoutMs: 150 } });
    const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const request = httpRequest(
        `${gateway.url()}/v1/traces`,
        { method: "POST", headers: { ...json, "content-length": "1000" } },
        (response) => {
          let text = "";
          response.on("data", (chunk) => {
            text += chunk;
          });
          response.on("end", () => {
            resolve({ status: response.statusCode ?? 0, text });
            request.destroy();
          });
        },
      );
      request.on("error", reject);
      request.write("{");
    });
    expect(answer).toEqual({
      status: 408,
      text: JSON.stringify({ code: 4, message: "the body did not arrive within 150 ms (1 bytes did)" }),
    });
    expect((await post("/v1/traces", traces(), protobuf)).status).toBe(200);
  });

  it("is not disturbed by a client that goes away", async () => {
    const { gateway, post } = await open();
    await new Promise<void>((resolve) => {
      const request = httpRequest(`${gateway.url()}/v1/traces`, { method: "POST", headers: { ...json, "content-length": "1000" } });
      request.on("error", () => undefined);
      request.on("close", () => resolve());
      request.write("{", () => request.destroy());
    });
    expect((await post("/v1/traces", traces(), protobuf)).status).toBe(200);
    await gateway.settle();
  });

  it("says when the queue is full, before it reads the body, and when to try again", async () => {
    const { post, queue } = await open({ read: "no" });
    const { depthMax } = queueTopics.telemetry;
    const batch = {
      tenant: "t",
      gateway: "g",
      source: "s",
      signal: "traces",
      encoding: "protobuf",
      receivedAtMs: 0,
      body: new Uint8Array(1),
    } as const;
    await Promise.all(
      Array.from({ length: depthMax }, (_, sequence) => queue.publish("telemetry", { ...batch, id: `x-${sequence}`, sequence })),
    );
    const full = await post("/v1/traces", traces(), protobuf);
    expect([full.status, full.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(statusIn(full)).toEqual({ code: 8, message: `${depthMax} telemetry messages are waiting (at most ${depthMax})` });
  });

  it("asks for a token where tokens are configured, and for the right role", async () => {
    const tokens = [
      { token: "ingest-token-0001", roles: ["ingest"] as const },
      { token: "viewer-token-0001", roles: ["viewer"] as const },
    ];
    const { post } = await open({ tokens });
    const missing = await post("/v1/traces", traces(), protobuf);
    expect([missing.status, missing.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    expect(statusIn(missing)).toEqual({ code: 16, message: "send a token as `Authorization: Bearer <token>`" });
    const wrong = await post("/v1/traces", traces(), { ...protobuf, ...bearer("ingest-token-0002") });
    expect([wrong.status, statusIn(wrong).message]).toEqual([401, "the token is not known"]);
    const viewer = await post("/v1/changes", "{}", { ...bearer("viewer-token-0001"), "content-type": "application/cloudevents+json" });
    expect([viewer.status, JSON.parse(viewer.text).detail]).toEqual([
      403,
      "the token has the roles viewer; sending needs one of ingest, agent, admin",
    ]);
    expect((await post("/v1/traces", traces(), { ...protobuf, ...bearer("ingest-token-0001") })).status).toBe(200);
  });

  it("says what there is instead of an unknown path or method", async () => {
    const { gateway, post } = await open();
    const path = await post("/v1/profiles", "x", json);
    expect([path.status, JSON.parse(path.text)]).toMatchObject([404, { code: "NOT_FOUND", status: 404 }]);
    expect(JSON.parse(path.text).detail).toContain("known are /v1/traces, /v1/metrics, /v1/logs, /v1/changes, /livez");
    const method = await fetch(`${gateway.url()}/v1/traces?x=1`);
    expect([method.status, method.headers.get("allow"), await method.json()]).toEqual([
      405,
      "POST",
      { code: 12, message: "GET is not allowed at /v1/traces; use POST" },
    ]);
  });

  it("counts what it answered", async () => {
    const { post, platform } = await open();
    await post("/v1/traces", traces(), protobuf);
    await post("/v1/traces", "x", { "content-type": "text/plain" });
    await post("/nowhere", "x", json);
    const text = await platform.metrics.registry.metrics();
    expect(text).toContain('headwater_gateway_requests_total{path="/v1/traces",status="200"} 1');
    expect(text).toContain('headwater_gateway_requests_total{path="/v1/traces",status="415"} 1');
    expect(text).toContain('headwater_gateway_requests_total{path="other",status="404"} 1');
    expect(text).toContain('headwater_gateway_items_total{signal="traces"} 1');
  });
});

/** Sends a body in chunks of unannounced length; answers the status. */
function streamed(url: string, chunks: readonly Uint8Array[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${url}/v1/traces`, { method: "POST", headers: protobuf }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
    });
    request.on("error", reject);
    for (const chunk of chunks) request.write(chunk);
    request.end();
  });
}

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { reduceBatch } from "../../../native/reducer.ts";
import { httpPost } from "../../../services/agent/http-post.ts";
import { OtlpSender, type OtlpSenderOptions, type Post } from "../../../services/agent/otlp-sender.ts";
import { OtlpWriter } from "../../../services/agent/otlp-writer.ts";
import { ManualClock, SystemClock } from "../../../services/platform.ts";
import { until } from "../../conformance/temporary.ts";
import { options as reduceOptions } from "../../native/reduced.ts";
import { gatewayWorld } from "../gateway/gateway-world.ts";
import { bootMs, silentPlatform } from "./agent-world.ts";

const body = (text: string) => new TextEncoder().encode(text);

function sender(post: Post, changed: Partial<OtlpSenderOptions> = {}) {
  const clock = new ManualClock(bootMs);
  const platform = silentPlatform(clock);
  const counted: string[] = [];
  const onCounted: OtlpSenderOptions["onCounted"] = (what, signal) => counted.push(`${what} ${signal}`);
  const target = "http://gateway:4318";
  const made = new OtlpSender({ platform, post, target, gzipBytesMin: null, bufferBytesMax: 1_000, onCounted, ...changed });
  return { made, clock, platform, counted };
}

const accepted = { status: 200, retryAfterSeconds: null, text: "" };

describe("the OTLP sender", () => {
  it("sends in the order in which it was given, one at a time", async () => {
    const got: string[] = [];
    let under = 0;
    const { made, counted } = sender(async ({ path, body: sent }) => {
      under += 1;
      expect(under).toBe(1);
      await Promise.resolve();
      got.push(`${path} ${new TextDecoder().decode(sent)}`);
      under -= 1;
      return accepted;
    });
    made.send("metrics", body("1"));
    made.send("traces", body("2"));
    made.send("logs", body("3"));
    await made.settle();
    expect(got).toEqual(["/v1/metrics 1", "/v1/traces 2", "/v1/logs 3"]);
    expect(counted).toEqual(["sent metrics", "sent traces", "sent logs"]);
    expect(made.waitingBytes).toBe(0);
  });

  it("tries again after what Retry-After says, after an answer that passes, or none at all, with one line for the outage", async () => {
    const answers: (Awaited<ReturnType<Post>> | Error)[] = [
      new HeadwaterError("GATEWAY_UNAVAILABLE", "the gateway at http://gateway:4318 cannot be reached: ECONNREFUSED"),
      new HeadwaterError("GATEWAY_UNAVAILABLE", "the gateway at http://gateway:4318 cannot be reached: ECONNREFUSED"),
      { status: 503, retryAfterSeconds: 3, text: "stopping" },
      accepted,
    ];
    const { made, clock, platform, counted } = sender(() => {
      const answer = answers.shift() ?? accepted;
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    });
    made.send("metrics", body("1"));
    for (let atMs = bootMs; answers.length > 0; atMs += 250) {
      clock.advanceTo(atMs);
      await new Promise((resolve) => setImmediate(resolve));
      if (atMs === bootMs + 250) expect(made.reasons()).toHaveLength(1);
      expect(atMs).toBeLessThan(bootMs + 20_000);
    }
    await made.settle();
    expect(counted).toEqual(["sent metrics"]);
    expect(clock.nowMs()).toBeGreaterThanOrEqual(bootMs + 3_000);
    expect(platform.lines.filter((line) => line.includes("waits and tries again"))).toHaveLength(1);
    expect(made.reasons()).toEqual([]);
  });

  it("drops what is refused for good, and goes on", async () => {
    const statuses = [400, 200];
    const { made, counted, platform } = sender(() => Promise.resolve({ ...accepted, status: statuses.shift() ?? 200, text: "malformed" }));
    made.send("metrics", body("1"));
    made.send("metrics", body("2"));
    await made.settle();
    expect(counted).toEqual(["dropped-refused metrics", "sent metrics"]);
    expect(platform.lines.join("\n")).toContain("http://gateway:4318 answered 400: malformed");
  });

  it("drops the oldest that waits when its buffer is full, counted, and never what is under way", async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const got: string[] = [];
    const { made, counted } = sender(async ({ body: sent }) => {
      await held;
      got.push(new TextDecoder().decode(sent.subarray(0, 1)));
      return accepted;
    });
    for (const name of ["a", "b", "c", "d"]) made.send("traces", body(name.repeat(300)));
    made.send("logs", body("e".repeat(2_000)));
    release();
    await made.settle();
    expect(got).toEqual(["a", "c", "d"]);
    expect(counted.filter((what) => what.startsWith("dropped"))).toEqual(["dropped-buffer traces", "dropped-buffer logs"]);
  });

  it("gives up what waits when it is closed and the gateway stays away, counted", async () => {
    const { made, counted, clock } = sender(() => Promise.reject(new HeadwaterError("GATEWAY_UNAVAILABLE", "away")));
    made.send("metrics", body("1"));
    const closed = made.close(1_000);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advanceTo(bootMs + 1_000);
    await closed;
    made.send("metrics", body("2"));
    expect(counted).toEqual(["dropped-buffer metrics", "dropped-buffer metrics"]);
  });
});

describe("over HTTP", () => {
  let server: Server | null = null;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = null;
  });

  it("a gateway takes what the agent writes, zipped or not, with a token", async () => {
    const token = "0123456789abcdef";
    const world = await gatewayWorld({ tokens: [{ token, roles: ["agent"] }] });
    try {
      const { post, close } = httpPost({ url: world.gateway.url(), token, timeoutMs: 5_000 });
      const { made, counted } = sender(post, {
        gzipBytesMin: 1,
        bufferBytesMax: 1_000_000,
        platform: { ...silentPlatform(), clock: new SystemClock() },
      });
      const writer = new OtlpWriter({ bodyBytesMax: 100_000, version: "1", sender: { "service.name": "headwater-agent" } });
      const nowMs = Date.now();
      const items = [{ kind: "gauge", name: "process.memory.usage", unit: "By", points: [{ attributes: {}, value: 5 }] }] as const;
      const [metrics] = writer.metrics([{ resource: { "service.name": "cart" }, items }], { startMs: nowMs - 1_000, endMs: nowMs });
      made.send("metrics", metrics!);
      await made.settle();
      close();
      expect(counted).toEqual(["sent metrics"]);
      await until("the batch is published", () => world.batches.length === 1);
      expect([...reduceBatch(world.batches[0]!, reduceOptions).rejects]).toEqual([]);
      const refused = httpPost({ url: world.gateway.url(), token: "fedcba9876543210", timeoutMs: 5_000 });
      expect(
        (await refused.post({ path: "/v1/metrics", headers: { "content-type": "application/x-protobuf" }, body: metrics! })).status,
      ).toBe(401);
      refused.close();
    } finally {
      await world.close();
    }
  });

  it("an answer that never comes, and nobody who listens, are failures in words", async () => {
    server = createServer(() => undefined);
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const silent = httpPost({ url, token: null, timeoutMs: 50 });
    const request = { path: "/v1/logs", headers: {}, body: body("x") };
    await expect(silent.post(request)).rejects.toMatchObject({
      code: "GATEWAY_UNAVAILABLE",
      message: expect.stringContaining("no answer within 50 ms"),
    });
    silent.close();
    server.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
    const nobody = httpPost({ url, token: null, timeoutMs: 1_000 });
    await expect(nobody.post(request)).rejects.toMatchObject({
      code: "GATEWAY_UNAVAILABLE",
      message: expect.stringContaining("ECONNREFUSED"),
    });
    nobody.close();
  });
});

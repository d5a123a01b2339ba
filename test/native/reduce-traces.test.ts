import { describe, expect, it } from "vitest";
import { hash32, partitionOf } from "../../contract/canonical.ts";
import { batchOf, nanos, receivedAtMs, spanOf, stringAttributes, traceRequest } from "./otlp-bodies.ts";
import { hexId, merged, partialsOf, spansOf, windowStartMs } from "./reduced.ts";

describe("reducing spans", () => {
  it("attributes a span to the window of its end and counts duration, failure and bucket", () => {
    const failed = spanOf({
      spanId: hexId(16, 1),
      startTimeUnixNano: nanos(receivedAtMs - 10_900),
      endTimeUnixNano: nanos(receivedAtMs - 9_900, 7),
      status: { code: 2, message: "no" },
    });
    const result = merged([batchOf("traces", traceRequest("cart", [spanOf(), failed], { "service.namespace": "shop" }))]);
    expect(partialsOf(result)).toEqual([
      {
        kind: "duration",
        entity: "shop/cart",
        metric: "span.server.duration",
        attributes: "operation=GET /cart",
        windowStartMs,
        count: 2,
        failed: 1,
        sumNs: 1_005_000_007,
        minNs: 5_000_000,
        maxNs: 1_000_000_007,
        buckets: [
          [355, 1],
          [477, 1],
        ],
      },
    ]);
    expect(result.windows[partitionOf("shop/cart")]?.partials).toHaveLength(1);
    expect(result.windows[0]?.progress).toEqual([
      { source: "0123456789abcdef", gateway: "test", sequence: 0, atUs: (receivedAtMs - 1_000) * 1_000, receivedAtMs },
    ]);
  });

  it("names client spans by the address of the other side and makes a half of each call", () => {
    const client = (attributes: Record<string, string>, seed: number) =>
      spanOf({ kind: 3, spanId: hexId(16, seed), attributes: stringAttributes(attributes) });
    const spans = [
      client({ "server.address": "Pay", "server.port": "8080", "http.request.method": "GET" }, 1),
      client({ "net.peer.name": "pay", "net.peer.port": "8081", "rpc.system": "grpc" }, 2),
      client({ "db.system.name": "postgresql", "server.address": "10.0.0.5", "server.port": "5432" }, 3),
      client({ "db.system": "redis", "net.peer.name": "cache" }, 4),
      client({ "url.full": "https://user:secret@pay.example/charge?card=1" }, 5),
      client({ "peer.service": "mailer" }, 6),
      client({ "messaging.system": "kafka", "messaging.destination.name": "orders" }, 7),
      client({}, 8),
      client({ "server.address": "::1", "server.port": "443" }, 9),
    ];
    const result = merged([batchOf("traces", traceRequest("cart", spans))]);
    const halves = result.dependencies.flatMap((entry) => entry.halves);
    expect(halves.map((half) => [half.side, half.spanId, half.peer, half.protocol])).toEqual([
      ["client", hexId(16, 1), "pay:8080", "http"],
      ["client", hexId(16, 2), "pay:8081", "grpc"],
      ["client", hexId(16, 3), "postgresql@10.0.0.5:5432", "postgresql"],
      ["client", hexId(16, 4), "redis@cache", "redis"],
      ["client", hexId(16, 5), "pay.example:443", "http"],
      ["client", hexId(16, 6), "mailer", "unknown"],
      ["client", hexId(16, 7), "kafka@orders", "kafka"],
      ["client", hexId(16, 8), null, "unknown"],
      ["client", hexId(16, 9), "[::1]:443", "unknown"],
    ]);
    expect(partialsOf(result).map((partial) => partial.attributes)).toEqual(
      [
        "peer=[::1]:443",
        "peer=kafka@orders",
        "peer=mailer",
        "peer=pay.example:443",
        "peer=pay:8080",
        "peer=pay:8081",
        "peer=postgresql@10.0.0.5:5432",
        "peer=redis@cache",
        "peer=unknown",
      ].sort(),
    );
  });

  it("gives the callee's half its parent's id, none to an entry, and a linked consumer its producer's", () => {
    const producer = { traceId: hexId(32, 77), spanId: hexId(16, 78) };
    const spans = [
      spanOf({ spanId: hexId(16, 1), parentSpanId: hexId(16, 50) }),
      spanOf({ spanId: hexId(16, 2), traceId: hexId(32, 9) }),
      spanOf({ spanId: hexId(16, 3), traceId: hexId(32, 10), kind: 5, links: [producer] }),
      spanOf({ spanId: hexId(16, 4), kind: 1 }),
    ];
    const result = merged([batchOf("traces", traceRequest("cart", spans))]);
    const halves = result.dependencies.flatMap((entry, partition) => entry.halves.map((half) => ({ partition, ...half })));
    expect(new Set(halves.map((half) => `${half.traceId} ${half.spanId} ${half.side}`))).toEqual(
      new Set([
        `0af7651916cd43dd8448eb211c80319c ${hexId(16, 50)} server`,
        `${hexId(32, 9)} null server`,
        `${producer.traceId} ${producer.spanId} server`,
      ]),
    );
    for (const half of halves) expect(half.partition).toBe(partitionOf(half.traceId));
  });

  it("keeps failed spans, the three slowest of each operation, and healthy ones by trace id", () => {
    const spans = Array.from({ length: 200 }, (_, index) =>
      spanOf({
        traceId: hexId(32, index),
        spanId: hexId(16, index),
        startTimeUnixNano: nanos(receivedAtMs - 2_000 - index),
        endTimeUnixNano: nanos(receivedAtMs - 2_000),
        ...(index === 5 ? { status: { code: 2 } } : {}),
      }),
    );
    const kept = spansOf(merged([batchOf("traces", traceRequest("cart", spans))]));
    const because = (reason: string) => kept.filter((span) => span.keptBecause === reason);
    expect(because("failed").map((span) => span.spanId)).toEqual([hexId(16, 5)]);
    expect(because("slow").map((span) => span.durationNs / 1e6)).toEqual([197, 198, 199]);
    const sampledIds = spans.map((_, index) => hexId(32, index)).filter((id) => hash32(id) % 4 === 0);
    const expected = sampledIds.filter((id) => !because("slow").some((span) => span.traceId === id) && id !== hexId(32, 5));
    expect(because("sampled").map((span) => span.traceId)).toEqual(expected);
    expect(expected.length).toBeGreaterThan(20);
  });

  it("writes what a recorded exception says", () => {
    const event = { name: "exception", attributes: stringAttributes({ "exception.type": "TypeError", "exception.message": "x is null" }) };
    const [span] = spansOf(
      merged([batchOf("traces", traceRequest("cart", [spanOf({ status: { code: 2, message: "failed" }, events: [event] })]))]),
    );
    expect(span).toMatchObject({ exception: "TypeError: x is null", statusMessage: "failed", failed: true, keptBecause: "failed" });
  });
});

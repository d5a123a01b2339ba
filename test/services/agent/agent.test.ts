import { describe, expect, it } from "vitest";
import type { DurationPartial } from "../../../contract/window.ts";
import { bucketIndex, mergeBuckets, sortedBuckets } from "../../../native/histogram.ts";
import { reduceBatch } from "../../../native/reducer.ts";
import { eventLayout, eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import { ManualClock } from "../../../services/platform.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { decodeOtlp } from "../../native/otlp-oracle.ts";
import { merged, options, partialsOf, spansOf } from "../../native/reduced.ts";
import {
  agentOf,
  batchesOf,
  bootMs,
  entries,
  ListSource,
  makeProc,
  putAddress,
  rawClosed,
  rawHttp,
  rawOpened,
  rawPiece,
  records,
  type SentBody,
  silentPlatform,
} from "./agent-world.ts";

const folder = useTemporaryFolder();

const web = { cookie: 1, role: "client", tgid: 100, local: "10.0.0.1:4000", remote: "10.0.0.2:80" } as const;
const webAtShop = { cookie: 2, role: "server", tgid: 200, netns: 2, local: "10.0.0.2:80", remote: "10.0.0.1:4000" } as const;
const shopToRedis = { cookie: 3, role: "client", tgid: 200, netns: 2, local: "10.0.0.2:5000", remote: "10.0.0.3:6379" } as const;
const redis = { cookie: 4, role: "server", tgid: 300, netns: 3, local: "10.0.0.3:6379", remote: "10.0.0.2:5000" } as const;
const outside = { cookie: 5, role: "server", tgid: 100, local: "10.0.0.1:8080", remote: "192.0.2.7:31000" } as const;
const curl = { cookie: 6, role: "client", tgid: 900, local: "192.0.2.7:31000", remote: "10.0.0.1:8080" } as const;

function world(): void {
  makeProc(folder.path, [
    { pid: 100, command: "node", environment: { OTEL_SERVICE_NAME: "web", OTEL_RESOURCE_ATTRIBUTES: "service.version=1.4.0" } },
    { pid: 200, command: "shop-server" },
    { pid: 300, command: "redis-server" },
    { pid: 900, command: "curl" },
  ]);
}

/** `count` requests from the outside through web and shop to Redis within one second, the last of them failed. */
function traffic(count: number, startMs: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => {
    const beginMs = startMs + at * 5;
    const status = at === count - 1 ? 500 : 200;
    const sequence = at + 1;
    const get = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    const answer = "$1\r\nb\r\n";
    const place = (direction: "received" | "sent", data: string, afterMs: number, offset: number, number: number) => ({
      direction,
      data,
      offset,
      sequence: number,
      atMs: beginMs + afterMs,
    });
    return [
      rawHttp(outside, { request: `GET /orders/${at}`, status, startMs: beginMs, endMs: beginMs + 4, sequence }),
      rawHttp(curl, { request: `GET /orders/${at}`, status, startMs: beginMs - 0.1, endMs: beginMs + 4.1, sequence }),
      rawHttp(web, { request: "GET /price", status, startMs: beginMs + 0.5, endMs: beginMs + 3.5, sequence }),
      rawHttp(webAtShop, { request: "GET /price", status, startMs: beginMs + 0.6, endMs: beginMs + 3.4, sequence }),
      rawPiece(shopToRedis, place("sent", get, 1, at * get.length, at * 2 + 1)),
      rawPiece(redis, place("received", get, 1.1, at * get.length, at * 2 + 1)),
      rawPiece(redis, place("sent", answer, 1.9, at * answer.length, at * 2 + 2)),
      rawPiece(shopToRedis, place("received", answer, 2, at * answer.length, at * 2 + 2)),
    ];
  }).flat();
}

const opened = [web, webAtShop, shopToRedis, redis, outside, curl];

function batches(count = 50) {
  return [
    records("lifecycle_ring", 1_001, [
      rawOpened({ ...redis, local: "0.0.0.0:6379", remote: "0.0.0.0:0" }, 900, eventNumbers.HW_LISTENER),
      ...opened.map((end) => rawOpened(end, 1_000)),
    ]),
    records("data_ring", 1_400, traffic(count, 1_010)),
    records(
      "lifecycle_ring",
      2_400,
      opened.map((end) => rawClosed(end, 2_399)),
    ),
  ];
}

async function run(count?: number, changed: Parameters<typeof agentOf>[2] = {}): Promise<SentBody[]> {
  world();
  const { agent, sent } = agentOf(new ListSource(batches(count)), folder.path, changed);
  await agent.run();
  return sent;
}

function reduced(sent: readonly SentBody[]) {
  return merged(batchesOf(sent, bootMs + 3_000), { windowMs: 1_000 });
}

describe("an agent", () => {
  it("sends bodies of which the reducer refuses nothing", async () => {
    for (const batch of batchesOf(await run(), bootMs + 3_000)) {
      const { rejects, itemCount } = reduceBatch(batch, { ...options, windowMs: 1_000 });
      expect([...rejects]).toEqual([]);
      expect(itemCount).toBeGreaterThan(0);
    }
  });

  it("counts every exchange once on each side, failed ones apart, with exactly its duration's bucket", async () => {
    const durations = partialsOf(reduced(await run(50))).filter((partial): partial is DurationPartial => partial.kind === "duration");
    const of = (entity: string, attributes: string) => durations.filter((one) => one.entity === entity && one.attributes === attributes);
    const total = (list: readonly DurationPartial[]) => ({
      count: list.reduce((sum, { count }) => sum + count, 0),
      failed: list.reduce((sum, { failed }) => sum + failed, 0),
    });
    expect(total(of("web", "operation=GET /orders/{id}"))).toEqual({ count: 50, failed: 1 });
    expect(total(of("web", "peer=10.0.0.2:80"))).toEqual({ count: 50, failed: 1 });
    expect(total(of("shop-server:80", "operation=GET /price"))).toEqual({ count: 50, failed: 1 });
    expect(total(of("shop-server:80", "peer=redis@10.0.0.3:6379"))).toEqual({ count: 50, failed: 0 });
    expect(total(of("redis@10.0.0.3:6379", "operation=GET"))).toEqual({ count: 50, failed: 0 });
    const buckets = of("redis@10.0.0.3:6379", "operation=GET")
      .map((one) => one.buckets)
      .reduce(mergeBuckets, []);
    const expected = new Map<number, number>();
    for (let at = 0; at < 50; at += 1) {
      const beginMs = 1_010 + at * 5;
      const index = bucketIndex(Math.round((beginMs + 1.9) * 1e6) - Math.round((beginMs + 1.1) * 1e6));
      expected.set(index, (expected.get(index) ?? 0) + 1);
    }
    expect(buckets).toEqual(sortedBuckets(expected));
  });

  it("sends both sides of each dependency as spans of one trace, and the caller from outside as a call from nowhere", async () => {
    const spans = spansOf(reduced(await run()));
    const pairs = spans.flatMap((server) => {
      const client = spans.find((one) => one.traceId === server.traceId && one.spanId === server.parentSpanId);
      return server.kind === "server" ? [`${client?.entity ?? "nobody"} > ${server.entity}`] : [];
    });
    expect(new Set(pairs)).toEqual(new Set(["nobody > web", "web > shop-server:80", "shop-server:80 > redis@10.0.0.3:6379"]));
    const clients = spans.filter(({ kind }) => kind === "client");
    expect(new Set(clients.map(({ entity, peer }) => `${entity} > ${peer}`))).toEqual(
      new Set(["web > 10.0.0.2:80", "shop-server:80 > redis@10.0.0.3:6379"]),
    );
    // A client's half never stands alone when its callee is seen here.
    for (const client of clients) expect(spans.some(({ parentSpanId }) => parentSpanId === client.spanId)).toBe(true);
    const failed = spans.filter((span) => span.failed).map(({ entity, kind }) => `${entity} ${kind}`);
    expect(failed.sort()).toEqual(["shop-server:80 server", "web client", "web server"]);
  });

  it("never speaks of a process that is no service", async () => {
    const { windows, dependencies } = reduced(await run());
    const entities = new Set([...windows.flatMap(({ partials }) => partials.map(({ entity }) => entity))]);
    expect([...entities].filter((entity) => entity.includes("curl"))).toEqual([]);
    const observed = dependencies.flatMap(({ observations }) => observations.map(({ entity, version }) => `${entity} ${version}`));
    expect(observed).toContain("web 1.4.0");
  });

  it("gives the same bytes for the same batches", async () => {
    const [first, second] = [await run(), await run()];
    expect(second.map(({ body }) => Buffer.from(body).toString("hex"))).toEqual(first.map(({ body }) => Buffer.from(body).toString("hex")));
  });

  it("says of each signal that an interval is over, also when nothing happened in it", async () => {
    world();
    const source = new ListSource([1_100, 2_100, 3_100, 4_400].map((atMs) => entries("losses", atMs, [], { keyBytes: 8, valueBytes: 8 })));
    const { agent, sent } = agentOf(source, folder.path);
    await agent.run();
    const counts = { metrics: 0, traces: 0, logs: 0 };
    for (const { signal } of sent) counts[signal] += 1;
    expect(counts.traces).toBe(counts.metrics);
    expect(counts.logs).toBe(counts.metrics);
    expect(counts.metrics).toBeGreaterThanOrEqual(4);
  });

  it("counts what the rings lost and what it cannot read, under the host", async () => {
    world();
    const loss = (count: number) => {
      const row = Buffer.alloc(16);
      row.writeUInt32LE(eventNumbers.HW_LOSS_DATA_RING, 0);
      row.writeUInt32LE(count, 8);
      return row;
    };
    const sizes = { keyBytes: 8, valueBytes: 8 };
    const source = new ListSource([
      entries("losses", 1_100, [loss(0)], sizes),
      entries("losses", 1_200, [loss(7)], sizes),
      records("data_ring", 1_300, [Buffer.from("rubbish!")]),
    ]);
    const { agent, sent, platform } = agentOf(source, folder.path);
    await agent.run();
    expect(await platform.metrics.registry.metrics()).toContain('headwater_agent_dropped_total{where="kernel-data-ring"} 7');
    expect(await platform.metrics.registry.metrics()).toContain('headwater_agent_dropped_total{where="record-unreadable"} 1');
    const text = JSON.stringify(sent.filter(({ signal }) => signal === "metrics").map(({ body }) => decodeOtlp("metrics", body)));
    expect(text).toContain("headwater.agent.dropped");
  });

  it("says in every interval what it observes, what it gave up, and which programs are missing", async () => {
    world();
    const quiet = (atMs: number) => entries("losses", atMs, [], { keyBytes: 8, valueBytes: 8 });
    const clock = new ManualClock(bootMs);
    const seconds = Array.from({ length: 20 }, (_, second) => second + 1);
    const batchesLeft = seconds.map((second) => quiet(second * 1_000 + 300));
    const source = {
      next: () => {
        clock.advanceTo(clock.nowMs() + 1_000);
        return Promise.resolve(batchesLeft.shift() ?? null);
      },
      close: () => Promise.resolve(),
    };
    const changed: string[] = [];
    const control = {
      setLevel: (level: string) => Promise.resolve(void changed.push(level)),
      ignore: () => undefined,
      giveUp: (signals: readonly string[]) => Promise.resolve(void changed.push(`without ${signals.join()}`)),
      programsCpu: () => Promise.resolve({ all: 2, signals: new Map([["schedule", 0.5]] as const) }),
    };
    const platform = silentPlatform(clock);
    const { agent, sent } = agentOf(source, folder.path, { platform, control, programsMissing: ["hw_block_done"] });
    await agent.run();
    expect(changed).toEqual(["streams", "requests", "without schedule"]);
    const gauges = partialsOf(reduced(sent)).flatMap((one) =>
      one.kind === "gauge" && one.metric.startsWith("headwater.agent.") ? [`${one.metric} ${one.attributes} ${one.last}`] : [],
    );
    // Twenty, and the one in which the first map began to count.
    expect(gauges.filter((text) => text.startsWith("headwater.agent.level source=kernel"))).toHaveLength(21);
    expect(gauges).toContain("headwater.agent.level source=kernel 4");
    expect(gauges).toContain("headwater.agent.level source=kernel 2");
    for (const level of ["payload", "streams", "schedule"])
      expect(gauges).toContain(`headwater.agent.given_up state=${level},source=kernel 1`);
    expect(gauges.some((text) => text.includes("state=connections"))).toBe(false);
    expect(gauges.filter((text) => text === "headwater.agent.program.missing state=hw_block_done,source=kernel 1")).toHaveLength(21);
  });

  it("tells per dependency what its connections did", async () => {
    world();
    const { flowKey, flowValue } = eventLayout;
    const row = (opened: number, retransmits: number) => {
      const bytes = Buffer.alloc(flowKey.structBytes + flowValue.structBytes);
      bytes.writeUInt32LE(100, flowKey.tgid);
      putAddress(bytes, flowKey.local, "10.0.0.1:0");
      putAddress(bytes, flowKey.remote, "10.0.0.2:80");
      bytes.writeUInt8(1, flowKey.role);
      bytes.writeUInt8(eventNumbers.HW_TCP, flowKey.transport);
      bytes.writeBigUInt64LE(BigInt(opened), flowKey.structBytes + flowValue.opened);
      bytes.writeBigUInt64LE(BigInt(retransmits), flowKey.structBytes + flowValue.retransmits);
      return bytes;
    };
    const sizes = { keyBytes: flowKey.structBytes, valueBytes: flowValue.structBytes };
    const source = new ListSource([entries("flows", 1_000, [row(5, 1)], sizes), entries("flows", 2_000, [row(8, 3)], sizes)]);
    const { agent, sent } = agentOf(source, folder.path);
    await agent.run();
    const counts = partialsOf(reduced(sent)).filter((partial) => partial.kind === "count" && partial.metric.startsWith("kernel.tcp"));
    expect(counts).toMatchObject([
      {
        entity: "web",
        metric: "kernel.tcp.connections.opened",
        attributes: "peer=10.0.0.2:80",
        sum: String(3 * 1_048_576),
        windowStartMs: bootMs + 1_000,
      },
      { entity: "web", metric: "kernel.tcp.retransmits", sum: String(2 * 1_048_576) },
    ]);
  });
});

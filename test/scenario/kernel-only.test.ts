import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { incidentPrefix } from "../../contract/event-stream.ts";
import { IncidentEvent } from "../../contract/incident.ts";
import { kernelEvent, kernelScope } from "../../contract/kernel-telemetry.ts";
import type { Operational } from "../../contract/verdict.ts";
import { boundedDurations } from "../../native/duration-bounds.ts";
import { bucketIndex, sortedBuckets } from "../../native/histogram.ts";
import type { Recording } from "../../services/command/recording.ts";
import { replay } from "../../services/command/replay.ts";
import type { RecordedBody } from "../../services/gateway/gateway-message.ts";
import { nanos, stringAttributes } from "../native/otlp-bodies.ts";
import { type Replayed, replayedIn } from "./recorded-verdicts.ts";

const startMs = 1_800_000_000_000;
const faultSecond = 90;
const endSecond = 125;
const perSecond = 20;
const redis = "redis@127.0.0.1:6379";
const toCart = { "server.address": "127.0.0.1", "server.port": "4001" };
const toRedis = { "server.address": "127.0.0.1", "server.port": "6379", "db.system.name": "redis" };

/** Requests of a second, each a little longer than the last, in the form in which the agent sends them. */
function requests(metric: string, of: { ms: number; second: number; attributes: Record<string, string> }): unknown {
  const values = Array.from({ length: perSecond }, (_, index) => Math.round(of.ms * 1e6 * (1 + index / 50 + ((of.second * 7) % 5) / 100)));
  const counts = new Map<number, number>();
  for (const value of values) counts.set(bucketIndex(value), (counts.get(bucketIndex(value)) ?? 0) + 1);
  const dataPoints = boundedDurations(sortedBuckets(counts), 256).map((part) => ({
    attributes: stringAttributes(of.attributes),
    ...interval(of.second),
    count: String(perSecond),
    sum: values.reduce((sum, value) => sum + value, 0) / 1e9,
    explicitBounds: part.bounds,
    bucketCounts: part.counts.map(String),
  }));
  return { name: metric, histogram: { aggregationTemporality: 1, dataPoints } };
}

const interval = (second: number) => ({
  startTimeUnixNano: nanos(startMs + second * 1_000),
  timeUnixNano: nanos(startMs + (second + 1) * 1_000),
});

const gauge = (name: string, second: number, asDouble: number) => ({ name, gauge: { dataPoints: [{ ...interval(second), asDouble }] } });

function resource(name: string, key: "scopeMetrics" | "scopeSpans" | "scopeLogs", items: Record<string, unknown>): unknown {
  const attributes = name === "host" ? { "host.name": "one" } : { "service.name": name, "host.name": "one" };
  return { resource: { attributes: stringAttributes(attributes) }, [key]: [{ scope: { name: kernelScope }, ...items }] };
}

function metrics(second: number): unknown {
  const isFault = second >= faultSecond;
  const work = isFault ? 160 : 8;
  const wave = 1 + ((second * 13) % 7) / 100;
  const cpu = (usual: number) => gauge("process.cpu.utilization", second, usual * wave);
  const route = { "http.request.method": "GET", "http.route": "/" };
  return {
    resourceMetrics: [
      resource("web", "scopeMetrics", {
        metrics: [
          requests("http.server.request.duration", { ms: work + 4, second, attributes: route }),
          requests("http.client.request.duration", { ms: work + 1, second, attributes: toCart }),
          cpu(0.1),
        ],
      }),
      resource("cart", "scopeMetrics", {
        metrics: [
          requests("http.server.request.duration", { ms: work, second, attributes: route }),
          requests("db.client.operation.duration", { ms: 2, second, attributes: { ...toRedis, "db.operation.name": "GET" } }),
          cpu(0.2),
          gauge("kernel.cpu.throttled.utilization", second, isFault ? 0.7 : 0.01 * wave),
        ],
      }),
      resource(redis, "scopeMetrics", {
        metrics: [requests("db.server.operation.duration", { ms: 1, second, attributes: {} }), cpu(0.05)],
      }),
      resource("host", "scopeMetrics", { metrics: [gauge("system.memory.utilization", second, 0.4 * wave)] }),
    ],
  };
}

/** One representative call of each dependency, and one of a caller outside. */
function spans(second: number): unknown {
  const id = (number: number, length: number) => (second * 10 + number).toString(16).padStart(length, "0");
  const span = (call: number, kind: 2 | 3, attributes: Record<string, string>) => ({
    ...{ traceId: id(call, 32), name: "GET /", kind, attributes: stringAttributes(attributes) },
    ...(kind === 3 ? { spanId: id(call, 16) } : { spanId: id(call + 5, 16), parentSpanId: id(call, 16) }),
    startTimeUnixNano: nanos(startMs + second * 1_000 + 500),
    endTimeUnixNano: nanos(startMs + second * 1_000 + 510),
  });
  return {
    resourceSpans: [
      resource("web", "scopeSpans", { spans: [span(1, 2, {}), span(2, 3, toCart)] }),
      resource("cart", "scopeSpans", { spans: [span(2, 2, {}), span(3, 3, toRedis)] }),
      resource(redis, "scopeSpans", { spans: [span(3, 2, {})] }),
    ],
  };
}

function logs(second: number): unknown {
  const logRecords = [
    {
      timeUnixNano: nanos(startMs + second * 1_000 + 400),
      severityNumber: 13,
      body: { stringValue: "node read /etc/cart/limits" },
      attributes: stringAttributes({ "event.name": kernelEvent.fileAccess }),
    },
  ];
  return {
    resourceLogs: [resource("cart", "scopeLogs", { logRecords: second > faultSecond && second < faultSecond + 6 ? logRecords : [] })],
  };
}

/** `late` moves one signal against the others. */
function recordingOf(late: "traces" | "metrics"): Recording {
  const bodies: RecordedBody[] = [];
  const add = (path: string, atMs: number, body: unknown) =>
    bodies.push({ receivedAtMs: atMs, path, contentType: "application/json", body: new TextEncoder().encode(JSON.stringify(body)) });
  for (let second = 0; second < endSecond; second += 1) {
    const atMs = startMs + second * 1_000 + 1_050;
    add("/v1/metrics", atMs + (late === "metrics" ? 400 : 0), metrics(second));
    add("/v1/traces", atMs + (late === "traces" ? 400 : 0), spans(second));
    add("/v1/logs", atMs + (late === "metrics" ? 600 : 200), logs(second));
  }
  bodies.sort((left, right) => left.receivedAtMs - right.receivedAtMs);
  return { header: { recording: 1, startedAtMs: startMs, windowMs: 1_000, timeScale: 60 }, bodies };
}

async function replayed(recording: Recording): Promise<Replayed & { operational: Operational[]; graph: string[]; requests: number }> {
  const directory = mkdtempSync(join(tmpdir(), "headwater-kernel-"));
  const app = await replay({ recording, dataDirectory: join(directory, "data"), webDirectory: null });
  try {
    const { events, graph, telemetry } = app.ports;
    const operational: Operational[] = [];
    for (const stream of await events.streams(incidentPrefix)) {
      for (const { data } of await events.read(stream)) {
        const event = IncidentEvent.parse(data);
        if (event.type === "verdict-added") operational.push(event.operational);
      }
    }
    const view = await graph.asOf(startMs + 80_000);
    const rows = await telemetry.durations({ fromMs: startMs + 50_000, toMs: startMs + 60_000, entities: ["web"], rowsMax: 1_000 });
    const served = rows.filter(({ metric, attributes }) => metric === "kernel.server.duration" && attributes === "");
    return {
      ...(await replayedIn(events)),
      operational,
      graph: [
        ...view.dependencies.map(({ id, learnedFrom }) => `${id} ${learnedFrom}`),
        ...view.entities.map(({ id, type, entry }) => `${id} ${type}${entry ? " entry" : ""}`),
      ],
      requests: served.reduce((sum, { count }) => sum + count, 0),
    };
  } finally {
    await app.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("a shop that the kernel alone tells of", () => {
  let first: Awaited<ReturnType<typeof replayed>>;
  beforeAll(async () => {
    first = await replayed(recordingOf("traces"));
  }, 120_000);

  it("has its map, its entry and every one of its requests", () => {
    expect(first.graph).toEqual([
      `cart>${redis} kernel`,
      "web>cart kernel",
      "cart service",
      "host/one host",
      `${redis} datastore`,
      "web service entry",
    ]);
    expect(first.requests).toBe(10 * perSecond);
  });

  it("has an incident whose cause is found, with claims that say that the kernel saw it", () => {
    const last = first.sealed.at(-1);
    expect(last?.result.ranking[0]).toMatchObject({ type: "entity", id: "cart", role: "cause" });
    const claims = last?.result.ranking[0]?.claims.filter(({ stance }) => stance === "for") ?? [];
    expect(claims.length).toBeGreaterThan(1);
    expect(claims.every(({ source }) => source === "kernel")).toBe(true);
    expect(last?.snapshot.entities.find(({ id }) => id === "cart")?.host).toBe("host/one");
  });

  it("has verdicts that name the kernel's samples and events they rest on, with the batches that brought these", () => {
    const kernel = first.operational.at(-1)?.kernel;
    expect(kernel?.samples.map(({ id }) => id)).toContain("series:cart|kernel.cpu.throttled.utilization|value|");
    expect(kernel?.events.length).toBeGreaterThan(0);
    for (const { entity, event, batch } of kernel?.events ?? []) {
      expect([entity, event]).toEqual(["cart", kernelEvent.fileAccess]);
      expect(batch).toMatch(/^replay-\d+$/);
    }
  });

  it("has the same verdicts, byte for byte, however its signals are interleaved", { timeout: 120_000 }, async () => {
    const again = await replayed(recordingOf("metrics"));
    expect(again.bytes).toBe(first.bytes);
    expect(again.bytes).toContain('"ranking":[{');
    expect(again.operational.at(-1)?.kernel?.events.map(({ batch }) => batch)).not.toEqual(
      first.operational.at(-1)?.kernel?.events.map(({ batch }) => batch),
    );
  });
});

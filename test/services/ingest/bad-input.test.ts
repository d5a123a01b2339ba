import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { partitionCount } from "../../../contract/canonical.ts";
import type { PartitionLog } from "../../../contract/port.ts";
import type { Partial } from "../../../contract/window.ts";
import { createIngest } from "../../../services/ingest/ingest.ts";
import { openFilePartitionLog } from "../../../services/log/file-log.ts";
import type { Stage } from "../../../services/stage.ts";
import { temporaryFolder } from "../../conformance/temporary.ts";
import { fixedRequests, logRequest, metricRequest, nanos, spanOf, stringAttributes, traceRequest } from "../../native/otlp-bodies.ts";
import { encodeOtlp } from "../../native/otlp-oracle.ts";
import { type GatewayWorld, gatewayWorld, json, protobuf } from "../gateway/gateway-world.ts";

/** What a sender of bad telemetry meets: a listening gateway, and behind it the real queue, ingest and log. */
let world: GatewayWorld;
let log: PartitionLog;
let ingest: Stage;
let removeFolder: () => Promise<void>;

beforeEach(async () => {
  world = await gatewayWorld({ read: "no", http: { bodyBytesMax: 16_777_216 } });
  const folder = await temporaryFolder();
  removeFolder = folder.remove;
  const { platform, queue } = world;
  log = await openFilePartitionLog({ directory: folder.path, clock: platform.clock, onCounted: () => undefined, validate: "yes" });
  ingest = createIngest({ platform, queue, log, window: { windowMs: 10_000 }, flushMs: 10 });
  await ingest.start();
});

afterEach(async () => {
  await world.gateway.stop();
  await ingest.stop();
  await world.close();
  await log.close();
  await removeFolder();
});

const now = () => nanos(Date.now());
const goodSpan = (fields: Record<string, unknown> = {}) => spanOf({ startTimeUnixNano: now(), endTimeUnixNano: now(), ...fields });
const send = (signal: "traces" | "metrics" | "logs", request: unknown) =>
  world.post(`/v1/${signal}`, Uint8Array.from(encodeOtlp(signal, request)), protobuf);

async function partials(): Promise<Partial[]> {
  await world.queue.drain();
  const found: Partial[] = [];
  for (let partition = 0; partition < partitionCount; partition += 1) {
    const owner = await log.own("window", partition);
    for (const entry of await owner.read(0, { entriesMax: 1_000, waitMs: 0 })) found.push(...entry.value.partials);
    await owner.release();
  }
  return found;
}

async function counted(name: string): Promise<Record<string, number>> {
  const values = (await world.platform.metrics.registry.getSingleMetric(name)?.get())?.values ?? [];
  return Object.fromEntries(values.map(({ labels, value }) => [Object.values(labels).join(","), value]));
}

describe("bad telemetry", () => {
  it("is counted item by item, and everything else of its batch is used", async () => {
    const inAYear = nanos(Date.now() + 365 * 86_400_000);
    const spans = [
      goodSpan(),
      goodSpan({ traceId: "0af765" }),
      goodSpan({ spanId: "b7ad6b71692033310000" }),
      goodSpan({ kind: 42 }),
      goodSpan({ status: { code: 17 } }),
      goodSpan({ startTimeUnixNano: "1000000", endTimeUnixNano: "2000000" }),
      goodSpan({ endTimeUnixNano: inAYear }),
    ];
    const point = (asDouble: number, timeUnixNano = now()) => ({ timeUnixNano, asDouble });
    const gauge = [point(1), point(Number.NaN), point(Number.POSITIVE_INFINITY), point(2, "1000000"), point(2, inAYear)];
    const body = { stringValue: "hello" };
    const lines = [
      { timeUnixNano: now(), severityNumber: 9, body },
      { timeUnixNano: now(), severityNumber: 99, body },
    ];
    const answers = [
      await send("traces", traceRequest("cart", spans)),
      await send("metrics", metricRequest("cart", [{ name: "g", gauge: { dataPoints: gauge } }])),
      await send("logs", logRequest("cart", lines)),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200]);
    expect((await partials()).map((partial) => [partial.metric, "count" in partial && partial.count]).sort()).toEqual([
      ["g", 1],
      ["log.records", 1],
      ["span.server.duration", 1],
    ]);
    expect(await counted("headwater_ingest_rejects_total")).toEqual({
      "id-invalid": 2,
      "unknown-enum": 3,
      "time-out-of-range": 4,
      "value-not-finite": 2,
    });
  });

  it("of 100,000 series from one client and values of 1 MB leaves a bounded number of short keys", async () => {
    const dataPoints = Array.from({ length: 100_000 }, (_, index) => ({
      timeUnixNano: now(),
      asInt: "1",
      attributes: stringAttributes({ "http.route": `/${index}` }),
    }));
    const long = stringAttributes({ "http.route": "y".repeat(1_000_000), "user.id": "z".repeat(1_000_000) });
    const answers = [
      await send("metrics", metricRequest("noisy", [{ name: "many", gauge: { dataPoints } }])),
      await send(
        "metrics",
        metricRequest("noisy", [{ name: "long", gauge: { dataPoints: [{ timeUnixNano: now(), asInt: "1", attributes: long }] } }]),
      ),
      await send("traces", traceRequest("noisy", [goodSpan({ name: "n".repeat(1_000_000), attributes: long })])),
      await send("traces", traceRequest("quiet", [goodSpan()])),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200]);
    const found = await partials();
    expect(found.filter((partial) => partial.metric === "many").length).toBeLessThanOrEqual(2_000);
    expect(found.filter((partial) => partial.metric === "long")).toHaveLength(1);
    for (const partial of found) expect(partial.attributes.length).toBeLessThanOrEqual(512);
    expect(found.filter((partial) => partial.entity === "quiet")).toHaveLength(1);
    const bounds = await counted("headwater_ingest_bounds_total");
    expect(bounds["series-folded"]).toBe(99_950);
    expect(bounds["series-dropped"]).toBeGreaterThanOrEqual(98_000);
  });

  it("of the worst kind changes nothing of what was accepted before and after", async () => {
    const good = Uint8Array.from(encodeOtlp("traces", traceRequest("cart", [goodSpan()])));
    expect((await world.post("/v1/traces", good, protobuf)).status).toBe(200);
    const bad = [
      await world.post("/v1/traces", good.subarray(0, good.length - 1), protobuf),
      await world.post("/v1/traces", JSON.stringify(fixedRequests.traces).slice(0, -1), json),
      await world.post("/v1/traces", "[".repeat(1_000_000), json),
      await world.post("/v1/metrics", JSON.stringify({ resourceMetrics: "all of them" }), json),
      await world.post("/v1/logs", good, { "content-type": "application/grpc" }),
    ];
    expect(bad.map((answer) => answer.status)).toEqual([400, 400, 400, 400, 415]);
    expect((await world.post("/v1/traces", good, protobuf)).status).toBe(200);
    expect((await partials()).reduce((sum, partial) => sum + ("count" in partial ? partial.count : 0), 0)).toBe(2);
  });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { EvidenceSnapshot } from "../../../contract/evidence.ts";
import { loadCase } from "../../../graph/case/load-case.ts";
import { writeCase } from "../../../graph/case/write-case.ts";
import { rankCauses } from "../../../graph/rank-causes.ts";

let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "headwater-case-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const header = {
  id: "c1",
  system: "shop",
  normal: { from: 1_000, to: 1_100 },
  fault: { from: 1_100, to: 1_120 },
  alert: { entity: "front", metric: "latency", at: 1_101 },
  truth: [{ type: "entity", id: "back", kind: "anything" }],
};

async function put(name: string, text: string | Buffer): Promise<void> {
  await writeFile(join(directory, name), text);
}

async function refusal(): Promise<string> {
  const error = await loadCase(directory).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(HeadwaterError);
  expect((error as HeadwaterError).code).toBe("CASE_INVALID");
  return (error as HeadwaterError).message;
}

/** One request a second: front calls back, which is slow from 1100 on. */
function spansText(): string {
  const rows = ["traceId,spanId,parentSpanId,entity,operation,startUnixNano,durationNs,status"];
  for (let second = 1_000; second < 1_120; second += 1) {
    const own = second < 1_100 ? 5_000_000 : 900_000_000;
    const start = (offsetNs: number): string => String(BigInt(second) * 1_000_000_000n + BigInt(offsetNs));
    rows.push(`t${second},a,,front,GET /,${start(0)},${own + 4_000_000},`);
    rows.push(`t${second},b,a,front,call,${start(1_000_000)},${own + 2_000_000},OK`);
    rows.push(`t${second},c,b,back,GET /x,${start(2_000_000)},${own},OK`);
  }
  return `${rows.join("\n")}\n`;
}

describe("a case folder", () => {
  test("with case.json alone is a snapshot without evidence and with blind spots", async () => {
    await put("case.json", JSON.stringify(header));
    const loaded = await loadCase(directory);
    expect(loaded.truth).toEqual([{ type: "entity", id: "back", kind: "anything" }]);
    expect(loaded.snapshot.symptoms).toEqual([{ entity: "front", metric: "latency", atMs: 1_101_000 }]);
    expect(loaded.snapshot.blindSpots.map((spot) => spot.command)).toContain("add topology.csv to the case folder");
    expect(rankCauses(loaded.snapshot).conclusion).toBe("inconclusive");
  });

  test("never lets the truth into the snapshot", async () => {
    await put("case.json", JSON.stringify({ ...header, truth: [{ type: "entity", id: "secret-answer", kind: "x" }] }));
    expect(JSON.stringify((await loadCase(directory)).snapshot)).not.toContain("secret-answer");
  });

  test("with all files, some as gzip, is read whole and ranked", async () => {
    await put("case.json", JSON.stringify(header));
    await put("topology.csv", "source,target,protocol\r\nfront,back,http\r\nback,db,postgresql\r\n");
    await put("spans.csv.gz", gzipSync(spansText()));
    await put("metrics.csv", "timestamp,entity,metric,value\n1000,back,cpu_usage,0.5\n1001.5,back,cpu_usage,\n1002,back,availability,99\n");
    await put(
      "logs.csv",
      'timeUnixNano,entity,severity,body,traceId,spanId\n1105000000000,back,ERROR,"slow query, took 812 ms\nsecond ""line""",t1105,c\n1106000000000,back,ERROR,"slow query, took 9 ms\nsecond ""line""",,\n',
    );
    await put("events.csv", "entity,modality,name,direction,target\nfront,trace,call,PD,back\n");
    await put("changes.json", JSON.stringify([{ id: "d1", at: 1_099, entity: "back", kind: "deploy", summary: "v2", actor: "ci" }]));
    const { snapshot } = await loadCase(directory);
    expect(EvidenceSnapshot.parse(snapshot)).toEqual(snapshot);
    expect(snapshot.operations.map((operation) => [operation.entity, operation.side, operation.callee])).toEqual([
      ["back", "server", null],
      ["front", "client", "back"],
      ["front", "server", null],
    ]);
    expect(snapshot.invocations).toContainEqual({ entity: "back", normal: 100, abnormal: 20 });
    expect(snapshot.templates).toMatchObject([{ entity: "back", severity: "ERROR", normalCount: 0, abnormalCount: 2 }]);
    expect(snapshot.series.find((series) => series.metric === "availability")?.values[0]).toBeCloseTo(0.01);
    expect(snapshot.entities.find((entity) => entity.id === "db")?.type).toBe("datastore");
    expect(rankCauses(snapshot).ranking[0]?.id).toBe("back");
  });

  test("written by us is read back to the same ranking", async () => {
    await put("case.json", JSON.stringify(header));
    await put("spans.csv", spansText());
    await put("metrics.csv", "timestamp,entity,metric,value\n1000,back,span.server.duration|p95|operation=GET /x,0.5\n1001,back,mem,7\n");
    const first = await loadCase(directory);
    const copy = join(directory, "copy");
    const spans = spansText()
      .trim()
      .split("\n")
      .slice(1)
      .map((row) => row.split(","));
    await writeCase(copy, {
      header: { ...first, normal: first.snapshot.normal, fault: first.snapshot.fault, alert: first.snapshot.symptoms[0] ?? null },
      topology: first.snapshot.dependencies,
      series: first.snapshot.series,
      spans: spans.map(([traceId = "", spanId = "", parentSpanId = "", entity = "", operation = "", startNs, durationNs]) => ({
        ...{ traceId, spanId, parentSpanId, entity, operation, startNs: Number(startNs), durationNs: Number(durationNs) },
        failed: false,
      })),
      lines: [],
      events: [],
      changes: [],
    });
    const second = await loadCase(copy);
    expect(second.truth).toEqual(first.truth);
    expect(second.snapshot).toEqual(first.snapshot);
  });
});

test("a span that lies beside a call instead of around it does not count the waiting as its own work", async () => {
  await put("case.json", JSON.stringify(header));
  const rows = ["traceId,spanId,parentSpanId,entity,operation,startUnixNano,durationNs,status"];
  for (let second = 1_000; second < 1_120; second += 1) {
    const at = (offsetNs: number): string => String(BigInt(second) * 1_000_000_000n + BigInt(offsetNs));
    rows.push(`t${second},a,,front,/*,${at(0)},100000000,`, `t${second},b,a,front,handle,${at(1_000_000)},98000000,`);
    rows.push(`t${second},c,a,front,HTTP GET,${at(2_000_000)},90000000,`, `t${second},d,c,back,GET /x,${at(3_000_000)},88000000,`);
  }
  await put("spans.csv", rows.join("\n"));
  const { snapshot } = await loadCase(directory);
  expect(snapshot.operations.find((operation) => operation.operation === "handle")?.normal.selfP50Ns).toBe(8_000_000);
});

describe("a broken case folder says what is wrong and where", () => {
  test("when case.json is missing", async () => {
    expect(await refusal()).toContain("case.json: is missing");
  });

  test("when case.json is no JSON", async () => {
    await put("case.json", '{\n  "id": "x",\n  oops\n}');
    expect(await refusal()).toMatch(/case\.json: is not JSON at line 3, column \d+/);
  });

  test.each([
    ["a missing field", { ...header, fault: undefined }, "field fault"],
    ["milliseconds for seconds", { ...header, fault: { from: 1_700_000_000_000, to: 1_700_000_000_001 } }, "field fault.from"],
    ["a fault before the normal time", { ...header, fault: { from: 1_050, to: 1_060 } }, "field normal.to"],
    ["an unknown type of truth", { ...header, truth: [{ type: "pod", id: "x" }] }, "field truth.0.type"],
  ])("when case.json has %s", async (_, value, expected) => {
    await put("case.json", JSON.stringify(value));
    expect(await refusal()).toContain(expected);
  });

  test.each([
    ["metrics.csv", "timestamp,entity,value\n1,a,2\n", "metrics.csv: line 1: the column metric is missing"],
    ["metrics.csv", "timestamp,entity,metric,value\n1,a,cpu,2\n2,a,cpu,two\n", 'metrics.csv: line 3, column value: "two" is not a number'],
    ["metrics.csv", "timestamp,entity,metric,value\n,a,cpu,2\n", "metrics.csv: line 2, column timestamp: must be a finite number"],
    ["metrics.csv", "timestamp,entity,metric,value\n1,,cpu,2\n", "metrics.csv: line 2, column entity: must not be empty"],
    ["metrics.csv", "timestamp,entity,metric,value\n1,a,cpu,2,9\n", "metrics.csv: line 2: 5 cells where the header has 4 columns"],
    ["metrics.csv", "", "metrics.csv: line 1: the header is missing"],
    [
      "spans.csv",
      "traceId,spanId,parentSpanId,entity,operation,startUnixNano,durationNs,status\nt,s,,a,o,1,-5,\n",
      "spans.csv: line 2, column durationNs: must not be negative",
    ],
    ["logs.csv", 'timeUnixNano,entity,severity,body\n1,a,INFO,"open\n', "logs.csv: line 2: a quoted cell is not closed"],
    ["events.csv", "entity,modality,name\na,smell,x\n", 'events.csv: line 2, column modality: "smell" is none of metric, log, trace'],
    ["changes.json", '[{"id":"1","at":5,"entity":"a","kind":"prayer","summary":"s"}]', "changes.json: field 0.kind"],
    ["topology.csv", "source,target\na,\n", "topology.csv: line 2, column target: must not be empty"],
  ])("when %s is %j", async (name, text, expected) => {
    await put("case.json", JSON.stringify(header));
    await put(name, text);
    expect(await refusal()).toContain(expected);
  });

  test("when gzip is cut off", async () => {
    await put("case.json", JSON.stringify(header));
    await put("metrics.csv.gz", gzipSync("timestamp,entity,metric,value\n1,a,cpu,2\n").subarray(0, 20));
    expect(await refusal()).toContain("metrics.csv.gz: cannot be read");
  });
});

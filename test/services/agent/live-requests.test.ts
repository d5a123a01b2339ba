import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DependencyRates, LiveRequests, type RequestLine } from "../../../services/agent/live-requests.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { makeProc, rawClosed, rawHttp, rawOpened, rawPiece, records } from "./agent-world.ts";

const proc = mkdtempSync(join(tmpdir(), "headwater-requests-"));
afterAll(() => rmSync(proc, { recursive: true, force: true }));
makeProc(proc, [
  { pid: 100, command: "node", environment: { OTEL_SERVICE_NAME: "shop" } },
  { pid: 200, command: "node", environment: { OTEL_SERVICE_NAME: "stock" } },
  { pid: 300, command: "curl" },
]);

function requests(): LiveRequests {
  return new LiveRequests({ processes: new ProcessFiles(proc), host: "host-1", selfTgid: 1, onOpaque: () => undefined });
}

const ms = 1e6;
const clientEnd = { cookie: 1, role: "client", tgid: 100, local: "10.0.0.1:40000", remote: "10.0.0.2:80" } as const;
const serverEnd = { cookie: 2, role: "server", tgid: 200, local: "10.0.0.2:80", remote: "10.0.0.1:40000" } as const;
const turn = { request: "GET /items/7", status: 200, startMs: 1_010, endMs: 1_030, sequence: 1 };
const words = ({ caller, callee, operation, status, failed, side }: RequestLine) => [caller, callee, operation, status, failed, side];

describe("a request", () => {
  it("that both ends of this host told is one line, the server's, and waits until the other end can be known", () => {
    const live = requests();
    live.take(records("lifecycle_ring", 1_001, [rawOpened(clientEnd, 1_000)]));
    live.take(records("data_ring", 1_040, [rawHttp(clientEnd, { ...turn, endMs: 1_031 }), rawHttp(serverEnd, turn)]));
    expect(live.ready(1_100 * ms)).toEqual([]);
    live.take(records("lifecycle_ring", 1_101, [rawOpened(serverEnd, 1_001)]));
    const lines = live.ready(1_400 * ms);
    expect(lines.map(words)).toEqual([["shop", "stock", "GET /items/{id}", "200", "no", "server"]]);
    expect(lines[0]?.latencyNs).toBe(20 * ms);
    expect(live.ready(1_500 * ms)).toEqual([]);
  });

  it("to somewhere else is the client's line, under the address; of a database with its kind", () => {
    const live = requests();
    const redis = { ...clientEnd, cookie: 3, remote: "10.9.9.9:6379", local: "10.0.0.1:40001" } as const;
    live.take(records("lifecycle_ring", 1_001, [rawOpened(clientEnd, 1_000), rawOpened(redis, 1_000)]));
    const piece = (direction: "sent" | "received", data: string, sequence: number, atMs: number, offset: number) =>
      rawPiece(redis, { direction, data, offset, sequence, atMs });
    live.take(
      records("data_ring", 1_050, [
        rawHttp(clientEnd, { ...turn, status: 503 }),
        piece("sent", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", 1, 1_011, 0),
        piece("received", "$1\r\nx\r\n", 2, 1_012, 0),
        piece("sent", "*2\r\n$3\r\nGET\r\n$1\r\nb\r\n", 3, 1_013, 20),
        piece("received", "$1\r\ny\r\n", 4, 1_014, 7),
      ]),
    );
    expect(live.ready(Number.POSITIVE_INFINITY).map(words)).toEqual([
      ["shop", "10.0.0.2:80", "GET /items/{id}", "503", "yes", "client"],
      ["shop", "redis@10.9.9.9:6379", "GET", "OK", "no", "client"],
      ["shop", "redis@10.9.9.9:6379", "GET", "OK", "no", "client"],
    ]);
  });

  it("of a process that is no service has its command as caller, of whoever is elsewhere the address", () => {
    const live = requests();
    const curl = { ...clientEnd, tgid: 300 } as const;
    const far = { ...serverEnd, cookie: 5, remote: "192.0.2.9:5000" } as const;
    live.take(records("lifecycle_ring", 1_001, [rawOpened(curl, 1_000), rawOpened(serverEnd, 1_001), rawOpened(far, 1_001)]));
    live.take(records("data_ring", 1_040, [rawHttp(serverEnd, turn), rawHttp(far, { ...turn, startMs: 1_011 })]));
    live.take(records("lifecycle_ring", 1_050, [rawClosed(curl, 1_045)]));
    expect(live.ready(1_400 * ms).map(({ caller }) => caller)).toEqual(["curl", "192.0.2.9"]);
  });

  it("of a record that cannot be read is counted", () => {
    const live = requests();
    live.take({ ...records("data_ring", 1_000, []), bytes: new Uint8Array([9, 0, 0, 0, 0, 0, 0, 0, 1]) });
    expect(live.lost).toEqual({ "record-unreadable": 1 });
  });
});

describe("the table", () => {
  const line = (change: Partial<RequestLine>): RequestLine => ({
    ...{ at: "", caller: "shop", callee: "stock", protocol: "http", operation: "GET /", status: "200", failed: "no" },
    ...{ latencyNs: 1 * ms, side: "server" },
    ...change,
  });

  it("has a row for each dependency and protocol, with rates of the time that was observed and quantiles", () => {
    const rates = new DependencyRates(5_000);
    rates.add(
      Array.from({ length: 20 }, (_, index) =>
        line({ latencyNs: (index + 1) * ms, failed: index < 5 ? "yes" : "no", operation: `GET /${index}` }),
      ),
      1_000,
    );
    rates.add([line({ callee: "redis@10.0.0.3:6379", protocol: "redis" })], 2_500);
    expect(rates.rows(3_000)).toMatchObject([
      {
        caller: "shop",
        callee: "stock",
        requestsPerSecond: 10,
        failuresPerSecond: 2.5,
        p50Ns: 11 * ms,
        p95Ns: 20 * ms,
        slowestOperation: "GET /19",
      },
      { callee: "redis@10.0.0.3:6379", protocol: "redis", requestsPerSecond: 0.5 },
    ]);
  });

  it("forgets what is older than its time, and counts what does not fit", () => {
    const rates = new DependencyRates(5_000);
    rates.add([line({})], 1_000);
    expect(rates.rows(6_001)).toEqual([]);
    rates.add(
      Array.from({ length: 100_001 }, () => line({})),
      7_000,
    );
    expect(rates.left).toBe(1);
  });
});

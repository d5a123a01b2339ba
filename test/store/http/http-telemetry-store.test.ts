import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { Clock, StoredSeries, TelemetryStore } from "../../../contract/port.ts";
import { freePort } from "../../../lab/guarded-server.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openDuckdbTelemetryStore } from "../../../store/duckdb/duckdb-telemetry-store.ts";
import { openHttpTelemetryStore } from "../../../store/http/http-telemetry-store.ts";
import { openTelemetryServer } from "../../../store/http/telemetry-server.ts";
import { aSeries, aTelemetryAppend, noonMs } from "../../conformance/sample-messages.ts";
import { Counts, until, useTemporaryFolder } from "../../conformance/temporary.ts";

const dayMs = 86_400_000;
const everything = { fromMs: noonMs - dayMs, toMs: noonMs + dayMs, entities: [] as string[] };
const token = "0123456789abcdef";
const system = new SystemClock();
/** Time that goes ten times as fast. */
const fast: Clock = { nowMs: () => system.nowMs() * 10, schedule: (delayMs, callback) => system.schedule(delayMs / 10, callback) };

describe("the telemetry store over HTTP", () => {
  const folder = useTemporaryFolder();
  let counts: Counts;
  const cleanups: (() => Promise<unknown>)[] = [];

  beforeEach(() => {
    counts = new Counts();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  function kept<T extends { close(): Promise<void> }>(opened: T): T {
    cleanups.push(() => opened.close());
    return opened;
  }

  async function files(): Promise<TelemetryStore> {
    return kept(await openDuckdbTelemetryStore({ directory: folder.path, tenant: "default", clock: system, onCounted: counts.onCounted }));
  }

  async function serve(store: TelemetryStore, options: { port?: number; clock?: Clock; token?: string } = {}) {
    const fixed = { host: "127.0.0.1", port: 0, token, clock: system, onCounted: counts.onCounted };
    return kept(await openTelemetryServer({ ...fixed, store, ...options }));
  }

  async function connect(url: string, options: { token?: string | null; clock?: Clock } = {}): Promise<TelemetryStore> {
    return kept(await openHttpTelemetryStore({ url, token, clock: system, onCounted: counts.onCounted, ...options }));
  }

  /** Something that listens and is no server of ours. */
  async function foreign(listener: RequestListener): Promise<string> {
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    });
    const address = server.address();
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  }

  /** A store of which only some methods are called. */
  function part(methods: Partial<TelemetryStore>): TelemetryStore {
    return methods as TelemetryStore;
  }

  it("answers what the files answer, to the byte: nulls, −0, the largest and smallest numbers, odd text", async () => {
    const direct = await files();
    const client = await connect((await serve(direct)).url());
    const windowStartMs = noonMs;
    const values = [-0, 0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 2 ** 53];
    const series = values.map((value, index) =>
      aSeries({
        entity: `\ud800"\\\u0000\u2028${index}`,
        windowStartMs,
        value,
        samples: [
          { windowStartMs, value, lower: null, upper: -0, score: null },
          { windowStartMs: windowStartMs + 1, value, lower: -value, upper: null, score: value },
        ],
      }),
    );
    await client.append([{ ...aTelemetryAppend(0), series }]);
    const exactly = (found: readonly StoredSeries[]) =>
      JSON.stringify(found, (_key, value: unknown) => (Object.is(value, -0) ? "minus zero" : value));
    const query = { ...everything, seriesMax: 100 };
    const answer = await client.series(query);
    expect(exactly(answer)).toBe(exactly(await direct.series(query)));
    expect(exactly(answer).match(/minus zero/g)?.length).toBeGreaterThanOrEqual(values.length);
    for (const [ours, theirs] of [
      [
        await client.spans({ ...everything, failedOnly: "no", spansMax: 9 }),
        await direct.spans({ ...everything, failedOnly: "no", spansMax: 9 }),
      ],
      [await client.lines({ ...everything, templatesMax: 9 }), await direct.lines({ ...everything, templatesMax: 9 })],
      [await client.templates({ ...everything, templatesMax: 9 }), await direct.templates({ ...everything, templatesMax: 9 })],
      [await client.durations({ ...everything, rowsMax: 9 }), await direct.durations({ ...everything, rowsMax: 9 })],
      [await client.summaries({ entities: [], seriesMax: 9 }), await direct.summaries({ entities: [], seriesMax: 9 })],
    ]) {
      expect(ours?.length).toBeGreaterThan(0);
      expect(JSON.stringify(ours)).toBe(JSON.stringify(theirs));
    }
  });

  it("carries an answer of more than 50 MB, and a call of append that is larger than a request", async () => {
    const samples = Array.from({ length: 20_000 }, (_, n) => ({
      windowStartMs: noonMs + n,
      value: n / 7,
      lower: null,
      upper: n,
      score: 0.5,
    }));
    const series = Array.from({ length: 40 }, (_, n) => aSeries({ entity: `e-${n}`, windowStartMs: noonMs, value: 0, samples }));
    const keys: string[] = [];
    const store = part({ series: async () => series, append: async (windows) => void keys.push(...windows.map(({ key }) => key)) });
    const client = await connect((await serve(store)).url());
    const answer = await client.series({ ...everything, seriesMax: 100 });
    expect(answer).toHaveLength(40);
    expect(JSON.stringify(answer[39])).toBe(JSON.stringify(series[39]));
    expect(answer.reduce((sum, { samples }) => sum + samples.length, 0)).toBe(800_000);
    expect(40 * JSON.stringify(answer[0]).length).toBeGreaterThan(50_000_000);
    const windows = Array.from({ length: 9_000 }, (_, n) => ({ ...aTelemetryAppend(n), key: `k-${n}` }));
    await client.append(windows);
    expect(keys).toEqual(windows.map(({ key }) => key));
    expect(counts.of("telemetry_server_requests")).toBeGreaterThanOrEqual(4);
  }, 20_000);

  it("puts concurrent appends into one request, and keeps one that the server refuses from taking others with it", async () => {
    const store = await files();
    const client = await connect((await serve(store)).url());
    await Promise.all(Array.from({ length: 50 }, (_, n) => client.append([aTelemetryAppend(n)])));
    expect(counts.of("telemetry_server_requests")).toBeLessThan(10);
    const bad = { ...aTelemetryAppend(51), series: [aSeries({ entity: "a", windowStartMs: noonMs, value: Number.NaN })] };
    const results = await Promise.allSettled([
      client.append([aTelemetryAppend(50)]),
      client.append([bad]),
      client.append([aTelemetryAppend(52)]),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(results[1]).toMatchObject({
      reason: { code: "REQUEST_INVALID", message: expect.stringContaining("0.series.0.samples.0.value") },
    });
    expect(counts.of("telemetry_client_appends_separated")).toBe(1);
    expect(await store.spans({ ...everything, failedOnly: "no", spansMax: 100 })).toHaveLength(52);
  });

  it("gives an error of the store as itself, but for one that speaks of the other process", async () => {
    let code: "DATA_VERSION_UNKNOWN" | "STORE_UNAVAILABLE" | "STOPPING" = "DATA_VERSION_UNKNOWN";
    const store = part({
      retain: async () => {
        throw new HeadwaterError(code, "a sentence", { retryAfterSeconds: 3 });
      },
    });
    const client = await connect((await serve(store)).url());
    await expect(client.retain(0)).rejects.toMatchObject({ code, message: "a sentence", retriable: false, retryAfterSeconds: 3 });
    code = "STORE_UNAVAILABLE";
    await expect(client.retain(0)).rejects.toMatchObject({ code, message: "a sentence", retriable: true });
    code = "STOPPING";
    await expect(client.retain(0)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("is stopping") });
  });

  it("waits for a long query as long as the server says that it is at work", async () => {
    const store = part({
      retain: async () => {
        await new Promise((resolve) => fast.schedule(12_000, () => resolve(null)));
        return ["a file"];
      },
    });
    const server = await serve(store, { clock: fast });
    const client = await connect(server.url(), { clock: fast });
    expect(await client.retain(0)).toEqual(["a file"]);
    // The same with a server whose clock is so slow that its first sign comes too late.
    const slow = await serve(store);
    await expect((await connect(slow.url(), { clock: fast })).retain(0)).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("did not answer within 5000 ms"),
    });
  });

  it("says at open who is there and refuses: nobody, a wrong token, something else, another protocol, a proxy without a server", async () => {
    const url = (await serve(await files())).url();
    const refusal = async (at: string, given: string | null = token) =>
      (await connect(at, { token: given }).catch((error: unknown) => error)) as HeadwaterError;
    expect(await refusal(`http://127.0.0.1:${await freePort()}`)).toMatchObject({ code: "STORE_UNAVAILABLE", retriable: true });
    for (const wrong of ["wrong-token-0123456", null]) {
      const error = await refusal(url, wrong);
      expect(error).toMatchObject({ code: "SERVER_REFUSED", retriable: false, message: expect.stringContaining(new URL(url).host) });
      expect(error.message).not.toContain("wrong-token");
    }
    expect(await refusal(url, "a token\n")).toMatchObject({ code: "CONFIG_INVALID" });
    const web = await foreign((_request, response) => void response.end("<html>hello</html>"));
    expect(await refusal(web)).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining('role "store"') });
    const newer = await foreign((_request, response) => {
      response.setHeader("headwater-telemetry-store", "2").end(JSON.stringify({ product: "headwater telemetry store", protocol: 2 }));
    });
    expect(await refusal(newer)).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("protocol 2") });
    const proxy = await foreign((_request, response) => void response.writeHead(502).end("bad gateway"));
    expect(await refusal(proxy)).toMatchObject({ code: "STORE_UNAVAILABLE", retriable: true });
  });

  it("believes nothing of an answer that breaks off or is not of lines of JSON", async () => {
    let body = "";
    const header = { "headwater-telemetry-store": "1" };
    const url = await foreign((request, response) => {
      if (request.method === "GET") {
        response.writeHead(200, header).end(JSON.stringify({ product: "headwater telemetry store", protocol: 1 }));
        return;
      }
      response.writeHead(200, { ...header, "content-type": "application/x-ndjson" });
      response.write(body, () => (body.endsWith("!") ? response.destroy() : response.end()));
    });
    const client = await connect(url);
    for (const [text, message] of [
      ['"a"\n"b"\n!', "broke off"],
      ['"a"\n"b', "ended within a line"],
      ['"a"\n{"b"\n', "no JSON"],
    ] as const) {
      body = text;
      await expect(client.retain(0)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining(message) });
    }
  });

  it("holds every acknowledged window after SIGKILL of the server, and each once when appends are made again", async () => {
    const directory = join(folder.path, "killed");
    const port = await freePort();
    let child = await startProcess(directory, port);
    const client = await connect(child.url);
    const acknowledged: number[] = [];
    let failures = 0;
    let next = 0;
    const write = async (): Promise<void> => {
      while (next < 240) {
        const n = next;
        next += 1;
        for (let done = false; !done; ) {
          try {
            await client.append([aTelemetryAppend(n)]);
            done = true;
          } catch (error) {
            expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", retriable: true });
            failures += 1;
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
        acknowledged.push(n);
      }
    };
    const writing = Promise.all(Array.from({ length: 8 }, write));
    await until("there is load", () => acknowledged.length > 60);
    await child.kill();
    const atDeath = [...acknowledged];
    await until("appends fail", () => failures > 0);
    child = await startProcess(directory, port);
    await writing;
    const spans = await client.spans({ ...everything, failedOnly: "no", spansMax: 1_000 });
    expect(atDeath.length).toBeGreaterThan(60);
    expect(spans.map(({ spanId }) => spanId)).toEqual(Array.from({ length: 240 }, (_, n) => aTelemetryAppend(n).spans[0]?.spanId));
    expect((await client.series({ ...everything, seriesMax: 10 })).flatMap(({ samples }) => samples)).toHaveLength(240);
  }, 40_000);

  it("fails within its time while the server answers nothing, and works when it answers again", async () => {
    const child = await startProcess(join(folder.path, "paused"), await freePort());
    const client = await connect(child.url, { clock: fast });
    child.signal("SIGSTOP");
    const begin = performance.now();
    const results = Promise.allSettled([
      client.append([aTelemetryAppend(1)]),
      client.retain(0),
      new Promise((resolve) => setTimeout(resolve, 50)).then(() => client.append([aTelemetryAppend(2)])),
    ]);
    for (const result of await results) {
      expect(result).toMatchObject({
        status: "rejected",
        reason: { code: "STORE_UNAVAILABLE", message: expect.stringContaining("5000 ms") },
      });
    }
    // On a clock that goes ten times as fast; an append that waited for one that failed does not wait as long again.
    expect((performance.now() - begin) * 10).toBeGreaterThan(4_900);
    child.signal("SIGCONT");
    const patient = await connect(child.url);
    await patient.append([aTelemetryAppend(1), aTelemetryAppend(2)]);
    expect(await patient.spans({ ...everything, failedOnly: "no", spansMax: 10 })).toHaveLength(2);
  }, 30_000);

  async function startProcess(directory: string, port: number) {
    const script = fileURLToPath(new URL("./telemetry-server-process.ts", import.meta.url));
    const child: ChildProcess = spawn(process.execPath, ["--import", "tsx", script, directory, String(port), token], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    const kill = async () => {
      child.kill("SIGKILL");
      await ended;
    };
    cleanups.push(kill);
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once("line", resolve);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
    return { url, kill, signal: (signal: NodeJS.Signals) => void child.kill(signal) };
  }

  it("takes a token that is refused later for a store that is away, so that nobody gives work up for it", async () => {
    const store = await files();
    const first = await serve(store);
    const client = await connect(first.url());
    await first.close();
    const port = Number(new URL(first.url()).port);
    const changed = await serve(store, { port, token: "another-token-0123" });
    await expect(client.append([aTelemetryAppend(1)])).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      retriable: true,
      message: expect.stringContaining("refuses our token"),
    });
    await changed.close();
    await serve(store, { port });
    await client.append([aTelemetryAppend(1)]);
  });

  it("finds a new connection when the server had ended an idle one", async () => {
    const store = await files();
    const first = await serve(store);
    const port = Number(new URL(first.url()).port);
    const client = await connect(first.url());
    await client.append([aTelemetryAppend(1)]);
    await first.close();
    await expect(client.append([aTelemetryAppend(2)])).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await serve(store, { port });
    await client.append([aTelemetryAppend(2)]);
    // Ends each connection without a word after its second request.
    let asked = 0;
    const bridge = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (chunk) => {
        asked += 1;
        if (asked === 2) socket.destroy();
        else {
          const body = chunk.toString().startsWith("GET")
            ? JSON.stringify({ product: "headwater telemetry store", protocol: 1 })
            : '"a file"\n';
          const type = chunk.toString().startsWith("GET") ? "application/json" : "application/x-ndjson";
          socket.write(
            `HTTP/1.1 200 OK\r\nheadwater-telemetry-store: 1\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
          );
        }
      });
    });
    await new Promise<void>((resolve) => bridge.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => new Promise((resolve) => bridge.close(resolve)));
    const address = bridge.address();
    const renewed = await connect(`http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`);
    const before = counts.of("telemetry_client_connections_renewed");
    expect(await renewed.retain(0)).toEqual(["a file"]);
    expect(counts.of("telemetry_client_connections_renewed")).toBe(before + 1);
  });
});

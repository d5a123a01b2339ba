import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, expect, it } from "vitest";
import type { DependencyRow, RequestLine } from "../../services/agent/live-requests.ts";
import { runRequests } from "../../services/command/requests.ts";
import { noKernelPrograms as skipReason } from "../native/bpf-object.ts";
import { useLiveRuns } from "./live-run.ts";

if (skipReason !== null) process.stdout.write(`test/bpf/requests-command.test.ts: ${skipReason}\n`);
const live = useLiveRuns(["connection", "request", "request-fallback", "process", "socket-iterator"]);
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill();
});

const shop = `
const server = require("node:http").createServer((request, response) => {
  response.statusCode = request.url === "/broken" ? 503 : 200;
  setTimeout(() => response.end("x"), 20);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));`;

/** Asks for each path that comes as a line, and says when it is answered. */
const buyer = `
const { request, Agent } = require("node:http");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [port, path] = line.split(" ");
  request({ port, path, host: "127.0.0.1", agent }, (answer) => answer.resume().on("end", () => console.log(path))).end();
});`;

function node(program: string, name: string): { child: ChildProcess; line: () => Promise<string> } {
  const env = { ...process.env, OTEL_SERVICE_NAME: name };
  const child = spawn(process.execPath, ["-e", program], { stdio: ["pipe", "pipe", "inherit"], env });
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => (await lines.next()).value ?? expect.fail(`${name} ended`) };
}

async function ask(from: ReturnType<typeof node>, port: string, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    from.child.stdin?.write(`${port} ${path}\n`);
    expect(await from.line()).toBe(path);
  }
}

it.skipIf(skipReason !== null)("each request is one line with caller, callee, operation, status and latency", async () => {
  const server = node(shop, "shop");
  const client = node(buyer, "buyer");
  const port = await server.line();
  const run = live.start();
  const ended = runRequests({ view: "lines", seconds: null, format: "json" }, run.surroundings);
  await run.untilObserving();
  await ask(client, port, ["/orders/17", "/orders/18", "/broken"]);
  run.stop();
  expect(await ended).toBe(0);
  const lines = run.rows<RequestLine>().filter(({ callee }) => callee === "shop");
  const told = lines.map(({ caller, protocol, operation, status, failed, side }) => [caller, protocol, operation, status, failed, side]);
  expect(told).toEqual([
    ["buyer", "http", "GET /orders/{id}", "200", "no", "server"],
    ["buyer", "http", "GET /orders/{id}", "200", "no", "server"],
    ["buyer", "http", "GET /broken", "503", "yes", "server"],
  ]);
  for (const { latencyNs } of lines) expect(latencyNs).toBeGreaterThan(15e6);
  // Nor is the client's view of them told as well.
  expect(run.rows<RequestLine>().filter(({ caller, side }) => caller === "buyer" && side === "client")).toEqual([]);
});

it.skipIf(skipReason !== null)("--top is a table of dependencies", async () => {
  const server = node(shop, "shop");
  const client = node(buyer, "buyer");
  const port = await server.line();
  const run = live.start();
  const ended = runRequests({ view: "top", seconds: null, format: "json" }, run.surroundings);
  await run.untilObserving();
  await ask(client, port, ["/broken", "/orders/1", "/orders/2", "/broken"]);
  const row = () =>
    run
      .rows<{ rows: DependencyRow[] }>()
      .flatMap(({ rows }) => rows)
      .findLast(({ caller, callee }) => caller === "buyer" && callee === "shop");
  await run.until("the table", () => (row()?.requestsPerSecond ?? 0) > 0);
  run.stop();
  expect(await ended).toBe(0);
  const shown = row();
  expect(shown?.protocol).toBe("http");
  expect((shown?.failuresPerSecond ?? 0) / (shown?.requestsPerSecond ?? 0)).toBeCloseTo(0.5, 5);
  expect(shown?.p50Ns).toBeGreaterThan(15e6);
});

it.skipIf(skipReason !== null)("people get columns, and what failed is marked", async () => {
  const server = node(shop, "shop");
  const client = node(buyer, "buyer");
  const port = await server.line();
  const run = live.start();
  const ended = runRequests({ view: "lines", seconds: null, format: "text" }, run.surroundings);
  await run.untilObserving();
  await ask(client, port, ["/broken"]);
  client.child.stdin?.end();
  await once(client.child, "exit");
  run.stop();
  await ended;
  expect(run.lines[0]).toMatch(/^TIMESTAMP +CALLER +CALLEE +PROTOCOL +STATUS +LATENCY OPERATION$/);
  const time = "\\d\\d:\\d\\d:\\d\\d\\.\\d{6}";
  expect(run.lines.find((line) => line.includes("shop"))).toMatch(new RegExp(`^${time} buyer +shop +http +503 ! +[\\d.]+ ms GET /broken$`));
  expect(run.told.at(-1)).toMatch(/^\d+ requests; /);
});

it.skipIf(skipReason !== null)("without the programs of sockets the fallback sees the same, and that is said", async () => {
  const server = node(shop, "shop");
  const client = node(buyer, "buyer");
  const port = await server.line();
  const run = live.start(["request"]);
  const ended = runRequests({ view: "lines", seconds: null, format: "json" }, run.surroundings);
  await run.untilObserving();
  await ask(client, port, ["/orders/17", "/broken"]);
  run.stop();
  expect(await ended).toBe(0);
  const lines = run.rows<RequestLine>().filter(({ callee }) => callee === "shop");
  expect(lines.map(({ caller, operation, status }) => [caller, operation, status])).toEqual([
    ["buyer", "GET /orders/{id}", "200"],
    ["buyer", "GET /broken", "503"],
  ]);
  expect(run.told[0]).toMatch(/^less is seen than could be: requests are read by the fallback, because request is not compiled/);
});

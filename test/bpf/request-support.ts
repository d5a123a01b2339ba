/** Servers, clients and what was captured of them, for the tests of requests. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type Agent, createServer as createHttpServer, type Server as HttpServer, type IncomingMessage, request } from "node:http";
import { createServer, type Server } from "node:net";
import { expect } from "vitest";
import { type ChunkText, listening, portOf, type SocketProbe, type TurnText, until } from "./socket-probe.ts";

/** Of 200, with its length. */
export const answerOf = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const longBody = "b".repeat(27 * 1024);

/** Turns and chunks of a port (or of a unix socket's cookies) by role, once so many came. */
export class Conversation {
  readonly #probe: SocketProbe;
  readonly #isOf: (cookie: bigint) => boolean;

  constructor(probe: SocketProbe, port: number) {
    this.#probe = probe;
    this.#isOf = (cookie) =>
      probe.opened.some((event) => event.cookie === cookie && (event.local.port === port || event.remote.port === port));
  }

  async turns(role: "client" | "server", count: number): Promise<TurnText[]> {
    const found = () => this.#probe.turns.filter((turn) => turn.role === role && this.#isOf(turn.cookie));
    await until(() => this.#drained(found).length >= count, `${count} turns of the ${role}`);
    expect(found()).toHaveLength(count);
    return found();
  }

  async chunks(role: "client" | "server", count: number): Promise<ChunkText[]> {
    const found = () => this.#probe.chunks.filter((chunk) => chunk.role === role && this.#isOf(chunk.cookie));
    await until(() => this.#drained(found).length >= count, `${count} chunks of the ${role}`);
    expect(found()).toHaveLength(count);
    return found();
  }

  #drained<Found>(found: () => Found): Found {
    this.#probe.drain();
    return found();
  }
}

/** Answers each request by its path, with Node's own server. */
export async function httpServer(): Promise<{ server: HttpServer; port: number }> {
  const server = createHttpServer((incoming, response) => {
    let bytes = 0;
    incoming.on("data", (data: Buffer) => {
      bytes += data.length;
    });
    incoming.on("end", () => {
      if (incoming.url === "/bad") response.writeHead(503);
      response.end(incoming.url === "/long" ? longBody : `got ${bytes}`);
    });
  });
  server.on("checkContinue", (incoming, response) => {
    response.writeContinue();
    server.emit("request", incoming, response);
  });
  await listening(server);
  return { server, port: portOf(server) };
}

interface Ask {
  readonly port: number;
  readonly agent: Agent;
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export function ask({ port, agent, path, body, headers = {} }: Ask): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ port, host: "127.0.0.1", path, agent, headers, method: body === undefined ? "GET" : "POST" });
    outgoing.on("response", (incoming: IncomingMessage) => {
      incoming.resume();
      incoming.on("end", () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** A server that gives each received piece to `answer`, with the connection's own state. */
export async function rawServer(answer: (text: string, write: (text: string) => void) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => answer(data.toString("latin1"), (text) => socket.write(text, "latin1")));
  });
  await listening(server);
  return { server, port: portOf(server) };
}

/** A program of Python, for what Node has no call for. Answers its standard output. */
export async function python(script: string, probe: SocketProbe): Promise<string> {
  const child = watchedPython(script, probe);
  let output = "";
  child.stdout.on("data", (data: Buffer) => {
    output += data.toString();
  });
  const [status] = await once(child, "close");
  expect(status).toBe(0);
  return output;
}

/** A server of Python that runs on; the first line that it prints is its port. `says` resolves once it has printed a text. */
export async function startedPython(script: string, probe: SocketProbe) {
  const child = watchedPython(script, probe);
  let output = "";
  child.stdout.on("data", (data: Buffer) => {
    output += data.toString();
  });
  const says = (text: string) => until(() => output.includes(text), `the program says ${text}`);
  await says("\n");
  return { kill: () => child.kill("SIGKILL"), says, port: Number.parseInt(output, 10) };
}

function watchedPython(script: string, probe: SocketProbe) {
  const child = spawn("python3", ["-c", `import sys\nsys.stdin.readline()\n${script}`], { stdio: ["pipe", "pipe", "inherit"] });
  probe.setScope({ tgid: child.pid ?? 0 }, "watch");
  child.stdin.end("go\n");
  return child;
}

/** Bytes that no protocol is made of, the same in every run. */
export function hostilePayloads(): string[] {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state >> 16;
  };
  const noise = Array.from({ length: 60 }, () =>
    String.fromCharCode(...Array.from({ length: 1 + (random() % 2000) }, () => random() & 255)),
  );
  const beginnings = Array.from({ length: 18 }, (_, index) => "GET /x HTTP/1.1\r\n\r\n".slice(0, index + 1));
  return [
    ...noise,
    ...beginnings,
    `GET /${"a".repeat(1_000_000)} HTTP/1.1\r\n\r\n`,
    `GET /never HTTP/1.1\r\n${"X-Header: ending\r\n".repeat(5_000)}`,
    "*2147483648\r\n$4\r\nPING\r\n",
    "$2147483647\r\n",
    "*-5\r\n",
    `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\xff".repeat(900)}`,
    "\x16\x03",
    "HTTP/1.1 200 OK\r\n\r\n",
    `${"\0".repeat(64)}`,
  ];
}

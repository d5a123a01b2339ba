/** The gateway's socket: node:http, and what to do with a body that nobody wants. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError, invariant } from "../../contract/invariant.ts";
import { isLoopback } from "../../contract/loopback.ts";
import type { Platform } from "../platform.ts";
import type { BodyReader } from "./body-reader.ts";
import { allowedMethod, answerForm, checkDoor, checkToken, contentEncoding, type GatewayRoute, type GatewayToken } from "./door.ts";
import { errorResponse } from "./error-response.ts";
import type { GatewayHeaders, GatewayRequest, GatewayResponse } from "./gateway-message.ts";
import { InFlight } from "./in-flight.ts";

const connectionsMax = 1_000;
const headersTimeoutMs = 10_000;
/** Exporters send every few seconds over one connection. */
const keepAliveTimeoutMs = 60_000;
/** How much of an unwanted body is discarded, and for how long, so that its sender comes to read the answer. */
const discardBytesMax = 67_108_864;
const discardTimeoutMs = 2_000;

interface HttpDoorOptions {
  readonly platform: Platform;
  readonly host: string;
  readonly port: number;
  readonly bodyTimeoutMs: number;
  readonly tokens: readonly GatewayToken[];
  readonly reader: BodyReader;
  checkRoom(route: GatewayRoute): Promise<void>;
  accept(request: GatewayRequest): Promise<GatewayResponse>;
  counted(path: string, status: number): void;
}

export class HttpDoor {
  #options: HttpDoorOptions;
  #server: Server | null = null;
  #port: number;
  #inFlight = new InFlight();
  #closing = false;

  constructor(options: HttpDoorOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  /** Throws PORT_IN_USE, or CONFIG_INVALID for an address that cannot be listened on, or that everybody on the network could send to. */
  async open(): Promise<void> {
    const { host, port, bodyTimeoutMs, tokens } = this.#options;
    if (tokens.length === 0 && !isLoopback(host)) {
      throw new HeadwaterError(
        "CONFIG_INVALID",
        `"gateway.host" is ${JSON.stringify(host)}, which other machines can reach, and "tokens" is empty: add a token, or bind to 127.0.0.1`,
      );
    }
    const server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        // Only programmer errors come here, and they must end the process.
        setImmediate(() => {
          throw error;
        });
      });
    });
    server.maxConnections = connectionsMax;
    server.headersTimeout = headersTimeoutMs;
    server.keepAliveTimeout = keepAliveTimeoutMs;
    // The body has its own time limit with an answer of its own; this one is for what is left of a refused body.
    server.requestTimeout = headersTimeoutMs + bodyTimeoutMs + discardTimeoutMs;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
      server.listen({ host, port }, resolve);
    });
    server.removeAllListeners("error");
    server.on("error", (error) => this.#options.platform.logger.error({ error: error.message }, "the gateway's socket failed"));
    this.#server = server;
    const address = server.address();
    invariant(typeof address === "object" && address !== null, "a listening TCP server has an address");
    this.#port = address.port;
  }

  /** Without a path; before `open` with the port that was asked for, of which 0 is any. */
  url(): string {
    const { host } = this.#options;
    const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
    return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${this.#port}`;
  }

  /** Resolves when no request is in flight. */
  idle(): Promise<void> {
    return this.#inFlight.idle();
  }

  /** Takes no new connections, answers what is in flight, ends all connections. */
  async close(): Promise<void> {
    this.#closing = true;
    const server = this.#server;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    await this.idle();
    server.closeAllConnections();
    await closed;
    this.#server = null;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A peer that goes away is not an error of ours; without a listener it would be thrown.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    await this.#inFlight.run(() => this.#answer(request, response));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { tokens, reader, accept, counted } = this.#options;
    const headers = plainHeaders(request);
    const path = request.url ?? "/";
    const method = request.method ?? "GET";
    let body: Awaited<ReturnType<BodyReader["read"]>> | null = null;
    try {
      const route = checkDoor({ method, path, headers });
      if (route.kind !== "livez") checkToken(headers, tokens);
      await this.#options.checkRoom(route);
      body = await reader.read(request, contentEncoding(headers));
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      const known = toHeadwaterError(error);
      const allow = known.code === "METHOD_NOT_ALLOWED" ? { allow: allowedMethod(path) } : {};
      counted(path, known.status);
      await this.#refuse(request, response, errorResponse(known, answerForm(path, headers), allow));
      return;
    }
    try {
      // The reader has decompressed it.
      const answer = await accept({ method, path, headers: { ...headers, "content-encoding": undefined }, body: body.bytes });
      await this.#send(response, answer);
    } finally {
      body.release();
    }
  }

  /** Answers at once, then discards what still comes for a moment: a connection closed under a sender would hide the answer from it. */
  async #refuse(request: IncomingMessage, response: ServerResponse, answer: GatewayResponse): Promise<void> {
    const cancel = this.#options.platform.clock.schedule(discardTimeoutMs, () => request.destroy());
    let discarded = 0;
    request.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > discardBytesMax) request.destroy();
    });
    request.once("close", cancel);
    request.resume();
    await this.#send(response, answer);
  }

  async #send(response: ServerResponse, answer: GatewayResponse): Promise<void> {
    if (response.destroyed) return;
    const closing = this.#closing ? { connection: "close" } : {};
    response.writeHead(answer.status, { ...answer.headers, ...closing, "content-length": String(answer.body.length) });
    await new Promise<void>((resolve) => {
      response.once("close", resolve);
      response.end(answer.body, resolve);
    });
  }
}

function plainHeaders(request: IncomingMessage): GatewayHeaders {
  return Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value]),
  );
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): HeadwaterError {
  if (error.code === "EADDRINUSE") {
    return new HeadwaterError("PORT_IN_USE", `port ${port} on ${host} is in use by another program; stop it or set gateway.port`, {
      cause: error,
    });
  }
  return new HeadwaterError(
    "CONFIG_INVALID",
    `the gateway cannot listen on ${host}:${port} (gateway.host, gateway.port): ${error.message}`,
    {
      cause: error,
    },
  );
}

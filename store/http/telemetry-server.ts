/** The role `store`: a TelemetryStore for other processes, over HTTP. */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError, invariant } from "../../contract/invariant.ts";
import { isLoopback } from "../../contract/loopback.ts";
import type { Clock, TelemetryStore } from "../../contract/port.ts";
import { discardBody, readBody } from "./request-body.ts";
import { callMethod } from "./telemetry-method.ts";
import { errorJson, heartbeatMs, protocolHeader, protocolPath, protocolVersion } from "./telemetry-protocol.ts";

interface TelemetryServerOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** What clients must show as a bearer token; null is accepted while bound to loopback only. */
  readonly token: string | null;
  /** Stays the caller's: `close` of the server does not close it. */
  readonly store: TelemetryStore;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** A request that was answered with an error; not called for errors of the client's making. */
  readonly onFailed?: (method: string, error: HeadwaterError) => void;
}

const connectionsMax = 512;
/** Requests that are being read or handled; more are told to come again. */
const requestsMax = 256;
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 60_000;
/** A client that takes nothing of its answer for so long is hung up on. */
const stallMs = 30_000;
const keepAliveTimeoutMs = 60_000;
/** How long requests that are running may take to end at `close`. */
const closeWithinMs = 10_000;
/** Characters that are written at once. */
const chunkLength = 65_536;
const readyWithinMs = 2_000;

/**
 * Serves the store. Counters: `telemetry_server_requests`, `telemetry_server_unauthenticated`, `telemetry_server_bodies_refused`,
 * `telemetry_server_bodies_truncated`, `telemetry_server_busy`.
 * Throws CONFIG_INVALID for a door that everybody on the network could open, or an address that cannot be listened on; PORT_IN_USE.
 */
export async function openTelemetryServer(options: TelemetryServerOptions): Promise<{ url(): string; close(): Promise<void> }> {
  const { host, token } = options;
  if (token === null && !isLoopback(host)) {
    throw new HeadwaterError(
      "CONFIG_INVALID",
      `"store.host" is ${JSON.stringify(host)}, which other machines can reach, and "store.token" is not set: set it, or bind to 127.0.0.1`,
    );
  }
  const server = new TelemetryServer(options);
  await server.open();
  return { url: () => server.url(), close: () => server.close() };
}

class TelemetryServer {
  #options: TelemetryServerOptions;
  #server: Server;
  #port: number;
  #running = new Set<Promise<void>>();
  #closing: Promise<void> | null = null;

  constructor(options: TelemetryServerOptions) {
    this.#options = options;
    this.#port = options.port;
    this.#server = createServer((request, response) => this.#serve(request, response));
    this.#server.maxConnections = connectionsMax;
    this.#server.headersTimeout = headersTimeoutMs;
    this.#server.requestTimeout = requestTimeoutMs;
    this.#server.keepAliveTimeout = keepAliveTimeoutMs;
    this.#server.timeout = stallMs;
  }

  async open(): Promise<void> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
      this.#server.listen({ host, port }, resolve);
    });
    const address = this.#server.address();
    invariant(typeof address === "object" && address !== null, "a listening TCP server has an address");
    this.#port = address.port;
    this.#server.removeAllListeners("error");
    this.#server.on("error", (error) => this.#options.onFailed?.("listen", toHeadwaterError(error)));
  }

  url(): string {
    const { host } = this.#options;
    const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
    return `http://${reachable.includes(":") ? `[${reachable.replaceAll(/[[\]]/g, "")}]` : reachable}:${this.#port}`;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Takes no new requests, answers those that run, ends all connections. */
  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.schedule(closeWithinMs, resolve);
      void Promise.allSettled(this.#running).then(() => {
        cancel();
        resolve();
      });
    });
    this.#server.closeAllConnections();
    await closed;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    // A peer that goes away is not an error of ours; without a listener it would be thrown.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    const running = this.#answer(request, response);
    this.#running.add(running);
    running
      .finally(() => this.#running.delete(running))
      .catch((error: unknown) => {
        // Only programmer errors come here, and they must end the process.
        setImmediate(() => {
          throw error;
        });
      });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader(protocolHeader, String(protocolVersion));
    response.setHeader("cache-control", "no-store");
    if (this.#closing !== null) response.setHeader("connection", "close");
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const stopHeartbeat = this.#heartbeat(response);
    try {
      await this.#route(request, response, path);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#refuse(request, response, { path, error: toHeadwaterError(error) });
    } finally {
      stopHeartbeat();
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    if (path === "/livez" || path === "/readyz" || path === protocolPath) {
      requireMethod(request, response, "GET");
      if (path === protocolPath) this.#checkToken(request);
      const reasons = path === "/readyz" ? await this.#reasonsNotReady() : [];
      const body = {
        "/livez": { status: "alive" },
        "/readyz": { status: reasons.length === 0 ? "ready" : "not ready", reasons },
        [protocolPath]: { product: "headwater telemetry store", protocol: protocolVersion },
      }[path];
      sendJson(response, reasons.length === 0 ? 200 : 503, JSON.stringify(body));
      return;
    }
    this.#checkToken(request);
    const name = /^\/v1\/([a-z]{1,20})$/.exec(path)?.[1];
    if (name === undefined) throw new HeadwaterError("NOT_FOUND", `there is no ${path} here: methods are POST /v1/<method>`);
    requireMethod(request, response, "POST");
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the telemetry store is stopping");
    this.#refuseWhenBusy();
    this.#options.onCounted("telemetry_server_requests", 1);
    const body = await readBody(request, this.#options.onCounted);
    if (body === null) return;
    await sendLines(response, await callMethod(this.#options.store, name, body));
  }

  #refuseWhenBusy(): void {
    if (this.#running.size <= requestsMax) return;
    this.#options.onCounted("telemetry_server_busy", 1);
    throw new HeadwaterError("STORE_UNAVAILABLE", `the telemetry store handles ${requestsMax} requests already`, { retryAfterSeconds: 1 });
  }

  /** Hashes are compared, so that neither time nor length says how much of a guessed token was right. */
  #checkToken(request: IncomingMessage): void {
    const { token } = this.#options;
    if (token === null) return;
    const given = /^Bearer +(\S{1,512})$/i.exec(request.headers.authorization ?? "")?.[1] ?? "";
    if (timingSafeEqual(digest(given), digest(token))) return;
    this.#options.onCounted("telemetry_server_unauthenticated", 1);
    throw new HeadwaterError("UNAUTHENTICATED", "the telemetry store needs its token: Authorization: Bearer <store.token>");
  }

  async #reasonsNotReady(): Promise<string[]> {
    if (this.#closing !== null) return ["the telemetry store is stopping"];
    return await new Promise((resolve) => {
      const cancel = this.#options.clock.schedule(readyWithinMs, () =>
        resolve([`the telemetry store did not answer within ${readyWithinMs} ms`]),
      );
      this.#options.store
        .summaries({ entities: [], seriesMax: 0 })
        .then(
          () => resolve([]),
          (error: unknown) => resolve([toHeadwaterError(error).message]),
        )
        .finally(cancel);
    });
  }

  /** Tells a waiting client, once a second until the answer begins, that its request is in work. */
  #heartbeat(response: ServerResponse): () => void {
    let cancel = () => {};
    const beat = () => {
      if (response.headersSent || response.destroyed) return;
      response.writeProcessing();
      cancel = this.#options.clock.schedule(heartbeatMs, beat);
    };
    cancel = this.#options.clock.schedule(heartbeatMs, beat);
    return () => cancel();
  }

  #refuse(request: IncomingMessage, response: ServerResponse, { path, error }: { path: string; error: HeadwaterError }): void {
    if (error.status >= 500) this.#options.onFailed?.(path, error);
    // An answer that has begun cannot become an error: cut off, it is seen to be incomplete.
    if (response.headersSent) response.destroy();
    else sendJson(response, error.status, errorJson(error));
    discardBody(request, this.#options.clock);
  }
}

function requireMethod(request: IncomingMessage, response: ServerResponse, method: "GET" | "POST"): void {
  if (request.method === method) return;
  response.setHeader("allow", method);
  throw new HeadwaterError("METHOD_NOT_ALLOWED", `${request.method} is not allowed here, ${method} is`);
}

function sendJson(response: ServerResponse, status: number, body: string): void {
  if (response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

/** Writes as fast as the client takes it: an answer may be far larger than what should wait in memory a second time. */
async function sendLines(response: ServerResponse, lines: Iterable<string>): Promise<void> {
  if (response.destroyed) return;
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  let waiting = "";
  for (const line of lines) {
    waiting += line;
    waiting += "\n";
    if (waiting.length < chunkLength) continue;
    if (!response.write(waiting)) await drained(response);
    if (response.destroyed) return;
    waiting = "";
  }
  response.end(waiting);
}

/** Resolves when more can be written or nobody takes it any more. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.removeListener("drain", done).removeListener("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): HeadwaterError {
  const cause = { cause: error };
  if (error.code === "EADDRINUSE") {
    return new HeadwaterError("PORT_IN_USE", `port ${port} on ${host} is in use by another program; stop it or set store.port`, cause);
  }
  const message = `the telemetry store cannot listen on ${host}:${port} (store.host, store.port): ${error.message}`;
  return new HeadwaterError("CONFIG_INVALID", message, cause);
}

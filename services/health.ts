/** `/livez`, `/readyz` and `/metrics` of a process that runs some roles only; the API has its own. */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Config } from "../config/config.ts";
import { HeadwaterError } from "../contract/error.ts";
import { isLoopback } from "../contract/loopback.ts";
import type { Platform } from "./platform.ts";

export interface Health {
  url(): string;
  close(): Promise<void>;
}

interface HealthOptions {
  readonly http: Config["health"];
  readonly tokens: Config["tokens"];
  readonly platform: Platform;
  /** Why this process is not ready, as sentences; empty when it is. */
  readonly reasons: () => readonly string[];
}

const connectionsMax = 64;
const headersTimeoutMs = 5_000;
/** Roles whose tokens may read the metrics. */
const mayReadMetrics = ["viewer", "responder", "admin"];

/**
 * Listens. `/livez` and `/readyz` are open, as probes need them; `/metrics` asks for a token with the role viewer where tokens are
 * configured. Throws PORT_IN_USE, and CONFIG_INVALID where other machines could read the metrics without a token.
 */
export async function openHealth(options: HealthOptions): Promise<Health> {
  const { host, port } = options.http;
  if (options.tokens.length === 0 && !isLoopback(host)) {
    throw new HeadwaterError(
      "CONFIG_INVALID",
      `"health.host" is ${JSON.stringify(host)}, which other machines can reach, and "tokens" is empty: add a token, or bind to 127.0.0.1`,
    );
  }
  const server = createServer({ headersTimeout: headersTimeoutMs, requestTimeout: headersTimeoutMs }, (request, response) => {
    void answer(request, response, options);
  });
  server.maxConnections = connectionsMax;
  await listen(server, { host, port });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return {
    url: () => `http://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server, at: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const where = `${at.host}:${at.port}`;
      reject(
        error.code === "EADDRINUSE"
          ? new HeadwaterError("PORT_IN_USE", `health.port: ${where} is in use; choose another one, or 0 for any`)
          : new HeadwaterError("CONFIG_INVALID", `health.host and health.port: cannot listen on ${where} (${error.message})`),
      );
    });
    server.listen(at.port, at.host, () => resolve());
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, options: HealthOptions): Promise<void> {
  response.setHeader("Cache-Control", "no-store");
  const path = request.url?.split("?")[0];
  if (request.method !== "GET") return send(response, 405, { error: "only GET is allowed here" });
  if (path === "/livez") return send(response, 200, { status: "alive" });
  if (path === "/readyz") {
    const reasons = options.reasons();
    return send(response, reasons.length === 0 ? 200 : 503, { status: reasons.length === 0 ? "ready" : "not ready", reasons });
  }
  if (path !== "/metrics") return send(response, 404, { error: "known paths are /livez, /readyz and /metrics" });
  if (!isAllowed(request.headers.authorization, options.tokens)) {
    return send(response, 401, { error: "a bearer token with the role viewer is needed" });
  }
  response.setHeader("Content-Type", options.platform.metrics.registry.contentType);
  response.end(await options.platform.metrics.registry.metrics());
}

function isAllowed(authorization: string | undefined, tokens: Config["tokens"]): boolean {
  if (tokens.length === 0) return true;
  const shown = digest(/^Bearer +(\S{1,512})$/i.exec(authorization ?? "")?.[1] ?? "");
  const fitting = tokens.filter(({ token }) => timingSafeEqual(digest(token), shown));
  return fitting.some(({ roles }) => roles.some((role) => mayReadMetrics.includes(role)));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function send(response: ServerResponse, status: number, body: object): void {
  response.statusCode = status;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(body));
}

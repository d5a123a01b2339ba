/** One service of the shop, as a process of its own: takes its settings over IPC, then answers requests until told to stop. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Context, propagation, ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import type { Place } from "./address.ts";
import { CacheClient } from "./cache-client.ts";
import { CallError, reconnect } from "./call.ts";
import { answerParent, endWithParent } from "./child.ts";
import { Database, PoolTimeoutError } from "./database.ts";
import type { ServiceHooks } from "./fault/fault.ts";
import { faultTable } from "./fault/table.ts";
import { Journal } from "./journal.ts";
import { textOf } from "./lab-error.ts";
import type { ServiceSettings, ToService } from "./message.ts";
import { perform, type ServiceParts } from "./perform.ts";
import type { PoolCounts } from "./process-gauges.ts";
import { Random, seedFrom } from "./random.ts";
import { failSpan, type Scope } from "./span.ts";
import type { OperationSpec } from "./spec.ts";
import type { Telemetry } from "./telemetry.ts";

const flushMs = 1_000;

/** How a service begins to report as one of its versions. */
type Report = (options: { version: string; pool: () => PoolCounts | null }) => Telemetry;

class Service {
  readonly #settings: ServiceSettings;
  readonly #parts: ServiceParts;
  readonly #server: Server;
  #telemetry: Telemetry;
  readonly #reportAs: Report;
  #hooks: ServiceHooks = {};
  #peers: Readonly<Record<string, Place>> = {};

  constructor(settings: ServiceSettings, reportAs: Report) {
    const { spec, address } = settings;
    this.#settings = settings;
    this.#reportAs = reportAs;
    this.#parts = {
      address,
      wayTo: (callee) => this.#peers[callee],
      random: new Random(seedFrom("service", settings.seed, spec.name)),
      cache: this.#createCache(),
      database: this.#createDatabase(),
      journal: spec.journal === "kept" ? new Journal() : null,
      hooks: () => this.#hooks,
    };
    this.#telemetry = this.#report(spec.version);
    this.#server = createServer((request, response) => {
      void this.#answer(request, response);
    });
    // Callers keep their connections; one that the server closed first would look like a failure.
    this.#server.keepAliveTimeout = 0;
    this.#server.requestTimeout = 0;
  }

  #createCache(): CacheClient | null {
    const { spec, redisUrl: url, keyPrefix, datastoreFrom } = this.#settings;
    return url === null ? null : new CacheClient({ url, prefix: `${keyPrefix}${spec.name}:`, from: datastoreFrom.redis });
  }

  #createDatabase(): Database | null {
    const { spec, postgresUrl, schema, datastoreFrom } = this.#settings;
    if (spec.poolMax === null || postgresUrl === null) return null;
    const keepsConnection = (): "yes" | "no" => this.#hooks.keepsConnection?.() ?? "no";
    return new Database({
      url: postgresUrl,
      schema,
      table: spec.name,
      poolMax: spec.poolMax,
      from: datastoreFrom.postgres,
      keepsConnection,
    });
  }

  #report(version: string): Telemetry {
    const telemetry = this.#reportAs({ version, pool: () => this.#parts.database?.counts() ?? null });
    telemetry.log("INFO", `version ${version} started`);
    return telemetry;
  }

  /** Opens everything; answers the port. */
  async start(): Promise<number> {
    await this.#parts.database?.prepare();
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#settings.port, this.#settings.address, resolve);
    });
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  async obey(message: Exclude<ToService, { type: "configure" }>): Promise<void> {
    switch (message.type) {
      case "fault": {
        if (message.fault === "crash") process.kill(process.pid, "SIGKILL");
        const { magnitude, variant } = message;
        this.#hooks = faultTable[message.fault].mechanism?.({ magnitude, variant, random: this.#parts.random }) ?? {};
        return;
      }
      case "healthy":
        this.#hooks = {};
        this.#parts.database?.releaseKept();
        return;
      case "peers":
        this.#peers = message.peers;
        return;
      case "reconnect": {
        const place = this.#peers[message.callee];
        if (place !== undefined) reconnect(place);
        return;
      }
      case "version": {
        const before = this.#telemetry;
        this.#telemetry = this.#report(message.version);
        void before.shutdown();
        return;
      }
      case "flag":
        this.#telemetry.log("INFO", `flag ${message.flag} is now ${message.value}`);
        return;
      case "stop":
        await Promise.race([this.#telemetry.shutdown(), new Promise((resolve) => setTimeout(resolve, flushMs))]);
        process.exit(0);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    if (path === "/healthz") {
      response.end("ok");
      return;
    }
    const method = request.method ?? "GET";
    const first = path.split("/")[1] ?? "";
    const operation = this.#settings.spec.operations.find((other) => other.method === method && other.route.split("/")[1] === first);
    if (operation === undefined) {
      response.writeHead(404).end();
      return;
    }
    const status = await this.#serve(operation, { path, parent: propagation.extract(ROOT_CONTEXT, request.headers) });
    response.writeHead(status, { "content-type": "application/json" }).end(`{"status":${status}}`);
  }

  /** Performs an operation inside its server span; answers the status. */
  async #serve(operation: OperationSpec, options: { path: string; parent: Context }): Promise<number> {
    const telemetry = this.#telemetry;
    const attributes = { "http.request.method": operation.method, "http.route": operation.route };
    const startedMs = performance.now();
    const span = telemetry.tracer.startSpan(
      operation.name,
      { kind: SpanKind.SERVER, attributes: { ...attributes, "url.path": options.path, "url.scheme": "http" } },
      options.parent,
    );
    const scope: Scope = { telemetry, context: trace.setSpan(options.parent, span) };
    let status = 200;
    try {
      await perform(scope, this.#parts, operation);
    } catch (error) {
      status = statusOf(error);
      failSpan(span, error);
      telemetry.log("ERROR", `${operation.name} failed: ${textOf(error)}`, { context: scope.context, error });
    }
    const elapsedMs = performance.now() - startedMs;
    span.setAttribute("http.response.status_code", status);
    span.end();
    telemetry.requestDuration.record(elapsedMs / 1_000, { ...attributes, "http.response.status_code": status });
    telemetry.log("INFO", `${operation.name} answered ${status} in ${Math.round(elapsedMs)} ms`, { context: scope.context });
    return status;
  }
}

function statusOf(error: unknown): number {
  if (error instanceof CallError) return error.status;
  return error instanceof PoolTimeoutError ? 503 : 500;
}

let service: Service | null = null;

/** What is not to report loads nothing that could. */
async function reportOf(settings: ServiceSettings): Promise<Report> {
  const { spec, namespace, instance, otlpUrl } = settings;
  if (otlpUrl === null) {
    const { noTelemetry } = await import("./no-telemetry.ts");
    return noTelemetry;
  }
  const { createTelemetry } = await import("./telemetry.ts");
  return ({ version, pool }) =>
    createTelemetry({ identity: { name: spec.name, namespace, version, instance, host: spec.host }, otlpUrl, pool });
}

async function obey(message: ToService): Promise<void> {
  if (message.type === "configure") {
    service = new Service(message.settings, await reportOf(message.settings));
    answerParent({ type: "ready", port: await service.start() });
    return;
  }
  if (message.type === "stop" && service === null) process.exit(0);
  await service?.obey(message);
  answerParent({ type: "done" });
}

endWithParent();
process.on("message", (message) => {
  obey(message as ToService).catch((error: unknown) => answerParent({ type: "failed", text: textOf(error) }));
});

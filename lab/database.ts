/** A service's database: a table of its own, and a small pool of connections that can run out. */
import { Socket } from "node:net";
import { SpanKind } from "@opentelemetry/api";
import { Client, Pool, type PoolClient } from "pg";
import { textOf } from "./lab-error.ts";
import type { PoolCounts } from "./process-gauges.ts";
import { failSpan, inSpan, type Scope } from "./span.ts";

/** Below the callers' timeouts, so that a service whose pool is empty says so itself. */
const acquireWaitMs = 700;
/** Waiting longer for a connection is worth a span and a warning. */
const slowAcquireMs = 50;
const patienceMs = 20_000;
const rows = 500;

/** No connection became free in time. */
export class PoolTimeoutError extends Error {
  override readonly name = "PoolTimeoutError";
}

/** A socket that connects from an address of ours; the client asks for nothing but a port and a host. */
class SocketFrom extends Socket {
  readonly #address: string;

  constructor(address: string) {
    super();
    this.#address = address;
  }

  override connect(...words: unknown[]): this {
    const [port, host] = words;
    return super.connect({ port: Number(port), host: String(host), localAddress: this.#address });
  }
}

export interface DatabaseOptions {
  readonly url: string;
  readonly schema: string;
  readonly table: string;
  readonly poolMax: number;
  /** Our own address; null: any. */
  readonly from: string | null;
  /** Asked after each use; see `ServiceHooks`. */
  readonly keepsConnection: () => "yes" | "no";
}

export class Database {
  readonly #pool: Pool;
  readonly #options: DatabaseOptions;
  readonly #address: { host: string; port: number };
  readonly #kept: PoolClient[] = [];

  constructor(options: DatabaseOptions) {
    const url = new URL(options.url);
    const { from } = options;
    this.#options = options;
    this.#address = { host: url.hostname, port: Number(url.port || 5_432) };
    this.#pool = new Pool({
      connectionString: options.url,
      max: options.poolMax,
      idleTimeoutMillis: 0,
      connectionTimeoutMillis: acquireWaitMs,
      application_name: options.table,
      ...(from === null ? {} : { stream: () => new SocketFrom(from) }),
    });
    // An idle connection that breaks is replaced at the next use.
    this.#pool.on("error", () => {});
  }

  /** Creates and fills the table, and opens all connections, so that the first requests find them. */
  async prepare(): Promise<void> {
    const table = this.#table();
    const create = `CREATE TABLE IF NOT EXISTS ${table} (id integer PRIMARY KEY, value integer NOT NULL)`;
    await withPatience(() => this.#pool.query(create));
    await this.#pool.query(`INSERT INTO ${table} SELECT n, 0 FROM generate_series(1, ${rows}) AS n ON CONFLICT DO NOTHING`);
    const clients = await Promise.all(Array.from({ length: this.#options.poolMax }, () => withPatience(() => this.#pool.connect())));
    for (const client of clients) client.release();
  }

  counts(): PoolCounts {
    const idle = this.#pool.idleCount;
    return { used: this.#pool.totalCount - idle, idle, pending: this.#pool.waitingCount, max: this.#options.poolMax };
  }

  /** One statement on a row; waits for a connection of the pool first. Throws PoolTimeoutError, or what the database said. */
  async run(scope: Scope, options: { kind: "read" | "write"; id: number }): Promise<void> {
    const client = await this.#acquire(scope);
    try {
      await this.#statement(scope, client, options);
    } finally {
      if (this.#options.keepsConnection() === "yes") this.#kept.push(client);
      else client.release();
    }
  }

  /** Gives back what was kept. */
  releaseKept(): void {
    for (const client of this.#kept.splice(0)) client.release();
  }

  async #acquire(scope: Scope): Promise<PoolClient> {
    const startTime = Date.now();
    const startedMs = performance.now();
    try {
      const client = await this.#pool.connect();
      const waitedMs = performance.now() - startedMs;
      if (waitedMs >= slowAcquireMs) {
        scope.telemetry.tracer.startSpan("pool.acquire", { kind: SpanKind.INTERNAL, startTime }, scope.context).end();
        scope.telemetry.log("WARN", `waited ${Math.round(waitedMs)} ms for a database connection`, { context: scope.context });
      }
      return client;
    } catch (cause) {
      const waitedMs = performance.now() - startedMs;
      const error =
        waitedMs >= acquireWaitMs * 0.9
          ? new PoolTimeoutError(`no database connection became free within ${acquireWaitMs} ms (all ${this.#options.poolMax} in use)`)
          : new Error(`no connection to the database: ${textOf(cause)}`);
      const span = scope.telemetry.tracer.startSpan("pool.acquire", { kind: SpanKind.INTERNAL, startTime }, scope.context);
      failSpan(span, error);
      span.end();
      throw error;
    }
  }

  async #statement(scope: Scope, client: PoolClient, options: { kind: "read" | "write"; id: number }): Promise<void> {
    const operation = options.kind === "read" ? "SELECT" : "UPDATE";
    const attributes = {
      "db.system.name": "postgresql",
      "db.operation.name": operation,
      "db.collection.name": this.#options.table,
      "server.address": this.#address.host,
      "server.port": this.#address.port,
    };
    const text =
      options.kind === "read"
        ? `SELECT value FROM ${this.#table()} WHERE id = $1`
        : `UPDATE ${this.#table()} SET value = value + 1 WHERE id = $1`;
    await inSpan(scope, { name: `${operation} ${this.#options.table}`, kind: SpanKind.CLIENT, attributes }, () =>
      client.query({ name: options.kind, text, values: [1 + (options.id % rows)] }),
    );
  }

  #table(): string {
    return `"${this.#options.schema}"."${this.#options.table}"`;
  }

  async close(): Promise<void> {
    this.releaseKept();
    await this.#pool.end();
  }
}

/** Tries for a while: at the start a busy machine may need longer for a connection than a request would wait. */
async function withPatience<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
  }
}

/** Creates or removes the schema in which the tables of one shop live. */
export async function changeSchema(url: string, action: "create" | "drop", schema: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: patienceMs });
  // A server that goes away in between rejects the query; the event would end the process.
  client.on("error", () => {});
  await client.connect();
  try {
    await client.query(action === "create" ? `CREATE SCHEMA "${schema}"` : `DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
  } finally {
    await client.end();
  }
}

/** Connections to PostgreSQL: a bounded pool for statements and single ones for listening, none of which can outlast its owner. */
import { Socket } from "node:net";
import { Client, type ClientConfig, Pool, type PoolClient } from "pg";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";
import { type FailurePlace, postgresFailure } from "./postgres-failure.ts";

/** Connections of the pool of one process; each of its subscriptions shares them, and one more listens. */
const connectionsMax = 8;
/** Statements that wait for a connection; more are refused at once, since each has a caller that may wait. */
const statementsWaitingMax = 1_000;
const connectWithinMs = 4_000;
const statementWithinMs = 5_000;
/** Whatever happens below, an operation has ended after this time. */
const operationWithinMs = 5_000;
/** How long connections may take to say goodbye. */
const closeWithinMs = 1_000;

interface ConnectionsOptions {
  readonly url: string;
  readonly address: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
}

/** Counter: `event_store_statements_refused`. */
export class Connections {
  #options: ConnectionsOptions;
  #pool: Pool;
  #sockets = new Set<Socket>();
  #phase: FailurePlace["phase"] = "opening";

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#pool = new Pool({
      ...this.#config(),
      max: connectionsMax,
      connectionTimeoutMillis: connectWithinMs,
      idleTimeoutMillis: 30_000,
      // Awaited before the connection is used. An append must see what was committed while it waited for its turn.
      onConnect: (client) => client.query("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"),
    });
    // An idle connection that is lost is replaced when one is needed; without a listener it would be thrown.
    this.#pool.on("error", () => undefined);
  }

  /** From now on what PostgreSQL refuses may be had later. */
  opened(): void {
    this.#phase = "open";
  }

  /** Runs one statement in its own transaction; answers its rows as arrays. Throws STORE_UNAVAILABLE within 5 s. */
  async rows<Row extends unknown[]>(text: string, values: readonly unknown[]): Promise<Row[]> {
    return await this.withinTime(async () => {
      this.#refuseWhenFull();
      const result = await this.#pool.query({ text, values: [...values], rowMode: "array" });
      return result.rows as Row[];
    });
  }

  /** Calls `work` with a connection of its own. */
  async using<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return await this.withinTime(async () => {
      const client = await this.#pool.connect();
      try {
        const answer = await work(client);
        client.release();
        return answer;
      } catch (error) {
        // What state it is in is unknown.
        client.release(true);
        throw error;
      }
    });
  }

  /** A connection beside the pool, not yet connected. */
  single(): Client {
    const client = new Client({ ...this.#config(), connectionTimeoutMillis: connectWithinMs });
    client.on("error", () => undefined);
    return client;
  }

  /** Rejects with STORE_UNAVAILABLE when the work has not ended in time; the statement itself is ended by its own limits. */
  async withinTime<T>(work: () => Promise<T>): Promise<T> {
    const { address, clock } = this.#options;
    const running = work();
    try {
      return await new Promise<T>((resolve, reject) => {
        const cancel = clock.schedule(operationWithinMs, () =>
          reject(new HeadwaterError("STORE_UNAVAILABLE", `${address} did not answer within ${operationWithinMs} ms`)),
        );
        running.then(resolve, reject).finally(cancel);
      });
    } catch (error) {
      throw postgresFailure(error, { address, phase: this.#phase });
    }
  }

  /** Says goodbye where somebody listens, and hangs up after a second where nobody does. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.schedule(closeWithinMs, () => resolve());
      this.#pool.end().then(resolve, resolve).finally(cancel);
    });
    for (const socket of this.#sockets) socket.destroy();
  }

  #config(): ClientConfig {
    return {
      connectionString: this.#options.url,
      application_name: "headwater",
      statement_timeout: statementWithinMs,
      query_timeout: statementWithinMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      stream: () => this.#socket(),
    };
  }

  /** Known to us, so that `close` can hang up: `pg` waits for a server's goodbye as long as it takes. */
  #socket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }

  #refuseWhenFull(): void {
    if (this.#pool.waitingCount < statementsWaitingMax) return;
    this.#options.onCounted("event_store_statements_refused", 1);
    throw new HeadwaterError("STORE_UNAVAILABLE", `${statementsWaitingMax} statements wait for ${this.#options.address} already`);
  }
}

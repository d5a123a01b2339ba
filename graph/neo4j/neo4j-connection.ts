/** Transactions with a Neo4j: retried by its driver, watched so that a server that is away is an error within seconds, timed. */
import neo4j, { type Driver, type ManagedTransaction, type Session } from "neo4j-driver";
import { HeadwaterError } from "../../contract/error.ts";
import { neo4jFailure } from "./neo4j-failure.ts";
import { type Neo4jPlace, neo4jPlace } from "./neo4j-place.ts";
import { type QueryName, queryText } from "./query-text.ts";

/** With what follows below: an operation that cannot reach its server fails within 5 s. */
const connectWithinMs = 2_500;
/** A transaction that failed for a reason that passes is tried again by the driver for so long. */
const retryForMs = 3_000;
/** A server that has not answered for so long is asked whether it is there at all. */
const patienceMs = 3_000;
const probeWithinMs = 1_800;
/** One that is there and does not come to an end with a transaction. */
const answerWithinMs = 60_000;
const closeWithinMs = 2_000;
/** A small Neo4j serves twenty at once, and several processes share it. */
const connectionsMax = 10;
/** Bolt opens before the indexes are back. */
const indexesWithinS = 60;

export type Row = Record<string, unknown>;

/** Runs a query by its name in a transaction, and answers all its rows. */
export type RunQuery = (name: QueryName, parameters: Readonly<Record<string, unknown>>) => Promise<Row[]>;

export interface ConnectionOptions {
  readonly url: string;
  /** Called with the time of every query. */
  readonly onQuery: (name: string, ms: number) => void;
  readonly onCounted: (name: string, amount: number) => void;
}

export class Neo4jConnection {
  readonly address: string;
  readonly #options: ConnectionOptions;
  readonly #place: Neo4jPlace;
  readonly #bookmarks = neo4j.bookmarkManager();
  #driver: Driver;
  #phase: "opening" | "open" = "opening";
  /** False until the indexes are known to be back after the server may have been away. */
  #areIndexesBack = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#place = neo4jPlace(options.url);
    this.address = this.#place.address;
    this.#driver = connect(this.#place);
  }

  /** From now on everything that fails is a graph that is away. */
  opened(): void {
    this.#phase = "open";
  }

  /** `Neo4j/5.26.30`, for example. */
  async serverAgent(): Promise<string> {
    return await this.#answered(async (driver) => {
      const { agent = "" } = await driver.getServerInfo(this.#database());
      return agent;
    });
  }

  /** One statement in a transaction of its own, as those that change the schema want it. It may be run again. */
  async runAlone(text: string): Promise<void> {
    await this.#answered((driver) =>
      this.#using(driver, "WRITE", (session) => session.executeWrite(async (transaction) => void (await transaction.run(text)))),
    );
  }

  /** What only reads. `work` may be run again. */
  async read<T>(work: (run: RunQuery) => Promise<T>): Promise<T> {
    await this.#awaitIndexes();
    return await this.#answered((driver) =>
      this.#using(driver, "READ", (session) => session.executeRead((transaction) => work(this.#runner(transaction)))),
    );
  }

  /** What writes, as a whole or not at all. `work` may be run again. */
  async write<T>(work: (run: RunQuery) => Promise<T>): Promise<T> {
    await this.#awaitIndexes();
    return await this.#answered((driver) =>
      this.#using(driver, "WRITE", (session) => session.executeWrite((transaction) => work(this.#runner(transaction)))),
    );
  }

  async close(): Promise<void> {
    await closed(this.#driver);
  }

  #database(): { database?: string } {
    return this.#place.database === null ? {} : { database: this.#place.database };
  }

  async #awaitIndexes(): Promise<void> {
    if (this.#areIndexesBack) return;
    await this.#answered((driver) =>
      this.#using(
        driver,
        "READ",
        async (session) => void (await session.run("CALL db.awaitIndexes($seconds)", { seconds: neo4j.int(indexesWithinS) })),
      ),
    );
    this.#areIndexesBack = true;
  }

  async #using<T>(driver: Driver, mode: "READ" | "WRITE", work: (session: Session) => Promise<T>): Promise<T> {
    const session = driver.session({ defaultAccessMode: mode, bookmarkManager: this.#bookmarks, ...this.#database() });
    try {
      return await work(session);
    } finally {
      // A session of a server that is away takes its time to close.
      session.close().catch(() => undefined);
    }
  }

  #runner(transaction: ManagedTransaction): RunQuery {
    return async (name, parameters) => {
      const begunMs = performance.now();
      const { records } = await transaction.run(queryText(name), parameters);
      this.#options.onQuery(name, performance.now() - begunMs);
      return records.map((record) => record.toObject());
    };
  }

  /** Runs `work`; fails when the server neither answers nor shows that it is there. */
  async #answered<T>(work: (driver: Driver) => Promise<T>): Promise<T> {
    const driver = this.#driver;
    const watch = new AbortController();
    try {
      return await Promise.race([work(driver), this.#watched(driver, watch.signal)]);
    } catch (error) {
      this.#areIndexesBack = false;
      throw neo4jFailure(error, { address: this.address, phase: this.#phase });
    } finally {
      watch.abort();
    }
  }

  async #watched(driver: Driver, signal: AbortSignal): Promise<never> {
    const endsAtMs = performance.now() + answerWithinMs;
    for (;;) {
      await pause(patienceMs, signal);
      const isThere = !signal.aborted && (await within(probeWithinMs, driver.getServerInfo(this.#database())));
      // Nobody waits for the watch any more.
      if (signal.aborted) return await new Promise<never>(() => undefined);
      if (isThere && performance.now() < endsAtMs) continue;
      this.#renew(driver);
      const why = isThere ? `does not come to an end within ${answerWithinMs / 1_000} s` : `has not answered for ${patienceMs / 1_000} s`;
      throw new HeadwaterError("GRAPH_UNAVAILABLE", `${this.address} ${why}`);
    }
  }

  /** Leaves connections that may hang for ever to themselves. */
  #renew(hanging: Driver): void {
    if (this.#driver !== hanging) return;
    this.#driver = connect(this.#place);
    this.#options.onCounted("graph_connections_renewed", 1);
    void closed(hanging);
  }
}

function connect({ url, user, password }: Neo4jPlace): Driver {
  return neo4j.driver(url, user === "" ? undefined : neo4j.auth.basic(user, password), {
    disableLosslessIntegers: true,
    connectionTimeout: connectWithinMs,
    connectionAcquisitionTimeout: connectWithinMs + retryForMs,
    maxTransactionRetryTime: retryForMs,
    maxConnectionPoolSize: connectionsMax,
    userAgent: "headwater",
  });
}

async function closed(driver: Driver): Promise<void> {
  await within(closeWithinMs, driver.close());
}

/** Whether it succeeds within so long. */
async function within(waitMs: number, work: Promise<unknown>): Promise<boolean> {
  const over = new AbortController();
  const done = work.then(
    () => true,
    () => false,
  );
  const late = pause(waitMs, over.signal).then(() => false);
  const result = await Promise.race([done, late]);
  over.abort();
  return result;
}

/** Resolves after `waitMs`, or as soon as it is not waited for any more. On the machine's own timers: a server does not know our clock. */
function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, waitMs);
    signal.addEventListener("abort", finish);
  });
}

/** Steps that need Redis, bounded in time and with failures in our words. */
import type { Redis } from "ioredis";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";
import { redisAddress, redisFailure } from "../redis/redis-connection.ts";

/** A step that takes longer has failed; whether it was done is not known then. */
const stepMaxMs = 4_000;
/** How long a step waits for a connection that is being made again, e.g. while Redis restarts. */
const readyWaitMs = 1_000;

export class RedisReach {
  readonly #connection: Redis;
  readonly #clock: Clock;
  readonly #address: string;
  #connections = 0;

  constructor(options: { connection: Redis; clock: Clock; url: string }) {
    this.#connection = options.connection;
    this.#clock = options.clock;
    this.#address = redisAddress(options.url);
    options.connection.on("ready", () => {
      this.#connections += 1;
    });
  }

  /** How often a connection was made. While it stays the same, Redis was not started again, so that what it answered still holds. */
  get connections(): number {
    return this.#connections;
  }

  /**
   * Runs a step within 5 s. Throws QUEUE_UNAVAILABLE with the address, SERVER_REFUSED, DATA_FOREIGN.
   * A step begins only when there is a connection: one that was queued would be done later, after its failure was told.
   */
  async step<T>(work: () => Promise<T>): Promise<T> {
    try {
      await this.#ready();
      return await this.within(stepMaxMs, work());
    } catch (error) {
      throw redisFailure(error, { address: this.#address, unavailable: "QUEUE_UNAVAILABLE" });
    }
  }

  /** The promise's value; rejects with QUEUE_UNAVAILABLE when it is not settled in time. */
  async within<T>(waitMs: number, promise: Promise<T>): Promise<T> {
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = this.#clock.schedule(waitMs, () => {
        reject(new HeadwaterError("QUEUE_UNAVAILABLE", `Redis at ${this.#address} did not answer within ${waitMs} ms`));
      });
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      cancel();
    }
  }

  async #ready(): Promise<void> {
    const connection = this.#connection;
    if (connection.status === "ready") return;
    let isReady = (): void => undefined;
    const ready = new Promise<void>((resolve) => {
      isReady = resolve;
      connection.once("ready", isReady);
    });
    try {
      await this.within(readyWaitMs, ready);
    } catch (error) {
      throw new HeadwaterError("QUEUE_UNAVAILABLE", `Redis at ${this.#address} cannot be reached`, { cause: error });
    } finally {
      connection.off("ready", isReady);
    }
  }
}

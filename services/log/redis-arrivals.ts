/** Hears which partitions have new entries or a new owner, and wakes who waits for them. */
import type { Redis } from "ioredis";
import type { Clock } from "../../contract/port.ts";

/**
 * Announcements may be missed while the connection is away: whoever waits looks again after its time, and everybody is woken when the
 * connection is there again.
 */
export class RedisArrivals {
  readonly #connect: () => Redis;
  readonly #channel: string;
  readonly #clock: Clock;
  readonly #announced = new Map<string, number>();
  readonly #waiting = new Map<string, Set<() => void>>();
  #connection: Redis | null = null;
  #isClosed = false;

  constructor(options: { connect: () => Redis; channel: string; clock: Clock }) {
    this.#connect = options.connect;
    this.#channel = options.channel;
    this.#clock = options.clock;
  }

  /** Begins to listen; a process that owns nothing needs no connection for it. */
  listen(): void {
    if (this.#connection !== null || this.#isClosed) return;
    const connection = this.#connect();
    this.#connection = connection;
    connection.on("message", (_channel: string, partitions: string) => {
      for (const partition of partitions.split(" ")) this.announce(partition);
    });
    // What was announced before the subscription took effect was not heard.
    connection.on("ready", () => {
      connection.subscribe(this.#channel).then(
        () => this.announceAll(),
        () => undefined,
      );
    });
  }

  /** How often a partition was announced; to be asked before its entries are read, and given to `next`. */
  announced(partition: string): number {
    const times = this.#announced.get(partition) ?? 0;
    this.#announced.set(partition, times);
    return times;
  }

  /** Resolves at the first announcement after the one numbered, at `close`, or after `waitMs`. */
  async next(partition: string, after: number, waitMs: number): Promise<void> {
    if (this.#isClosed || this.announced(partition) !== after) return;
    await new Promise<void>((resolve) => {
      const waiting = this.#waiting.get(partition) ?? new Set();
      this.#waiting.set(partition, waiting);
      const wake = (): void => {
        cancel();
        waiting.delete(wake);
        resolve();
      };
      const cancel = this.#clock.schedule(waitMs, wake);
      waiting.add(wake);
    });
  }

  /** Wakes who waits for a partition; names that nobody ever asked for are passed over. */
  announce(partition: string): void {
    const times = this.#announced.get(partition);
    if (times === undefined) return;
    this.#announced.set(partition, times + 1);
    for (const wake of [...(this.#waiting.get(partition) ?? [])]) wake();
  }

  announceAll(): void {
    for (const partition of this.#announced.keys()) this.announce(partition);
  }

  close(): void {
    this.#isClosed = true;
    this.announceAll();
    this.#connection?.disconnect();
  }
}

/** Keeps some of Redis's memory free: a Redis that is full to the last byte cannot even hand out what would empty it. */
import type { Redis } from "ioredis";
import type { Clock } from "../../contract/port.ts";

/** Share of `maxmemory` above which no more bodies are taken. */
const usedRatioMax = 0.8;
/** For so long an answer of Redis is believed. */
const askAgainMs = 500;

export class RedisRoom {
  readonly #connection: Redis;
  readonly #clock: Clock;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #lack: Promise<string | null> = Promise.resolve(null);

  constructor(options: { connection: Redis; clock: Clock }) {
    this.#connection = options.connection;
    this.#clock = options.clock;
  }

  /** What is lacking, for a message; null while there is room, and where Redis has no `maxmemory`. */
  lack(): Promise<string | null> {
    const nowMs = this.#clock.nowMs();
    if (Math.abs(nowMs - this.#askedAtMs) >= askAgainMs) {
      this.#askedAtMs = nowMs;
      this.#lack = this.#ask();
      // Whoever asked is told; the next one asks anew.
      this.#lack.catch(() => {
        this.#askedAtMs = Number.NEGATIVE_INFINITY;
      });
    }
    return this.#lack;
  }

  async #ask(): Promise<string | null> {
    const info = await this.#connection.info("memory");
    const used = numberIn(info, "used_memory");
    const max = numberIn(info, "maxmemory");
    if (max === 0 || used < max * usedRatioMax) return null;
    return `Redis has used ${used} of the ${max} bytes of its maxmemory`;
  }
}

function numberIn(info: string, name: string): number {
  return Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
}

/** Runs the scripts of the Redis log: keys and arguments in, plain values out, every failure as one of our errors. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { HeadwaterError } from "../../contract/error.ts";
import { redisAddress, redisFailure } from "../redis/redis-connection.ts";

/** What a script is given. */
type Argument = string | number | Uint8Array;

/** An answer of Redis; strings are bytes. */
export type Reply = Buffer | number | null | readonly Reply[];

export class ServerSide {
  readonly connection: Redis;
  /** For messages; without the password. */
  readonly address: string;
  readonly #hashes = new Map<string, string>();

  constructor(connection: Redis, url: string) {
    this.connection = connection;
    this.address = redisAddress(url);
  }

  /** Throws LOG_UNAVAILABLE, DATA_FOREIGN, SERVER_REFUSED. A script may run twice when the connection breaks: each is written for that. */
  async run(script: string, keys: readonly string[], args: readonly Argument[]): Promise<Reply> {
    const rest = [keys.length, ...keys, ...args.map((arg) => (arg instanceof Uint8Array ? asBuffer(arg) : arg))];
    return (await this.answered(async () => {
      try {
        return await this.connection.callBuffer("EVALSHA", [this.#hashOf(script), ...rest]);
      } catch (error) {
        // A server that was started again has forgotten its scripts.
        if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
        return await this.connection.callBuffer("EVAL", [script, ...rest]);
      }
    })) as Reply;
  }

  /** Runs a command; see `run` for what it throws. */
  async answered<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** What a command or a script said went wrong, as one of our errors. */
  failure(error: unknown): HeadwaterError {
    return redisFailure(error, { address: this.address, unavailable: "LOG_UNAVAILABLE" });
  }

  /** Something under our name is not ours. */
  foreign(what: string): HeadwaterError {
    return new HeadwaterError(
      "DATA_FOREIGN",
      `Redis at ${this.address} holds ${what}, which Headwater did not write: choose another redis.prefix or remove it`,
    );
  }

  #hashOf(script: string): string {
    const known = this.#hashes.get(script) ?? createHash("sha1").update(script).digest("hex");
    this.#hashes.set(script, known);
    return known;
  }
}

/** The parts of an answer that is a list. */
export function listOf(reply: Reply | undefined): readonly Reply[] {
  return Array.isArray(reply) ? reply : [];
}

/** An answer that is text. */
export function textOf(reply: Reply | undefined): string {
  return Buffer.isBuffer(reply) ? reply.toString("utf8") : String(reply ?? "");
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

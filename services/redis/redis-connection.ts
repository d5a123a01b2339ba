/** A connection to the Redis that queue, log and presence share, and what that Redis must be like. */
import { Redis } from "ioredis";
import { type ErrorCode, HeadwaterError } from "../../contract/error.ts";
import { redisKeys } from "./redis-keys.ts";

/** Version of the layout of our keys. */
const layoutVersion = 1;
const versionMin = [6, 2] as const;
const connectWithinMs = 5_000;
/** A command that got no answer for so long has failed; the connection may be half dead. */
const answerWithinMs = 5_000;

export interface RedisPlace {
  /** redis://… or rediss://… */
  readonly url: string;
  readonly prefix: string;
}

interface RedisConnectionOptions extends RedisPlace {
  /** `report`: a command fails at once while Redis is away; `wait`: it waits, as BullMQ's workers and subscriptions must. */
  readonly whenAway: "report" | "wait";
  /** Called for each failed attempt to connect and each error of the connection; without it ioredis would print them. */
  readonly onError: (error: Error) => void;
}

/** Connects for ever: a connection that is lost is made again, with pauses of at most a second. */
export function connectRedis(options: RedisConnectionOptions): Redis {
  const waits = options.whenAway === "wait";
  const connection = new Redis(options.url, {
    connectTimeout: connectWithinMs,
    maxRetriesPerRequest: waits ? null : 1,
    retryStrategy: (attempt) => Math.min(50 * attempt, 1_000),
    // A server that has gone without a word leaves the socket open: then a new connection is made.
    ...(waits ? {} : { commandTimeout: answerWithinMs, socketTimeout: answerWithinMs }),
  });
  connection.on("error", options.onError);
  return connection;
}

/** Host and port, without user and password, for messages. */
export function redisAddress(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}

/**
 * Checks at open that this Redis can keep what is entrusted to it, and that its keys are of a layout that we know; writes the layout's
 * version where there is none. Throws `unavailable` when it does not answer, SERVER_REFUSED, SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN,
 * DATA_FOREIGN.
 */
export async function checkRedis(connection: Redis, place: RedisPlace, unavailable: ErrorCode): Promise<void> {
  const address = redisAddress(place.url);
  const info = await answered(() => connection.info(), { address, unavailable });
  const version = /^redis_version:(\d+)\.(\d+)/m.exec(info);
  const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
  if (major < versionMin[0] || (major === versionMin[0] && minor < versionMin[1])) {
    throw new HeadwaterError(
      "SERVER_UNSUITABLE",
      `Redis at ${address} is version ${major}.${minor}; ${versionMin.join(".")} or newer is needed`,
    );
  }
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "noeviction";
  if (policy !== "noeviction") {
    throw new HeadwaterError(
      "SERVER_UNSUITABLE",
      `Redis at ${address} drops keys when its memory is full (maxmemory-policy ${policy}), which would lose telemetry: set maxmemory-policy noeviction`,
    );
  }
  await checkLayout(connection, place, { address, unavailable });
}

async function checkLayout(connection: Redis, place: RedisPlace, at: { address: string; unavailable: ErrorCode }): Promise<void> {
  const { version } = redisKeys(place.prefix);
  const known = await answered(async () => {
    await connection.set(version, String(layoutVersion), "NX");
    return await connection.get(version);
  }, at);
  const found = Number(known);
  // Layouts count from 1; there has been no other yet, so there is nothing to be migrated.
  if (!Number.isInteger(found) || found < layoutVersion) {
    throw new HeadwaterError(
      "DATA_FOREIGN",
      `the key ${version} in Redis at ${at.address} is "${known?.slice(0, 40)}", not ours: choose another redis.prefix`,
    );
  }
  if (found > layoutVersion) {
    throw new HeadwaterError(
      "DATA_VERSION_UNKNOWN",
      `the keys under "${place.prefix}" in Redis at ${at.address} have layout ${found}, this Headwater knows ${layoutVersion}: start the newer version again`,
    );
  }
}

/** Runs a command and says in our words what went wrong. */
export async function answered<T>(work: () => Promise<T>, at: { address: string; unavailable: ErrorCode }): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw redisFailure(error, at);
  }
}

/** An error of Redis or of the connection as one of ours; one that is ours already stays. */
export function redisFailure(error: unknown, at: { address: string; unavailable: ErrorCode }): HeadwaterError {
  if (error instanceof HeadwaterError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/^(NOAUTH|WRONGPASS|NOPERM)|invalid username-password|no password is set/i.test(text)) {
    return new HeadwaterError("SERVER_REFUSED", `Redis at ${at.address} refused us (${text}): check user and password in the URL`, {
      cause: error,
    });
  }
  if (/\bWRONGTYPE\b/.test(text)) {
    return new HeadwaterError(
      "DATA_FOREIGN",
      `Redis at ${at.address} holds a key under our prefix that Headwater did not write (${text}): choose another redis.prefix or remove it`,
      { cause: error },
    );
  }
  // ioredis speaks of its own settings here; what happened is that there was no connection.
  const why = /max retries per request/i.test(text) ? "there is no connection" : text;
  return new HeadwaterError(at.unavailable, `Redis at ${at.address} cannot be reached or failed: ${why}`, { cause: error });
}

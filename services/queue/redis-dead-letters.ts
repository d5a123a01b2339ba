/** Dead letters of the BullMQ adapter: the failed jobs of each reader's queue. */
import type { Redis } from "ioredis";
import { errorTable, HeadwaterError } from "../../contract/error.ts";
import type { DeadLetter } from "../../contract/port.ts";
import type { QueueTopic } from "../../contract/topic.ts";
import { escaped, parseJobData, unescaped } from "./job.ts";
import { deadLettersMax } from "./retry.ts";
import { readersOf, type TopicTable } from "./topic-table.ts";

/** Forgets a failed job in one step, so that one that was retried meanwhile is not lost. */
const drop = `if redis.call("ZREM", KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call("UNLINK", KEYS[2], KEYS[2] .. ":logs")
return 1`;

/** Hands a failed job out again with all its attempts, as BullMQ's own reprocessing does; a queue of ours is never paused. */
const retry = `if redis.call("ZREM", KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call("HDEL", KEYS[2], "finishedOn", "processedOn", "failedReason", "stacktrace", "atm", "ats", "stc", "defa")
redis.call("LPUSH", KEYS[3], ARGV[1])
redis.call("ZADD", KEYS[4], 0, "0")
return 1`;

interface RedisDeadLettersOptions {
  readonly connection: Redis;
  readonly topics: TopicTable;
  /** The key of a part of a reader's queue, e.g. of `failed` or of a job. */
  readonly keyOf: (name: string, part: string) => string;
}

interface Failed {
  readonly topic: string;
  readonly reader: string;
  readonly name: string;
  readonly jobId: string;
  readonly atMs: number;
}

export class RedisDeadLetters {
  #options: RedisDeadLettersOptions;

  constructor(options: RedisDeadLettersOptions) {
    this.#options = options;
  }

  /** Newest first. */
  async list(lettersMax: number): Promise<DeadLetter[]> {
    const found = (await this.#newestOfEach(Math.min(lettersMax, deadLettersMax)))
      .sort((left, right) => right.atMs - left.atMs)
      .slice(0, lettersMax);
    const { connection, keyOf } = this.#options;
    const read = async (failed: Failed): Promise<DeadLetter[]> => {
      const fields = await connection.hmget(keyOf(failed.name, failed.jobId), "data", "failedReason", "atm");
      // A letter that was retried or dropped between the two reads is no letter any more.
      return fields[1] === null || fields[1] === undefined ? [] : [letterOf(failed, fields)];
    };
    return (await Promise.all(found.map(read))).flat();
  }

  /** Held by each reader's queue, by its name. */
  async held(): Promise<Map<string, number>> {
    const { connection, topics, keyOf } = this.#options;
    const names = readersOf(topics).map(({ name }) => name);
    const counts = await Promise.all(names.map((name) => connection.zcard(keyOf(name, "failed"))));
    return new Map(names.map((name, index) => [name, counts[index] ?? 0]));
  }

  /** Throws NOT_FOUND. */
  async retry(id: string): Promise<void> {
    const { connection, keyOf } = this.#options;
    const { name, jobId } = this.#find(id);
    const keys = [keyOf(name, "failed"), keyOf(name, jobId), keyOf(name, "wait"), keyOf(name, "marker")];
    if ((await connection.eval(retry, keys.length, ...keys, jobId)) !== 1) throw notFound(id);
  }

  /** Answers the id of the message whose body may be gone now, null when it had none. Throws NOT_FOUND. */
  async drop(id: string): Promise<string | null> {
    const { connection, keyOf } = this.#options;
    const { name, jobId } = this.#find(id);
    const key = keyOf(name, jobId);
    const data = await connection.hget(key, "data");
    if ((await connection.eval(drop, 2, keyOf(name, "failed"), key, jobId)) !== 1) throw notFound(id);
    return messageWithBody(data);
  }

  async #newestOfEach(lettersMax: number): Promise<Failed[]> {
    const { connection, topics, keyOf } = this.#options;
    const perReader = readersOf(topics).map(async (named) => {
      const answer = await connection.zrevrange(keyOf(named.name, "failed"), 0, lettersMax - 1, "WITHSCORES");
      const failed: Failed[] = [];
      for (let index = 0; index < answer.length; index += 2) {
        failed.push({ ...named, jobId: answer[index] ?? "", atMs: Number(answer[index + 1]) });
      }
      return failed;
    });
    return (await Promise.all(perReader)).flat();
  }

  #find(id: string): { name: string; jobId: string } {
    const named = readersOf(this.#options.topics).find(({ name }) => id.startsWith(`${name}.`));
    if (named === undefined) throw notFound(id);
    return { name: named.name, jobId: unescaped(id.slice(named.name.length + 1)) };
  }
}

function notFound(id: string): HeadwaterError {
  return new HeadwaterError("NOT_FOUND", `there is no dead letter ${id.slice(0, 200)}`);
}

function letterOf(failed: Failed, [data = null, reason = null, attempts = null]: (string | null)[]): DeadLetter {
  const [, code, text] = /^([A-Z][A-Z_]*): ([\s\S]*)$/.exec(reason ?? "") ?? [];
  const known = code !== undefined && Object.hasOwn(errorTable, code);
  // BullMQ's own words for a job that was found without a living worker once too often.
  const message = reason?.startsWith("job stalled") === true ? "every process that began to handle it died or hung" : (reason ?? "");
  const { topic, reader, name, jobId, atMs } = failed;
  return {
    id: `${name}.${escaped(jobId)}`,
    topic: topic as QueueTopic,
    reader,
    atMs,
    attempts: Number(attempts ?? 0),
    code: known ? code : "INTERNAL",
    message: (known ? text : null) ?? message,
    ...contentOf(data),
  };
}

function contentOf(data: string | null): { json: unknown; bodyBytes: number } {
  try {
    const { json, bodyBytes } = parseJobData(JSON.parse(data ?? ""));
    return { json, bodyBytes: bodyBytes ?? 0 };
  } catch {
    return { json: { unreadable: data?.slice(0, 1_000) ?? null }, bodyBytes: 0 };
  }
}

function messageWithBody(data: string | null): string | null {
  try {
    const { json, bodyBytes } = parseJobData(JSON.parse(data ?? ""));
    const { id } = json as { id?: unknown };
    return bodyBytes !== null && typeof id === "string" ? id : null;
  } catch {
    return null;
  }
}

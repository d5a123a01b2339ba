/** The writing half of the Redis log: appends share a script call, wait where a partition is full, and fail in time when Redis is away. */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, NewLogEntry } from "../../contract/port.ts";
import { logTopics } from "../../contract/topic.ts";
import type { RedisKeys } from "../redis/redis-keys.ts";
import { appendScript } from "./redis-scripts.ts";
import { type ServerSide, textOf } from "./redis-server-side.ts";

/** Appends, and bytes of entries, that share a script call; one larger append still goes as a whole. */
const appendsPerFlushMax = 64;
const bytesPerFlushMax = 8_388_608;
/** An append that got no answer for so long fails; it may have happened nevertheless. */
const answerWithinMs = 5_000;
/** Between two tries of a flush, and between two looks at a full partition. */
const tryAgainMs = 100;
const lookAgainMs = 50;
/** How long a redelivered batch is still known. */
export const markAgeMaxMs = 86_400_000;
/** A flush may be sent again for so long, far beyond `answerWithinMs`. */
const writerKeptMs = 600_000;
/** Entries that may wait for a commit, as a multiple of `lagMax`; an owner that reads and never commits would fill Redis. */
const uncommittedFactor = 10;

interface Touched {
  readonly name: string;
  readonly stream: string;
  readonly hash: string;
  readonly lagMax: number;
}

interface Append {
  readonly ids: readonly string[];
  readonly entries: readonly { readonly partition: Touched; readonly json: Buffer }[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: HeadwaterError) => void;
  cancelDeadline: () => void;
  hasWaited: boolean;
  /** Its caller was answered. */
  isOver: boolean;
}

interface RedisAppendsOptions {
  readonly server: ServerSide;
  readonly keys: RedisKeys;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Batches that are known as reduced at most. */
  readonly marksMax: number;
}

/**
 * One flush at a time, numbered; the script keeps number and outcome of a writer's newest flush under the writer's key. A flush whose answer
 * was lost is therefore sent again as it was until its callers are answered: it happens once, and they hear how it went.
 */
export class RedisAppends {
  readonly #options: RedisAppendsOptions;
  readonly #writer = randomBytes(12).toString("hex");
  #flushes = 0;
  #queue: Append[] = [];
  #running: Promise<void> | null = null;
  /** Appends that wait for room, by the partition that has none, in the order they came. */
  readonly #full = new Map<string, { readonly partition: Touched; readonly appends: Append[] }>();
  #cancelLook: (() => void) | null = null;
  #isClosing = false;

  constructor(options: RedisAppendsOptions) {
    this.#options = options;
  }

  /** See `PartitionLog.append`. */
  async append(entries: readonly NewLogEntry[], reduced: readonly string[]): Promise<void> {
    const { keys } = this.#options;
    const encoded = entries.map(({ topic, partition, value }) => ({
      partition: {
        name: `${topic}/${partition}`,
        stream: keys.stream(topic, partition),
        hash: keys.partition(topic, partition),
        lagMax: logTopics[topic].lagMax,
      },
      json: Buffer.from(JSON.stringify(value), "utf8"),
    }));
    const bytes = encoded.reduce((sum, { json }) => sum + json.length, 0);
    await new Promise<void>((resolve, reject) => {
      const state = { cancelDeadline: () => undefined, hasWaited: false, isOver: false };
      this.#submit({ ids: [...new Set(reduced)], entries: encoded, bytes, resolve, reject, ...state });
    });
  }

  /** Lets what is on its way finish, at most `answerWithinMs`; what waits for room fails with STOPPING. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#cancelLook?.();
    for (const { appends } of this.#full.values()) for (const append of appends) fail(append, stopping());
    this.#full.clear();
    while (this.#running !== null) await this.#running;
  }

  #submit(append: Append): void {
    if (append.isOver) return;
    // Behind those that wait for the same partition, so that entries stay in the order in which they were appended.
    const full = append.entries.map(({ partition }) => this.#full.get(partition.name)).find((found) => found !== undefined);
    if (full !== undefined) {
      this.#wait(append, full.partition);
      return;
    }
    append.cancelDeadline = this.#options.clock.schedule(answerWithinMs, () => {
      this.#queue = this.#queue.filter((other) => other !== append);
      fail(append, new HeadwaterError("LOG_UNAVAILABLE", `Redis at ${this.#options.server.address} did not answer in time`));
    });
    this.#queue.push(append);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    // One turn of the microtask queue, so that what is asked for in the same turn shares a flush.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      let bytes = 0;
      let count = 0;
      for (const append of this.#queue) {
        if (count > 0 && (count >= appendsPerFlushMax || bytes + append.bytes > bytesPerFlushMax)) break;
        bytes += append.bytes;
        count += 1;
      }
      await this.#flush(this.#queue.splice(0, count));
    }
    this.#running = null;
  }

  async #flush(appends: readonly Append[]): Promise<void> {
    const partitions = new Map(appends.flatMap(({ entries }) => entries.map(({ partition }) => [partition.name, partition] as const)));
    const call = this.#callOf(appends, [...partitions.values()]);
    while (appends.some(({ isOver }) => !isOver)) {
      const answer = await this.#options.server.run(appendScript, call.keys, call.args).catch(toHeadwaterError);
      if (!(answer instanceof HeadwaterError)) {
        this.#settle(appends, [...partitions.values()], textOf(answer));
        return;
      }
      if (answer.code !== "LOG_UNAVAILABLE") {
        for (const append of appends) fail(append, answer);
        return;
      }
      this.#options.onCounted("log_append_retried", 1);
      await new Promise<void>((resolve) => this.#options.clock.schedule(tryAgainMs, resolve));
    }
  }

  #callOf(appends: readonly Append[], partitions: readonly Touched[]): { keys: string[]; args: (string | number | Buffer)[] } {
    const { keys, clock, marksMax } = this.#options;
    this.#flushes += 1;
    const places = new Map(partitions.map(({ name }, place) => [name, place]));
    const args: (string | number | Buffer)[] = [this.#flushes, clock.nowMs(), markAgeMaxMs, marksMax, keys.arrivals, writerKeptMs];
    args.push(uncommittedFactor, partitions.length);
    for (const { name, lagMax } of partitions) args.push(name, lagMax);
    args.push(appends.length);
    for (const { ids, entries } of appends) {
      args.push(ids.length, ...ids, entries.length);
      for (const { partition, json } of entries) args.push(places.get(partition.name) ?? 0, json);
    }
    const touched = partitions.flatMap(({ stream, hash }) => [stream, hash]);
    const payloads = appends.flatMap(({ ids }) => ids.map((id) => keys.payload(id)));
    return { keys: [keys.writer(this.#writer), keys.reduced, ...touched, ...payloads], args };
  }

  #settle(appends: readonly Append[], partitions: readonly Touched[], answer: string): void {
    const [dropped, ...verdicts] = answer.split("\n");
    invariant(verdicts.length === appends.length, `the log answered "${answer.slice(0, 80)}" to ${appends.length} appends`);
    if (Number(dropped) > 0) this.#options.onCounted("log_reduced_marks_evicted", Number(dropped));
    for (const [index, append] of appends.entries()) {
      const verdict = verdicts[index] ?? "";
      const space = verdict.indexOf(" ");
      const rest = verdict.slice(space + 1);
      if (verdict === "ok") succeed(append);
      else if (verdict.startsWith("reduced ")) {
        fail(append, new HeadwaterError("BATCH_REDUCED", `the batch ${append.ids[Number(rest)]} was reduced before`));
      } else if (verdict.startsWith("full ")) {
        const partition = partitions[Number(rest)];
        invariant(partition !== undefined, `the log has no room in a partition that was not asked for: ${verdict}`);
        this.#wait(append, partition);
      } else fail(append, this.#options.server.failure(rest));
    }
  }

  #wait(append: Append, partition: Touched): void {
    append.cancelDeadline();
    if (append.isOver) return;
    if (this.#isClosing) {
      fail(append, stopping());
      return;
    }
    if (!append.hasWaited) this.#options.onCounted("log_append_waited", 1);
    append.hasWaited = true;
    const full = this.#full.get(partition.name) ?? { partition, appends: [] };
    this.#full.set(partition.name, full);
    full.appends.push(append);
    this.#planLook();
  }

  #planLook(): void {
    if (this.#cancelLook !== null || this.#full.size === 0 || this.#isClosing) return;
    this.#cancelLook = this.#options.clock.schedule(lookAgainMs, () => {
      void this.#look().finally(() => {
        this.#cancelLook = null;
        this.#planLook();
      });
    });
  }

  /** Sends those on whose partition has room again. */
  async #look(): Promise<void> {
    await Promise.all(
      [...this.#full.values()].map(async ({ partition, appends }) => {
        try {
          if (!(await this.#hasRoom(partition))) return;
          this.#full.delete(partition.name);
          for (const append of appends) this.#submit(append);
        } catch (error) {
          this.#full.delete(partition.name);
          for (const append of appends) fail(append, toHeadwaterError(error));
        }
      }),
    );
  }

  async #hasRoom({ hash, lagMax }: Touched): Promise<boolean> {
    const { server } = this.#options;
    const known = await server.answered(() => server.connection.hmget(hash, "last", "committed", "position"));
    const [last = 0, committed = 0, position = 0] = known.map(Number);
    return last - Math.max(position, committed) < lagMax && last - committed < lagMax * uncommittedFactor;
  }
}

function stopping(): HeadwaterError {
  return new HeadwaterError("STOPPING", "the partition log is closing");
}

function succeed(append: Append): void {
  append.cancelDeadline();
  append.isOver = true;
  append.resolve();
}

function fail(append: Append, error: HeadwaterError): void {
  append.cancelDeadline();
  append.isOver = true;
  append.reject(error);
}

/** The distributed queue: BullMQ on Redis, one BullMQ queue per reader of a topic, because BullMQ has no fan-out. */
import { Queue as BullQueue, type Job, UnrecoverableError, Worker } from "bullmq";
import { Redis } from "ioredis";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, Queue, QueueHandlerOptions } from "../../contract/port.ts";
import { type QueueMessage, type QueueReader, type QueueTopic, queueTopics } from "../../contract/topic.ts";
import { afterFailure, attemptsMax, backoffMs, rethrowInvariant } from "./retry.ts";
import { joinBody, splitBody, validated } from "./validate-message.ts";

interface BullmqQueueOptions {
  /** redis://… */
  readonly url: string;
  /** What all keys in Redis begin with; instances that share a prefix share the queues. */
  readonly prefix: string;
  /** Runs the waits at a bound and in `drain`; has to be the machine's own. */
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
}

interface JobData {
  readonly json: unknown;
  /** Base64; null when the message has no binary body. */
  readonly body: string | null;
}

/** How often a full queue or a drain is looked at again. */
const lookAgainMs = 25;
/** Dead letters that Redis keeps per reader. */
const deadLettersMax = 1_000;
/** A worker that lost its process is noticed after at most twice this time. */
const lockMs = 5_000;

/**
 * Connects to Redis. Counters: `queue_refused`, `queue_waited`, `queue_retried`, `queue_dead_letters`, `queue_redis_errors`.
 * The bound on depth is read before a message is added, so publishers at the same moment may pass it by a few.
 * Throws QUEUE_UNAVAILABLE when Redis does not answer.
 */
export async function openBullmqQueue(options: BullmqQueueOptions): Promise<Queue> {
  const connection = connect(options, 1);
  try {
    await connection.ping();
  } catch (error) {
    connection.disconnect();
    throw new HeadwaterError("QUEUE_UNAVAILABLE", `Redis at ${withoutPassword(options.url)} does not answer: ${String(error)}`, {
      cause: error,
    });
  }
  return new BullmqQueue(options, connection);
}

class BullmqQueue implements Queue {
  #options: BullmqQueueOptions;
  #connection: Redis;
  #queues = new Map<string, BullQueue<JobData>>();
  #workers = new Map<string, { worker: Worker<JobData>; connection: Redis }>();
  #closing: Promise<void> | null = null;

  constructor(options: BullmqQueueOptions, connection: Redis) {
    this.#options = options;
    this.#connection = connection;
    for (const topic of Object.keys(queueTopics) as QueueTopic[]) {
      for (const reader of queueTopics[topic].readers) this.#queues.set(`${topic}.${reader}`, this.#createQueue(`${topic}.${reader}`));
    }
  }

  async publish<T extends QueueTopic>(topic: T, message: QueueMessage<T>): Promise<void> {
    this.#refuseWhenClosing();
    const { json, body } = splitBody(validated(topic, message));
    const data: JobData = { json, body: body === null ? null : Buffer.from(body.buffer, body.byteOffset, body.length).toString("base64") };
    for (const reader of queueTopics[topic].readers) await this.#waitForRoom(topic, `${topic}.${reader}`);
    for (const reader of queueTopics[topic].readers) {
      await this.#whileAvailable(() => this.#queue(`${topic}.${reader}`).add(topic, data));
    }
  }

  async subscribe<T extends QueueTopic>(
    topic: T,
    reader: QueueReader<T>,
    handler: (message: QueueMessage<T>) => Promise<void>,
    options: QueueHandlerOptions,
  ): Promise<void> {
    this.#refuseWhenClosing();
    const name = `${topic}.${reader}`;
    this.#queue(name);
    invariant(!this.#workers.has(name), `${name} has a subscriber already`);
    invariant(Number.isInteger(options.concurrency) && options.concurrency >= 1, `${name}: concurrency is ${options.concurrency}`);
    const connection = connect(this.#options, null);
    const worker = new Worker<JobData>(name, (job) => this.#handle(job, handler as (message: unknown) => Promise<void>), {
      connection,
      prefix: this.#options.prefix,
      concurrency: options.concurrency,
      lockDuration: lockMs,
      stalledInterval: lockMs,
      maxStalledCount: attemptsMax,
      settings: { backoffStrategy: (attemptsMade) => backoffMs(attemptsMade) },
    });
    worker.on("error", () => this.#options.onCounted("queue_redis_errors", 1));
    this.#workers.set(name, { worker, connection });
    await this.#whileAvailable(() => worker.waitUntilReady());
  }

  async depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number> {
    return await this.#depthOf(`${topic}.${reader}`);
  }

  async drain(): Promise<void> {
    // The queues are read one after another, while a handler may move work from one to another: only two calm looks count.
    for (let calm = 0; calm < 2 && this.#closing === null; ) {
      let depth = 0;
      for (const name of this.#workers.keys()) depth += await this.#depthOf(name);
      calm = depth === 0 ? calm + 1 : 0;
      if (calm < 2) await this.#pause();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#workers.values()].map(({ worker }) => worker.close()));
    for (const { connection } of this.#workers.values()) connection.disconnect();
    for (const queue of this.#queues.values()) await queue.close();
    this.#connection.disconnect();
  }

  #createQueue(name: string): BullQueue<JobData> {
    const queue = new BullQueue<JobData>(name, {
      connection: this.#connection,
      prefix: this.#options.prefix,
      defaultJobOptions: {
        attempts: attemptsMax,
        backoff: { type: "custom" },
        removeOnComplete: true,
        removeOnFail: { count: deadLettersMax },
      },
    });
    queue.on("error", () => this.#options.onCounted("queue_redis_errors", 1));
    return queue;
  }

  #queue(name: string): BullQueue<JobData> {
    const queue = this.#queues.get(name);
    invariant(queue !== undefined, `${name} is not a reader of a topic`);
    return queue;
  }

  async #handle(job: Job<JobData>, handler: (message: unknown) => Promise<void>): Promise<void> {
    try {
      const { json, body } = job.data;
      await handler(joinBody(json, body === null ? null : Uint8Array.from(Buffer.from(body, "base64"))));
    } catch (failure) {
      const { action, error } = afterFailure(failure, job.attemptsMade + 1);
      this.#options.onCounted(action === "retry" ? "queue_retried" : "queue_dead_letters", 1);
      rethrowInvariant(failure);
      throw action === "retry" ? error : new UnrecoverableError(`${error.code}: ${error.message}`);
    }
  }

  async #waitForRoom(topic: QueueTopic, name: string): Promise<void> {
    const { depthMax, atBound } = queueTopics[topic];
    for (let looks = 0; ; looks += 1) {
      const depth = await this.#depthOf(name);
      if (depth < depthMax) return;
      if (atBound === "refuse") {
        this.#options.onCounted("queue_refused", 1);
        throw new HeadwaterError("QUEUE_FULL", `${name} holds ${depth} messages (at most ${depthMax})`, { retryAfterSeconds: 1 });
      }
      if (looks === 0) this.#options.onCounted("queue_waited", 1);
      await this.#pause();
      this.#refuseWhenClosing();
    }
  }

  async #depthOf(name: string): Promise<number> {
    const counts = await this.#whileAvailable(() => this.#queue(name).getJobCounts("waiting", "active", "delayed", "prioritized"));
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  async #whileAvailable<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new HeadwaterError("QUEUE_UNAVAILABLE", `Redis at ${withoutPassword(this.#options.url)} failed: ${String(error)}`, {
        cause: error,
      });
    }
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#options.clock.schedule(lookAgainMs, () => resolve());
    });
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the queue is closing");
  }
}

/** Publishers are told at once when Redis is away (`retriesPerRequestMax` 1); workers wait for it (null), as BullMQ demands. */
function connect(options: BullmqQueueOptions, retriesPerRequestMax: number | null): Redis {
  const connection = new Redis(options.url, { maxRetriesPerRequest: retriesPerRequestMax, connectTimeout: 5_000 });
  // Without a listener ioredis prints every failed attempt to connect.
  connection.on("error", () => options.onCounted("queue_redis_errors", 1));
  return connection;
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}

/** The distributed queue: BullMQ on Redis, one BullMQ queue per reader of a topic, because BullMQ has no fan-out. */
import { Queue as BullQueue } from "bullmq";
import type { Redis } from "ioredis";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, DeadLetter, Queue, QueueHandlerOptions } from "../../contract/port.ts";
import { type QueueMessage, type QueueReader, type QueueTopic, queueTopics } from "../../contract/topic.ts";
import { checkRedis, connectRedis } from "../redis/redis-connection.ts";
import { type RedisKeys, redisKeys } from "../redis/redis-keys.ts";
import { BullmqReader } from "./bullmq-reader.ts";
import { type JobData, jobIdOf } from "./job.ts";
import { PayloadStore } from "./payload-store.ts";
import type { ObservableQueue } from "./queue-metrics.ts";
import { RedisDeadLetters } from "./redis-dead-letters.ts";
import { RedisReach } from "./redis-reach.ts";
import { RedisRoom } from "./redis-room.ts";
import { deadLettersMax, stoppingAttemptsMax } from "./retry.ts";
import { readersOf, rowOf, type TopicTable } from "./topic-table.ts";
import { splitBody, validated } from "./validate-message.ts";

export interface BullmqQueueOptions {
  /** redis:// or rediss://. */
  readonly url: string;
  /** What all keys in Redis begin with; processes that share a prefix share the queues. */
  readonly prefix: string;
  /** Runs the waits at a bound, in `drain` and for Redis; has to be the machine's own. */
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /**
   * Which of these batches have been reduced (`PartitionLog.reduced`): a job without its body is done when its batch is among them, and
   * a loss otherwise. Without it every missing body is a loss.
   */
  readonly reduced?: (batchIds: readonly string[]) => Promise<ReadonlySet<string>>;
  /** `queueTopics` unless told. */
  readonly topics?: TopicTable;
  /** Age at which a body without a job is removed; an hour unless told. */
  readonly orphanAgeSeconds?: number;
}

/** How often a full queue or a drain is looked at again. */
const lookAgainMs = 25;
/** Entries of BullMQ's stream of events per queue; nobody here reads it. */
const eventsMax = 100;
/** How long the connections' farewell may take. */
const farewellMs = 500;

/**
 * Connects to Redis. Counters: `queue_refused`, `queue_waited`, `queue_retried`, `queue_dead_letters`, `queue_dead_letters_retried`,
 * `queue_dead_letters_dropped`, `queue_redelivered_done`, `queue_payloads_lost`, `queue_payloads_swept`, `queue_sweeps_cut`,
 * `queue_sweeps_failed`, `queue_redis_errors`.
 * The bound on depth is read before a message is added, so publishers at the same moment may pass it by a few. Messages with a binary body
 * are refused with QUEUE_FULL as well while Redis has used 80 % of its `maxmemory`.
 * While Redis is away, every method that needs it fails with QUEUE_UNAVAILABLE within 5 s; subscribers go on by themselves when it is back.
 * Throws QUEUE_UNAVAILABLE when Redis does not answer, SERVER_REFUSED, SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN, DATA_FOREIGN.
 */
export async function openBullmqQueue(options: BullmqQueueOptions): Promise<Queue & ObservableQueue> {
  const onError = () => options.onCounted("queue_redis_errors", 1);
  const connection = connectRedis({ ...options, whenAway: "report", onError });
  try {
    await checkRedis(connection, options, "QUEUE_UNAVAILABLE");
  } catch (error) {
    connection.disconnect();
    throw error;
  }
  const queue = new BullmqQueue(options, connection, onError);
  try {
    // Keys that are not ours are found now rather than by a worker that cannot go on.
    await queue.depths();
    await queue.deadLettersHeld();
  } catch (error) {
    await queue.close();
    throw error;
  }
  return queue;
}

class BullmqQueue implements Queue, ObservableQueue {
  #options: BullmqQueueOptions;
  #topics: TopicTable;
  #keys: RedisKeys;
  #connection: Redis;
  #onError: () => void;
  /** Of the readers; made with the first of them. */
  #patient: Redis | null = null;
  #queues = new Map<string, BullQueue<JobData>>();
  #readers = new Map<string, BullmqReader>();
  #payloads: PayloadStore;
  #letters: RedisDeadLetters;
  #reach: RedisReach;
  #room: RedisRoom;
  #closing: Promise<void> | null = null;

  constructor(options: BullmqQueueOptions, connection: Redis, onError: () => void) {
    this.#options = options;
    this.#topics = options.topics ?? queueTopics;
    this.#keys = redisKeys(options.prefix);
    this.#connection = connection;
    this.#onError = onError;
    const names = readersOf(this.#topics).map(({ name }) => name);
    for (const name of names) this.#queues.set(name, this.#createQueue(name));
    const keyOf = (name: string, part: string): string => this.#queue(name).toKey(part);
    const jobKeys = (messageId: string): string[] => names.map((name) => keyOf(name, jobIdOf(messageId)));
    this.#payloads = new PayloadStore({ ...options, connection, keys: this.#keys, jobKeys });
    this.#letters = new RedisDeadLetters({ connection, topics: this.#topics, keyOf });
    this.#reach = new RedisReach({ connection, clock: options.clock, url: options.url });
    this.#room = new RedisRoom({ connection, clock: options.clock });
  }

  async publish<T extends QueueTopic>(topic: T, message: QueueMessage<T>): Promise<void> {
    this.#refuseWhenClosing();
    const valid = validated(this.#topics, topic, message);
    const { json, body } = splitBody(valid);
    const names = rowOf(this.#topics, topic).readers.map((reader) => `${topic}.${reader}`);
    for (const name of names) await this.#waitForRoom(topic, name);
    if (body !== null) await this.#refuseWhenRedisIsFull();
    await this.#reach.step(async () => {
      const job = { json, bodyBytes: body?.length ?? null };
      if (body === null) {
        for (const name of names) await this.#queue(name).add(topic, job);
        return;
      }
      const { id } = json as { id?: unknown };
      invariant(typeof id === "string", `a message of ${topic} has a body and no id`);
      // A Redis that was started again between two of these steps may have lost what it answered before. Done twice they do no harm: a job
      // that is there stays as it is, and one that is done already finds its batch marked.
      for (let connections = -1; connections !== this.#reach.connections; ) {
        connections = this.#reach.connections;
        // The body first: a job without its body would be a loss, a body without a job is swept.
        await this.#payloads.put(id, body);
        for (const name of names) await this.#queue(name).add(topic, job, { jobId: jobIdOf(id) });
      }
    });
  }

  async subscribe<T extends QueueTopic>(
    topic: T,
    reader: QueueReader<T>,
    handler: (message: QueueMessage<T>) => Promise<void>,
    options: QueueHandlerOptions,
  ): Promise<() => Promise<void>> {
    this.#refuseWhenClosing();
    const name = `${topic}.${reader}`;
    this.#queue(name);
    invariant(!this.#readers.has(name), `${name} has a subscriber already`);
    invariant(Number.isInteger(options.concurrency) && options.concurrency >= 1, `${name}: concurrency is ${options.concurrency}`);
    this.#patient ??= connectRedis({ ...this.#options, whenAway: "wait", onError: this.#onError });
    const subscriber = new BullmqReader({
      ...{ topics: this.#topics, topic, name, queuePrefix: this.#keys.queuePrefix, connection: this.#patient },
      ...{ payloads: this.#payloads, clock: this.#options.clock, onCounted: this.#options.onCounted },
      ...{ reduced: this.#options.reduced ?? null, handler: handler as (message: unknown) => Promise<void> },
      concurrency: options.concurrency,
    });
    this.#readers.set(name, subscriber);
    const unsubscribe = async (): Promise<void> => {
      await subscriber.stop();
      if (this.#readers.get(name) === subscriber) this.#readers.delete(name);
    };
    try {
      await this.#reach.step(() => subscriber.ready());
    } catch (error) {
      await unsubscribe();
      throw error;
    }
    if (topic === "telemetry") this.#payloads.startSweeping();
    return unsubscribe;
  }

  async depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number> {
    return await this.#depthOf(`${topic}.${reader}`);
  }

  async depths(): Promise<ReadonlyMap<string, number>> {
    const names = [...this.#queues.keys()];
    const depths = await Promise.all(names.map((name) => this.#depthOf(name)));
    return new Map(names.map((name, index) => [name, depths[index] ?? 0]));
  }

  async deadLettersHeld(): Promise<ReadonlyMap<string, number>> {
    return await this.#reach.step(() => this.#letters.held());
  }

  async deadLetters(options: { lettersMax: number }): Promise<DeadLetter[]> {
    return await this.#reach.step(() => this.#letters.list(options.lettersMax));
  }

  async retryDeadLetter(id: string): Promise<void> {
    this.#refuseWhenClosing();
    await this.#reach.step(() => this.#letters.retry(id));
    this.#options.onCounted("queue_dead_letters_retried", 1);
  }

  async dropDeadLetter(id: string): Promise<void> {
    this.#refuseWhenClosing();
    await this.#reach.step(async () => {
      const messageId = await this.#letters.drop(id);
      if (messageId !== null) await this.#payloads.release(messageId);
    });
    this.#options.onCounted("queue_dead_letters_dropped", 1);
  }

  async drain(): Promise<void> {
    // The queues are read one after another, while a handler may move work from one to another: only two calm looks count.
    for (let calm = 0; calm < 2 && this.#closing === null; ) {
      let depth = 0;
      for (const name of this.#readers.keys()) depth += await this.#depthOf(name);
      calm = depth === 0 ? calm + 1 : 0;
      if (calm < 2) await this.#pause();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#payloads.stop();
    await Promise.all([...this.#readers.values()].map((reader) => reader.stop()));
    const farewell = Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    await this.#reach.within(farewellMs, farewell).catch(() => this.#onError());
    this.#patient?.disconnect();
    this.#connection.disconnect();
  }

  #createQueue(name: string): BullQueue<JobData> {
    const queue = new BullQueue<JobData>(name, {
      connection: this.#connection,
      prefix: this.#keys.queuePrefix,
      streams: { events: { maxLen: eventsMax } },
      defaultJobOptions: {
        attempts: stoppingAttemptsMax,
        backoff: { type: "custom" },
        removeOnComplete: true,
        removeOnFail: { count: deadLettersMax },
        stackTraceLimit: 1,
      },
    });
    queue.on("error", this.#onError);
    return queue;
  }

  #queue(name: string): BullQueue<JobData> {
    const queue = this.#queues.get(name);
    invariant(queue !== undefined, `${name} is not a reader of a topic`);
    return queue;
  }

  async #waitForRoom(topic: QueueTopic, name: string): Promise<void> {
    const { depthMax, atBound } = rowOf(this.#topics, topic);
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

  async #refuseWhenRedisIsFull(): Promise<void> {
    const lack = await this.#reach.step(() => this.#room.lack());
    if (lack === null) return;
    this.#options.onCounted("queue_refused", 1);
    throw new HeadwaterError("QUEUE_FULL", lack, { retryAfterSeconds: 1 });
  }

  async #depthOf(name: string): Promise<number> {
    const counts = await this.#reach.step(() => this.#queue(name).getJobCounts("waiting", "active", "delayed", "prioritized"));
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
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

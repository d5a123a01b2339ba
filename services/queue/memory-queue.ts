/** The embedded queue: in memory, with an append-only journal, so that what was published survives SIGKILL of the process. */
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, Queue, QueueHandlerOptions } from "../../contract/port.ts";
import { type QueueMessage, type QueueReader, type QueueTopic, queueTopics } from "../../contract/topic.ts";
import { DeadLetters } from "./dead-letters.ts";
import { type JournalMessage, QueueJournal } from "./queue-journal.ts";
import { ReaderQueue } from "./reader-queue.ts";
import { joinBody, splitBody, validated } from "./validate-message.ts";

interface MemoryQueueOptions {
  /** Folder of the journal; created when missing. Only one process at a time may open it. */
  readonly directory: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Size at which the journal begins a new segment file; 32 MiB unless told. */
  readonly segmentBytesMax?: number;
  /** Bytes of message bodies that one reader's queue holds at most, with the rule of the topic's bound; 256 MiB unless told. */
  readonly depthBytesMax?: number;
}

/**
 * Opens the queue and hands out again what its journal holds incomplete, oldest first.
 * Counters: `queue_refused`, `queue_waited`, `queue_redelivered`, `queue_retried`, `queue_dead_letters`, `queue_journal_torn_bytes`,
 * `queue_journal_carried_messages`. Throws DATA_VERSION_UNKNOWN, QUEUE_UNAVAILABLE.
 */
export async function openMemoryQueue(options: MemoryQueueOptions): Promise<Queue> {
  const { journal, incomplete } = await QueueJournal.open({ ...options, segmentBytesMax: options.segmentBytesMax ?? 33_554_432 });
  const deadLetters = await DeadLetters.open(options.directory);
  const queue = new MemoryQueue(options, journal, deadLetters);
  await queue.restore(incomplete);
  return queue;
}

class MemoryQueue implements Queue {
  #options: MemoryQueueOptions;
  #journal: QueueJournal;
  #deadLetters: DeadLetters;
  #readers = new Map<string, ReaderQueue>();
  #nextId = 1;
  #closing: Promise<void> | null = null;
  #deadLetterWrites: Promise<void> = Promise.resolve();

  constructor(options: MemoryQueueOptions, journal: QueueJournal, deadLetters: DeadLetters) {
    this.#options = options;
    this.#journal = journal;
    this.#deadLetters = deadLetters;
    for (const topic of Object.keys(queueTopics) as QueueTopic[]) {
      for (const reader of queueTopics[topic].readers) this.#readers.set(`${topic}.${reader}`, this.#createReader(topic, reader));
    }
  }

  async restore(incomplete: readonly JournalMessage[]): Promise<void> {
    for (const message of incomplete) {
      this.#nextId = Math.max(this.#nextId, message.id + 1);
      for (const reader of [...message.readers]) {
        const queue = this.#readers.get(`${message.topic}.${reader}`);
        // A reader that an older version had and this one has not would keep the message for ever.
        if (queue === undefined) await this.#journal.complete(message.id, reader);
        else
          queue.restore({
            id: message.id,
            message: joinBody(message.json, message.body),
            bytes: message.body?.length ?? 0,
            attemptsMade: 0,
          });
      }
    }
    if (incomplete.length > 0) this.#options.onCounted("queue_redelivered", incomplete.length);
  }

  async publish<T extends QueueTopic>(topic: T, message: QueueMessage<T>): Promise<void> {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the queue is closing");
    const valid = validated(topic, message);
    const { json, body } = splitBody(valid);
    const readers = queueTopics[topic].readers.map((reader) => this.#reader(topic, reader));
    const bytes = body?.length ?? 0;
    await reserveAll(readers, bytes);
    const id = this.#nextId;
    this.#nextId += 1;
    try {
      await this.#journal.publish({ id, topic, readers: new Set(queueTopics[topic].readers), json, body });
    } catch (error) {
      for (const reader of readers) reader.unreserve(bytes);
      throw error;
    }
    for (const reader of readers) reader.add({ id, message: valid, bytes, attemptsMade: 0 });
  }

  async subscribe<T extends QueueTopic>(
    topic: T,
    reader: QueueReader<T>,
    handler: (message: QueueMessage<T>) => Promise<void>,
    options: QueueHandlerOptions,
  ): Promise<void> {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the queue is closing");
    this.#reader(topic, reader).subscribe(handler as (message: unknown) => Promise<void>, options.concurrency);
  }

  async depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number> {
    return this.#reader(topic, reader).depth;
  }

  async drain(): Promise<void> {
    const subscribed = [...this.#readers.values()].filter((reader) => reader.subscribed);
    // A handler may publish to a topic that was already empty, so one calm look over all of them is needed.
    while (subscribed.some((reader) => reader.depth > 0)) {
      for (const reader of subscribed) await reader.empty();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#readers.values()].map((reader) => reader.close()));
    await this.#deadLetterWrites;
    await this.#journal.close();
    await this.#deadLetters.close();
  }

  #reader(topic: string, reader: string): ReaderQueue {
    const found = this.#readers.get(`${topic}.${reader}`);
    invariant(found !== undefined, `${reader} does not read the topic ${topic}`);
    return found;
  }

  #createReader(topic: QueueTopic, reader: string): ReaderQueue {
    const { depthMax, atBound } = queueTopics[topic];
    return new ReaderQueue({
      name: `${topic}.${reader}`,
      depthMax,
      depthBytesMax: this.#options.depthBytesMax ?? 268_435_456,
      atBound,
      clock: this.#options.clock,
      onCounted: this.#options.onCounted,
      complete: (id) => this.#journal.complete(id, reader),
      bury: (item, error) => {
        const write = this.#deadLetterWrites.then(async () => {
          const { json, body } = splitBody(item.message);
          const { attemptsMade: attempts } = item;
          const atMs = this.#options.clock.nowMs();
          await this.#deadLetters.add({ topic, reader, atMs, attempts, code: error.code, message: error.message, json, body });
        });
        this.#deadLetterWrites = write.catch(() => this.#options.onCounted("queue_dead_letters_unwritten", 1));
        return this.#deadLetterWrites;
      },
    });
  }
}

/** All or none: a message is in the queue of every reader. */
async function reserveAll(readers: readonly ReaderQueue[], bytes: number): Promise<void> {
  const reserved: ReaderQueue[] = [];
  try {
    for (const reader of readers) {
      await reader.reserve(bytes);
      reserved.push(reader);
    }
  } catch (error) {
    for (const reader of reserved) reader.unreserve(bytes);
    throw error;
  }
}

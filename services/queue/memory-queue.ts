/** The embedded queue: in memory, with an append-only journal, so that what was published survives SIGKILL of the process. */
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, DeadLetter, Queue, QueueHandlerOptions } from "../../contract/port.ts";
import { type QueueMessage, type QueueReader, type QueueTopic, queueTopics } from "../../contract/topic.ts";
import { DeadLetters, type StoredLetter } from "./dead-letters.ts";
import { type JournalMessage, QueueJournal } from "./queue-journal.ts";
import type { ObservableQueue } from "./queue-metrics.ts";
import { ReaderQueue } from "./reader-queue.ts";
import { readersOf, rowOf, type TopicTable } from "./topic-table.ts";
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
  /** `queueTopics` unless told. */
  readonly topics?: TopicTable;
}

/** A message as the journal or the dead letters keep it. */
interface StoredMessage {
  readonly id: number;
  readonly topic: string;
  readonly json: unknown;
  readonly body: Uint8Array | null;
}

/**
 * Opens the queue and hands out again what its journal holds incomplete, oldest first.
 * Counters: `queue_refused`, `queue_waited`, `queue_redelivered`, `queue_retried`, `queue_dead_letters`, `queue_dead_letters_trimmed`,
 * `queue_dead_letters_retried`, `queue_dead_letters_dropped`, `queue_journal_torn_bytes`, `queue_journal_carried_messages`.
 * Throws DATA_VERSION_UNKNOWN, QUEUE_UNAVAILABLE.
 */
export async function openMemoryQueue(options: MemoryQueueOptions): Promise<Queue & ObservableQueue> {
  const { journal, incomplete } = await QueueJournal.open({ ...options, segmentBytesMax: options.segmentBytesMax ?? 33_554_432 });
  const deadLetters = await DeadLetters.open(options.directory, options.onCounted);
  const queue = new MemoryQueue(options, journal, deadLetters);
  await queue.restore(incomplete);
  return queue;
}

class MemoryQueue implements Queue, ObservableQueue {
  #options: MemoryQueueOptions;
  #topics: TopicTable;
  #journal: QueueJournal;
  #deadLetters: DeadLetters;
  #readers = new Map<string, ReaderQueue>();
  #nextId = 1;
  #closing: Promise<void> | null = null;

  constructor(options: MemoryQueueOptions, journal: QueueJournal, deadLetters: DeadLetters) {
    this.#options = options;
    this.#topics = options.topics ?? queueTopics;
    this.#journal = journal;
    this.#deadLetters = deadLetters;
    for (const { topic, reader, name } of readersOf(this.#topics)) this.#readers.set(name, this.#createReader(topic, reader));
  }

  async restore(incomplete: readonly JournalMessage[]): Promise<void> {
    for (const message of incomplete) {
      this.#nextId = Math.max(this.#nextId, message.id + 1);
      for (const reader of [...message.readers]) await this.#enqueue(message, reader);
    }
    if (incomplete.length > 0) this.#options.onCounted("queue_redelivered", incomplete.length);
  }

  async publish<T extends QueueTopic>(topic: T, message: QueueMessage<T>): Promise<void> {
    this.#refuseWhenClosing();
    const valid = validated(this.#topics, topic, message);
    const { json, body } = splitBody(valid);
    const names = rowOf(this.#topics, topic).readers;
    const readers = names.map((reader) => this.#reader(topic, reader));
    const bytes = body?.length ?? 0;
    await reserveAll(readers, bytes);
    const id = this.#takeId();
    try {
      await this.#journal.publish({ id, topic, readers: new Set(names), json, body });
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
  ): Promise<() => Promise<void>> {
    this.#refuseWhenClosing();
    return this.#reader(topic, reader).subscribe(handler as (message: unknown) => Promise<void>, options.concurrency);
  }

  async depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number> {
    return this.#reader(topic, reader).depth;
  }

  async depths(): Promise<ReadonlyMap<string, number>> {
    return new Map([...this.#readers].map(([name, reader]) => [name, reader.depth]));
  }

  async deadLettersHeld(): Promise<ReadonlyMap<string, number>> {
    return new Map([...this.#readers.keys()].map((name) => [name, this.#deadLetters.countOf(name)]));
  }

  async deadLetters(options: { lettersMax: number }): Promise<DeadLetter[]> {
    return (await this.#deadLetters.list(options.lettersMax)).map(shown);
  }

  async retryDeadLetter(id: string): Promise<void> {
    this.#refuseWhenClosing();
    const retried: { message: StoredMessage; reader: string }[] = [];
    await this.#removeDeadLetter(id, async ({ topic, reader, json, body }) => {
      const message = { id: this.#takeId(), topic, json, body };
      await this.#journal.publish({ ...message, readers: new Set([reader]) });
      retried.push({ message, reader });
    });
    this.#options.onCounted("queue_dead_letters_retried", 1);
    for (const { message, reader } of retried) await this.#enqueue(message, reader);
  }

  async dropDeadLetter(id: string): Promise<void> {
    this.#refuseWhenClosing();
    await this.#removeDeadLetter(id, async () => undefined);
    this.#options.onCounted("queue_dead_letters_dropped", 1);
  }

  async drain(): Promise<void> {
    const busy = () => [...this.#readers.values()].filter((reader) => reader.subscribed && reader.depth > 0);
    // A handler may publish to a topic that was already empty, so one calm look over all of them is needed.
    for (let readers = busy(); readers.length > 0 && this.#closing === null; readers = busy()) {
      for (const reader of readers) await reader.empty();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#readers.values()].map((reader) => reader.close()));
    // A letter that is being retried still writes to the journal.
    await this.#deadLetters.close();
    await this.#journal.close();
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the queue is closing");
  }

  #takeId(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  #reader(topic: string, reader: string): ReaderQueue {
    const found = this.#readers.get(`${topic}.${reader}`);
    invariant(found !== undefined, `${reader} does not read the topic ${topic}`);
    return found;
  }

  /** Queues what is in the journal already, also beyond the bound: it had its place before. */
  async #enqueue(stored: StoredMessage, reader: string): Promise<void> {
    const { id, topic, json, body } = stored;
    const queue = this.#readers.get(`${topic}.${reader}`);
    // A reader that an older version had and this one has not would keep the message for ever.
    if (queue === undefined) return await this.#journal.complete(id, reader);
    try {
      const message = validated(this.#topics, topic, joinBody(json, body));
      queue.restore({ id, message, bytes: body?.length ?? 0, attemptsMade: 0 });
    } catch (error) {
      await this.#bury({ ...stored, reader, attempts: 0 }, toHeadwaterError(error));
      this.#options.onCounted("queue_dead_letters", 1);
      await this.#journal.complete(id, reader);
    }
  }

  async #removeDeadLetter(id: string, before: (letter: StoredLetter) => Promise<void>): Promise<void> {
    if (!(await this.#deadLetters.remove(id, before))) throw new HeadwaterError("NOT_FOUND", `there is no dead letter ${id.slice(0, 200)}`);
  }

  /** Never rejects. */
  async #bury(stored: StoredMessage & { reader: string; attempts: number }, error: HeadwaterError): Promise<void> {
    const { topic, reader, attempts, json, body } = stored;
    const letter = { topic, reader, atMs: this.#options.clock.nowMs(), attempts, code: error.code, message: error.message, json, body };
    await this.#deadLetters.add(letter).catch(() => this.#options.onCounted("queue_dead_letters_unwritten", 1));
  }

  #createReader(topic: string, reader: string): ReaderQueue {
    const { depthMax, atBound } = rowOf(this.#topics, topic);
    return new ReaderQueue({
      name: `${topic}.${reader}`,
      depthMax,
      depthBytesMax: this.#options.depthBytesMax ?? 268_435_456,
      atBound,
      clock: this.#options.clock,
      onCounted: this.#options.onCounted,
      complete: (id) => this.#journal.complete(id, reader),
      bury: ({ id, message, attemptsMade }, error) =>
        this.#bury({ id, topic, ...splitBody(message), reader, attempts: attemptsMade }, error),
    });
  }
}

function shown(letter: StoredLetter): DeadLetter {
  const { body, topic, ...rest } = letter;
  return { ...rest, topic: topic as QueueTopic, bodyBytes: body?.length ?? 0 };
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

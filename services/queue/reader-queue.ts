/** What waits for one reader of one topic, its bound, and its handing-out in order of arrival. */
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock } from "../../contract/port.ts";
import { afterFailure, backoffMs, rethrowInvariant } from "./retry.ts";

interface QueuedMessage {
  readonly id: number;
  readonly message: unknown;
  readonly bytes: number;
  attemptsMade: number;
}

interface ReaderQueueOptions {
  readonly name: string;
  readonly depthMax: number;
  readonly depthBytesMax: number;
  readonly atBound: "refuse" | "wait";
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Records that the message is done; resolves when the record is written. */
  complete(id: number): Promise<void>;
  /** Keeps the message as a dead letter; never rejects. */
  bury(item: QueuedMessage, error: HeadwaterError): Promise<void>;
}

export class ReaderQueue {
  #options: ReaderQueueOptions;
  #waiting: QueuedMessage[] = [];
  /** Where in `#waiting` the oldest message is; shifting a long array for each message would be slow. */
  #head = 0;
  #depth = 0;
  #bytes = 0;
  #running = 0;
  #handler: ((message: unknown) => Promise<void>) | null = null;
  #concurrency = 1;
  /** The subscriber wants no more. */
  #leaving = false;
  #closed = false;
  #room: { bytes: number; resolve: () => void; reject: (error: HeadwaterError) => void }[] = [];
  #onChange: (() => void)[] = [];
  #cancelRetries = new Set<() => void>();

  constructor(options: ReaderQueueOptions) {
    this.#options = options;
  }

  /** Waiting, in a handler, between attempts, or on the way into the journal. */
  get depth(): number {
    return this.#depth;
  }

  get subscribed(): boolean {
    return this.#handler !== null && !this.#leaving;
  }

  /** Takes a place; at the bound it throws QUEUE_FULL or waits for its turn, as the topic says. */
  async reserve(bytes: number): Promise<void> {
    if (this.#room.length === 0 && this.#hasRoom(bytes)) {
      this.#take(bytes);
      return;
    }
    const { name, depthMax, atBound, onCounted } = this.#options;
    if (atBound === "refuse") {
      onCounted("queue_refused", 1);
      throw new HeadwaterError("QUEUE_FULL", `${name} holds ${this.#depth} messages (at most ${depthMax}), ${this.#bytes} bytes`, {
        retryAfterSeconds: 1,
      });
    }
    onCounted("queue_waited", 1);
    await new Promise<void>((resolve, reject) => this.#room.push({ bytes, resolve, reject }));
  }

  unreserve(bytes: number): void {
    this.#depth -= 1;
    this.#bytes -= bytes;
    while (this.#room[0] !== undefined && this.#hasRoom(this.#room[0].bytes)) {
      const next = this.#room.shift();
      if (next === undefined) break;
      this.#take(next.bytes);
      next.resolve();
    }
    this.#changed();
  }

  /** Queues a message whose place was reserved. */
  add(item: QueuedMessage): void {
    this.#waiting.push(item);
    this.#pump();
  }

  /** Queues a message of an earlier process; it had its place then. */
  restore(item: QueuedMessage): void {
    this.#take(item.bytes);
    this.add(item);
  }

  /** The answer stops handing out, waits for running handlers, and makes room for another subscriber. */
  subscribe(handler: (message: unknown) => Promise<void>, concurrency: number): () => Promise<void> {
    invariant(this.#handler === null, `${this.#options.name} has a subscriber already`);
    invariant(Number.isInteger(concurrency) && concurrency >= 1, `${this.#options.name}: concurrency is ${concurrency}`);
    this.#handler = handler;
    this.#concurrency = concurrency;
    this.#pump();
    let leaving: Promise<void> | null = null;
    return () => {
      leaving ??= this.#leave();
      return leaving;
    };
  }

  /** Resolves when nothing waits and no handler runs; at once when closed or without a subscriber. */
  async empty(): Promise<void> {
    while (this.#depth > 0 && !this.#closed && this.subscribed) await this.#nextChange();
  }

  /** Stops handing out and waits for running handlers; what waits stays in the journal. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#room.splice(0)) waiter.reject(new HeadwaterError("STOPPING", "the queue is closing"));
    for (const cancel of this.#cancelRetries) cancel();
    this.#changed();
    while (this.#running > 0) await this.#nextChange();
  }

  async #leave(): Promise<void> {
    this.#leaving = true;
    this.#changed();
    while (this.#running > 0) await this.#nextChange();
    this.#leaving = false;
    this.#handler = null;
  }

  #hasRoom(bytes: number): boolean {
    const { depthMax, depthBytesMax } = this.#options;
    return this.#depth < depthMax && (this.#depth === 0 || this.#bytes + bytes <= depthBytesMax);
  }

  #take(bytes: number): void {
    this.#depth += 1;
    this.#bytes += bytes;
  }

  #pump(): void {
    while (this.#handler !== null && !this.#leaving && !this.#closed && this.#running < this.#concurrency) {
      const item = this.#waiting[this.#head];
      if (item === undefined) break;
      this.#head += 1;
      this.#running += 1;
      void this.#run(item, this.#handler);
    }
    if (this.#head > 1_024 || this.#head === this.#waiting.length) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    }
  }

  async #run(item: QueuedMessage, handler: (message: unknown) => Promise<void>): Promise<void> {
    let failure: unknown = null;
    try {
      item.attemptsMade += 1;
      await handler(item.message);
    } catch (error) {
      failure = error ?? new Error("the handler rejected without an error");
    }
    if (failure === null) this.#finish(item);
    else await this.#fail(item, failure);
    this.#running -= 1;
    this.#changed();
    this.#pump();
  }

  #finish(item: QueuedMessage): void {
    // The next message need not wait for the record: without it this one is handed out again after a restart, which "at least once" allows.
    this.#options.complete(item.id).catch(() => this.#options.onCounted("queue_completions_unwritten", 1));
    this.unreserve(item.bytes);
  }

  async #fail(item: QueuedMessage, failure: unknown): Promise<void> {
    const { action, error } = afterFailure(failure, item.attemptsMade);
    if (action === "dead-letter") {
      await this.#options.bury(item, error);
      this.#options.onCounted("queue_dead_letters", 1);
      this.#finish(item);
      rethrowInvariant(failure);
      return;
    }
    this.#options.onCounted("queue_retried", 1);
    const cancel = this.#options.clock.schedule(backoffMs(item.attemptsMade), () => {
      this.#cancelRetries.delete(cancel);
      this.add(item);
    });
    this.#cancelRetries.add(cancel);
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => this.#onChange.push(resolve));
  }

  #changed(): void {
    for (const resolve of this.#onChange.splice(0)) resolve();
  }
}

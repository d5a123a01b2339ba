/** One reader of all events after a position: catches up by pages, then is woken by appends; one handler call at a time, no gaps, nothing twice. */
import { toHeadwaterError } from "../contract/error.ts";
import { InvariantError } from "../contract/invariant.ts";
import type { Clock, StoredEvent } from "../contract/port.ts";

/** Calls of a handler that keeps failing on one event before the event is skipped and counted. */
const attemptsMax = 5;
const retryFirstMs = 100;
/** Longest pause between two attempts to read from a store that is away. */
const pageRetryMsMax = 1_000;

interface EventSubscriptionOptions {
  readonly afterPosition: number;
  readonly streamPrefix: string;
  readonly clock: Clock;
  /** Looks for new events at least so often, also when nobody announced any; null = only when announced. */
  readonly pollMs: number | null;
  readonly onCounted: (name: string, amount: number) => void;
  /** Events of all streams after a position, in order, one page. A retriable failure is tried again until `stop`. */
  nextPage(afterPosition: number): StoredEvent[] | Promise<StoredEvent[]>;
  handler(event: StoredEvent): Promise<void>;
}

/** Counters: `event_store_handler_retried`, `event_store_events_skipped`, `event_store_pages_retried`. */
export class EventSubscription {
  #options: EventSubscriptionOptions;
  #position: number;
  #stopped = false;
  #announced = false;
  #wake: (() => void) | null = null;
  #running: Promise<void>;

  constructor(options: EventSubscriptionOptions) {
    this.#options = options;
    this.#position = options.afterPosition;
    this.#running = this.#run();
  }

  /** Says that there are new events. */
  announce(): void {
    this.#announced = true;
    this.#wake?.();
  }

  /** Resolves when the running handler has ended; none is called after that. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#announced = false;
      const page = await this.#page();
      for (const event of page) {
        if (this.#stopped) return;
        if (event.stream.startsWith(this.#options.streamPrefix)) await this.#handle(event);
        if (this.#stopped) return;
        this.#position = event.position;
      }
      if (page.length === 0 && !this.#announced) await this.#pause({ delayMs: this.#options.pollMs, endsBy: "announcement" });
      // A long catch-up lets timers and sockets have their turn between pages.
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The next page, however long the store is away; an empty one when stopped meanwhile. */
  async #page(): Promise<StoredEvent[]> {
    for (let attempt = 1; !this.#stopped; attempt += 1) {
      try {
        return await this.#options.nextPage(this.#position);
      } catch (error) {
        if (error instanceof InvariantError || !toHeadwaterError(error).retriable) throw error;
        this.#options.onCounted("event_store_pages_retried", 1);
        // A store that is back announces itself, which ends the pause.
        await this.#pause({ delayMs: Math.min(retryFirstMs * 2 ** (attempt - 1), pageRetryMsMax), endsBy: "announcement" });
      }
    }
    return [];
  }

  async #handle(event: StoredEvent): Promise<void> {
    for (let attempt = 1; !this.#stopped; attempt += 1) {
      try {
        await this.#options.handler(event);
        return;
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        if (!toHeadwaterError(error).retriable || attempt >= attemptsMax) {
          this.#options.onCounted("event_store_events_skipped", 1);
          return;
        }
        this.#options.onCounted("event_store_handler_retried", 1);
        // A retry is not hurried by new events.
        await this.#pause({ delayMs: retryFirstMs * 2 ** (attempt - 1), endsBy: "stop" });
      }
    }
  }

  /** Waits for a time (null = for ever); ends early when stopped, and with `announcement` also when there are new events. */
  async #pause({ delayMs, endsBy }: { delayMs: number | null; endsBy: "announcement" | "stop" }): Promise<void> {
    if (this.#stopped) return;
    await new Promise<void>((resolve) => {
      const cancel = delayMs === null ? () => undefined : this.#options.clock.schedule(delayMs, () => resolve());
      this.#wake = () => {
        if (endsBy === "stop" && !this.#stopped) return;
        cancel();
        resolve();
      };
    });
    this.#wake = null;
  }
}

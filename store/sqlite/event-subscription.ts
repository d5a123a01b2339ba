/** One reader of all events after a position: catches up by pages, then is woken by appends; one handler call at a time, no gaps, nothing twice. */
import { toHeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";
import type { Clock, StoredEvent } from "../../contract/port.ts";

/** Calls of a handler that keeps failing on one event before the event is skipped and counted. */
const attemptsMax = 5;

interface EventSubscriptionOptions {
  readonly afterPosition: number;
  readonly streamPrefix: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Events of all streams after a position, in order, one page. */
  nextPage(afterPosition: number): StoredEvent[];
  handler(event: StoredEvent): Promise<void>;
}

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
      const page = this.#options.nextPage(this.#position);
      for (const event of page) {
        if (event.stream.startsWith(this.#options.streamPrefix)) await this.#handle(event);
        if (this.#stopped) return;
        this.#position = event.position;
      }
      if (page.length === 0 && !this.#announced) await this.#pause(null);
      // A long catch-up lets timers and sockets have their turn between pages.
      else await new Promise((resolve) => setImmediate(resolve));
    }
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
        await this.#pause(100 * 2 ** (attempt - 1));
      }
    }
  }

  /** Waits for an announcement (null) or for a time; ends early when stopped. */
  async #pause(delayMs: number | null): Promise<void> {
    if (this.#stopped) return;
    await new Promise<void>((resolve) => {
      const cancel = delayMs === null ? () => undefined : this.#options.clock.schedule(delayMs, () => resolve());
      this.#wake = () => {
        // A retry is not hurried by new events.
        if (delayMs !== null && !this.#stopped) return;
        cancel();
        resolve();
      };
    });
    this.#wake = null;
  }
}

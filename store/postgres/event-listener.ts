/** Hears of appends by LISTEN, on a connection of its own that is made again for ever when it is lost. */
import type { Client } from "pg";
import type { Clock } from "../../contract/port.ts";

const retryFirstMs = 50;
const retryMsMax = 1_000;

interface EventListenerOptions {
  readonly channel: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** A new client, not connected. */
  connection(): Client;
  /** There may be new events: something was announced, or nothing was heard for a while. */
  onArrival(): void;
}

/** Counter: `event_store_listener_lost`. */
export class EventListener {
  #options: EventListenerOptions;
  #stopped = false;
  #stop: () => void = () => undefined;
  #stopping: Promise<void>;
  #running: Promise<void>;

  constructor(options: EventListenerOptions) {
    this.#options = options;
    this.#stopping = new Promise((resolve) => {
      this.#stop = resolve;
    });
    this.#running = this.#run();
  }

  /** The connection's goodbye is left to its owner. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopped; failures += 1) {
      if (await this.#listen()) failures = 0;
      if (this.#stopped) return;
      this.#options.onCounted("event_store_listener_lost", 1);
      await this.#pause(Math.min(retryFirstMs * 2 ** failures, retryMsMax));
    }
  }

  /** Listens until the connection is lost or `stop`; answers whether it ever listened. */
  async #listen(): Promise<boolean> {
    const client = this.#options.connection();
    const lost = new Promise<void>((resolve) => {
      client.on("end", () => resolve());
      client.on("error", () => resolve());
    });
    try {
      client.on("notification", () => this.#options.onArrival());
      await Promise.race([client.connect(), this.#stopping]);
      if (this.#stopped) return false;
      await client.query(`LISTEN ${this.#options.channel}`);
      // What was appended before LISTEN was announced to nobody here.
      this.#options.onArrival();
      await Promise.race([lost, this.#stopping]);
      return true;
    } catch {
      return false;
    } finally {
      // Not awaited: a server that is away does not answer.
      void client.end().catch(() => undefined);
    }
  }

  async #pause(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.schedule(delayMs, resolve);
      void this.#stopping.then(() => {
        cancel();
        resolve();
      });
    });
  }
}

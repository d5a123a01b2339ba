/** Batches that come in while something is disturbed, and what must be stored of them in the end. */
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import { eventually } from "./headwater-process.ts";
import { sendTraces, traceBody } from "./otlp-json.ts";
import { storedSpans } from "./stored-spans.ts";

/** Spans of each batch. */
export const spanCount = 7;
const pauseMs = 60;

interface LoadOptions {
  /** Begins the names of the services. */
  readonly name: string;
  /** Where batches are sent, by the source that sends them; null = each batch is a source of its own. */
  readonly senders: readonly { readonly otlpUrl: string; readonly source: string | null }[];
}

/** Batches of spans, each of a service of its own, that every sender sends one after another until it is told to end. */
export class Load {
  /** When each batch was acknowledged. */
  readonly acknowledged = new Map<string, number>();
  readonly sent = new Set<string>();
  readonly startedMs = Date.now();
  #ends = false;
  readonly #loops: Promise<unknown>;

  constructor({ name, senders }: LoadOptions) {
    this.#loops = Promise.all(senders.map((sender, place) => this.#send(sender, `${name}-${place}`)));
  }

  async end(): Promise<void> {
    this.#ends = true;
    await this.#loops;
  }

  async #send({ otlpUrl, source }: LoadOptions["senders"][number], name: string): Promise<void> {
    for (let batch = 0; !this.#ends; batch += 1) {
      const service = `${name}-${batch}`;
      this.sent.add(service);
      const body = traceBody({ service, spanCount, endMs: Date.now(), ...(source === null ? {} : { source }) });
      if (await sendTraces(otlpUrl, body)) this.acknowledged.set(service, Date.now());
      await pause(pauseMs);
    }
  }
}

/** The stored side of a load. */
export class StoredLoad {
  readonly #load: Load;
  readonly #apiUrl: string;
  readonly #stored = new Map<string, number | null>();

  constructor(load: Load, apiUrl: string) {
    this.#load = load;
    this.#apiUrl = apiUrl;
  }

  /** From door to stored window, with a batch that is acknowledged only from now on. */
  async worksAgain(what: string): Promise<void> {
    const before = this.#load.acknowledged.size;
    await eventually(
      async () => {
        const [mark] = [...this.#load.acknowledged.keys()].slice(before);
        return mark === undefined ? null : await this.#ask(mark).catch(() => null);
      },
      (count) => count === spanCount,
      `${what} an acknowledged batch is stored`,
    );
  }

  /** Acknowledged batches that are not stored, or not each span once, as of now. */
  async missing(): Promise<string[]> {
    for (const service of [...this.#load.sent])
      if (this.#stored.get(service) !== spanCount) this.#stored.set(service, await this.#ask(service));
    return [...this.#load.acknowledged.keys()].filter((service) => this.#stored.get(service) !== spanCount);
  }

  /** What was sent may be there whether it was acknowledged or not, but then whole and once. */
  expectWhole(): void {
    const some = [...this.#load.sent].filter((service) => ![null, spanCount].includes(this.#stored.get(service) ?? null));
    expect(some).toEqual([]);
  }

  #ask(service: string): Promise<number | null> {
    return storedSpans({ apiUrl: this.#apiUrl }, service, this.#load.startedMs - 1_000);
  }
}

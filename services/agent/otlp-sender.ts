/** Sends bodies to a gateway in the order in which they were made; while it is away they wait within a bound, the oldest are dropped first. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";
import { Outages } from "../../contract/outage.ts";
import type { Signal } from "../../contract/telemetry.ts";
import type { Platform } from "../platform.ts";

/** One request and what came of it. Throws a HeadwaterError when there was no answer. */
export type Post = (request: {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}) => Promise<{ readonly status: number; readonly retryAfterSeconds: number | null; readonly text: string }>;

export interface OtlpSenderOptions {
  readonly platform: Platform;
  readonly post: Post;
  /** Where it is sent to, for people. */
  readonly target: string;
  /** Bodies smaller than this are sent as they are; null: all are. */
  readonly gzipBytesMin: number | null;
  /** Of all that waits. */
  readonly bufferBytesMax: number;
  readonly onCounted: (what: "sent" | "dropped-buffer" | "dropped-refused", signal: Signal) => void;
}

interface Waiting {
  readonly signal: Signal;
  readonly body: Uint8Array;
}

const compress = promisify(gzip);
const backoffFirstMs = 250;
const backoffMaxMs = 10_000;
/** What a gateway says by these passes by itself, or once a person has changed a token. */
const passing: ReadonlySet<number> = new Set([401, 403, 408, 429, 500, 502, 503, 504]);
const step = "send";
const textLengthMax = 200;

export class OtlpSender {
  readonly #options: OtlpSenderOptions;
  readonly #outages: Outages;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #isSending = false;
  #isClosed = false;
  #backoffMs = backoffFirstMs;
  #cancelPause: () => void = () => undefined;
  #idle: (() => void)[] = [];

  constructor(options: OtlpSenderOptions) {
    this.#options = options;
    const { clock, logger } = options.platform;
    this.#outages = new Outages({ name: "agent", clock, logger });
  }

  /** Never waits and never throws. */
  send(signal: Signal, body: Uint8Array): void {
    if (this.#isClosed || body.length > this.#options.bufferBytesMax) {
      this.#options.onCounted("dropped-buffer", signal);
      return;
    }
    this.#waiting.push({ signal, body });
    this.#waitingBytes += body.length;
    // The one that is being sent is in front and stays.
    while (this.#waitingBytes > this.#options.bufferBytesMax) {
      const [dropped] = this.#waiting.splice(this.#isSending && this.#waiting.length > 1 ? 1 : 0, 1);
      if (dropped === undefined) break;
      this.#waitingBytes -= dropped.body.length;
      this.#options.onCounted("dropped-buffer", dropped.signal);
    }
    void this.#work();
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  reasons(): readonly string[] {
    return this.#outages.reasons();
  }

  /** Resolves when nothing waits any more. */
  settle(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Gives what waits so long to be sent; the rest is dropped, counted. */
  async close(withinMs: number): Promise<void> {
    let cancel: () => void = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#options.platform.clock.schedule(withinMs, resolve);
    });
    await Promise.race([this.settle(), late]);
    cancel();
    this.#isClosed = true;
    this.#cancelPause();
    for (const { signal } of this.#waiting) this.#options.onCounted("dropped-buffer", signal);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#tellIdle();
  }

  async #work(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    while (!this.#isClosed) {
      const next = this.#waiting[0];
      if (next === undefined) break;
      const pauseMs = await this.#sendOne(next);
      if (pauseMs === null) {
        if (this.#waiting[0] === next) this.#waiting.shift();
        this.#waitingBytes = Math.max(0, this.#waitingBytes - next.body.length);
        this.#backoffMs = backoffFirstMs;
      } else await this.#pause(pauseMs);
    }
    this.#isSending = false;
    if (this.#waiting.length === 0) this.#tellIdle();
  }

  /** Null when the body is done with, else after how long to try again. */
  async #sendOne({ signal, body }: Waiting): Promise<number | null> {
    const { post, onCounted, gzipBytesMin } = this.#options;
    try {
      const zipped = gzipBytesMin !== null && body.length >= gzipBytesMin;
      const answer = await post({
        path: `/v1/${signal}`,
        headers: { "content-type": "application/x-protobuf", ...(zipped ? { "content-encoding": "gzip" } : {}) },
        body: zipped ? await compress(body, { level: 1 }) : body,
      });
      if (passing.has(answer.status)) throw this.#refusal(answer);
      onCounted(answer.status < 300 ? "sent" : "dropped-refused", signal);
      if (answer.status >= 300) this.#outages.failed(step, this.#refusal(answer));
      this.#outages.passed(step);
      return null;
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      const known = toHeadwaterError(error);
      this.#outages.failed(step, known);
      const pauseMs = known.retryAfterSeconds === null ? this.#backoffMs : Math.min(known.retryAfterSeconds * 1_000, backoffMaxMs);
      this.#backoffMs = Math.min(this.#backoffMs * 2, backoffMaxMs);
      return pauseMs * (0.5 + this.#options.platform.random());
    }
  }

  #refusal({ status, retryAfterSeconds, text }: Awaited<ReturnType<Post>>): HeadwaterError {
    const { target } = this.#options;
    const message = `${target} answered ${status}${text === "" ? "" : `: ${text.slice(0, textLengthMax)}`}`;
    const again = retryAfterSeconds === null ? {} : { retryAfterSeconds };
    if (status === 401) return new HeadwaterError("UNAUTHENTICATED", `${message} (set agent.token)`, again);
    if (status === 403) return new HeadwaterError("FORBIDDEN", message, again);
    if (status === 429) return new HeadwaterError("QUEUE_FULL", message, again);
    return new HeadwaterError(passing.has(status) ? "GATEWAY_UNAVAILABLE" : "BODY_MALFORMED", message, again);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.platform.clock.schedule(ms, resolve);
      this.#cancelPause = () => {
        cancel();
        resolve();
      };
    });
  }

  #tellIdle(): void {
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }
}

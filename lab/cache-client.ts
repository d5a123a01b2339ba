/** A service's connection to its cache: one socket, commands in order, a span for each. */
import { connect, type Socket } from "node:net";
import { SpanKind } from "@opentelemetry/api";
import { textOf } from "./lab-error.ts";
import { encodeCommand, RespReader, type RespValue } from "./resp.ts";
import { inSpan, type Scope } from "./span.ts";

const timeoutMs = 1_000;
/** Commands that wait for their answer at most; more are refused. */
const waitingMax = 1_000;
const lifeSeconds = 10;

class CacheError extends Error {
  override readonly name = "CacheError";
}

interface Waiting {
  readonly answer: (value: RespValue) => void;
  readonly fail: (error: Error) => void;
}

/** Connects when first used and again after a failure. */
export class CacheClient {
  readonly #host: string;
  readonly #port: number;
  readonly #from: string | null;
  readonly #prefix: string;
  #socket: Socket | null = null;
  #waiting: Waiting[] = [];

  constructor(options: { url: string; prefix: string; from: string | null }) {
    const url = new URL(options.url);
    this.#host = url.hostname;
    this.#port = Number(url.port || 6_379);
    this.#prefix = options.prefix;
    this.#from = options.from;
  }

  /** The cached value, or null. Rejects when the cache does not answer. */
  async get(scope: Scope, key: string): Promise<string | null> {
    const value = await this.#traced(scope, ["GET", this.#prefix + key]);
    return typeof value === "string" ? value : null;
  }

  /** Keeps a value for a few seconds. */
  async set(scope: Scope, key: string, value: string): Promise<void> {
    await this.#traced(scope, ["SET", this.#prefix + key, value, "EX", String(lifeSeconds)]);
  }

  #traced(scope: Scope, command: readonly string[]): Promise<RespValue> {
    const operation = command[0] ?? "";
    const attributes = {
      "db.system.name": "redis",
      "db.operation.name": operation,
      "server.address": this.#host,
      "server.port": this.#port,
    };
    return inSpan(scope, { name: operation, kind: SpanKind.CLIENT, attributes }, () => this.#send(command));
  }

  #send(command: readonly string[]): Promise<RespValue> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length >= waitingMax) {
        reject(new CacheError("too many commands wait for the cache"));
        return;
      }
      const socket = this.#socket ?? this.#open();
      // Answers come in the order of commands, so one that is late makes the connection unusable.
      const timer = setTimeout(() => socket.destroy(new CacheError(`no answer within ${timeoutMs} ms`)), timeoutMs);
      this.#waiting.push({
        answer: (value) => {
          clearTimeout(timer);
          if (value !== null && typeof value === "object" && "error" in value) reject(new CacheError(value.error));
          else resolve(value);
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      socket.write(encodeCommand(command));
    });
  }

  #open(): Socket {
    const from = this.#from === null ? {} : { localAddress: this.#from };
    const socket = connect({ host: this.#host, port: this.#port, ...from, noDelay: true });
    const reader = new RespReader();
    let why: Error = new CacheError("the connection was closed");
    socket.on("data", (chunk) => {
      const values = reader.push(chunk);
      if (values === "malformed") socket.destroy(new CacheError("the cache answered something else than RESP"));
      else for (const value of values) this.#waiting.shift()?.answer(value);
    });
    socket.on("error", (error) => {
      why = new CacheError(textOf(error));
    });
    socket.on("close", () => {
      if (this.#socket === socket) this.#socket = null;
      for (const waiting of this.#waiting.splice(0)) waiting.fail(why);
    });
    this.#socket = socket;
    return socket;
  }

  close(): void {
    this.#socket?.destroy();
  }
}

/** One request to the telemetry server and its answer, within bounds of time and size. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";
import { LineReader, readText } from "./answer-reader.ts";
import { protocolHeader } from "./telemetry-protocol.ts";

/** A server that says nothing for so long, not even that it is at work, is away. */
const silenceMs = 5_000;
/** A method that is still at work after this time has failed. */
const operationMs = 120_000;
/** Requests under way; more are refused at once, since each has a caller that may wait. */
const requestsMax = 256;
const idleSocketsMax = 16;

interface TransportOptions {
  readonly url: string;
  readonly token: string | null;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
}

export interface TransportRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** JSON. */
  readonly body: string | null;
}

/** `items` of a successful answer to a method; `text` of any other answer. `ours`: a telemetry server sent it, not something in between. */
export interface TransportAnswer {
  readonly status: number;
  readonly ours: boolean;
  readonly items: unknown[] | null;
  readonly text: string;
}

/** Counters: `telemetry_client_requests_refused`, `telemetry_client_answers_refused`, `telemetry_client_connections_renewed`. */
export class TelemetryTransport {
  /** Scheme, host and port, for messages. */
  readonly address: string;
  #options: TransportOptions;
  #base: URL;
  #agent: HttpAgent | HttpsAgent;
  #underWay = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#base = new URL(options.url);
    this.address = `the telemetry store at ${this.#base.origin}`;
    const agentOptions = { keepAlive: true, maxFreeSockets: idleSocketsMax };
    this.#agent = this.#base.protocol === "https:" ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  }

  /** Throws STORE_UNAVAILABLE when nobody answers or the answer breaks off, REQUEST_INVALID for an answer beyond all bounds. */
  async send(request: TransportRequest): Promise<TransportAnswer> {
    if (this.#underWay >= requestsMax) {
      this.#options.onCounted("telemetry_client_requests_refused", 1);
      throw new HeadwaterError("STORE_UNAVAILABLE", `${requestsMax} requests to ${this.address} are under way already`);
    }
    this.#underWay += 1;
    try {
      return await this.#sendOnce(request);
    } catch (error) {
      // The server may have ended an idle connection just when it was used again. Every method may be repeated.
      if (!(error instanceof StaleConnection)) throw error;
      this.#options.onCounted("telemetry_client_connections_renewed", 1);
      return await this.#sendOnce({ ...request, renewed: true });
    } finally {
      this.#underWay -= 1;
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #sendOnce(asked: TransportRequest & { readonly renewed?: true }): Promise<TransportAnswer> {
    const send = this.#base.protocol === "https:" ? httpsRequest : httpRequest;
    const body = asked.body === null ? null : Buffer.from(asked.body);
    return new Promise((resolve, reject) => {
      const request = send(this.#requestOptions(asked, body));
      const watch = this.#watch((reason) => request.destroy(this.#away(reason)));
      const finish = (end: () => void) => {
        watch.stop();
        end();
      };
      request.on("information", watch.heard);
      request.on("error", (error: NodeJS.ErrnoException) => {
        const stale = request.reusedSocket && asked.renewed !== true && (error.code === "ECONNRESET" || error.code === "EPIPE");
        finish(() => reject(stale ? new StaleConnection() : this.#failure(error)));
      });
      request.once("response", (response) => {
        watch.heard();
        this.#read(response, watch.heard).then(
          (answer) => finish(() => resolve(answer)),
          (error: unknown) => {
            finish(() => reject(this.#failure(error)));
            request.destroy();
          },
        );
      });
      request.end(body ?? undefined);
    });
  }

  #requestOptions({ method, path, renewed }: TransportRequest & { readonly renewed?: true }, body: Buffer | null): RequestOptions {
    const { token } = this.#options;
    const { protocol, hostname, port, pathname } = this.#base;
    return {
      protocol,
      hostname: hostname.replaceAll(/[[\]]/g, ""),
      port,
      method,
      path: `${pathname.replace(/\/+$/, "")}${path}`,
      // A request that is made again must not meet another idle connection that has ended.
      agent: renewed === true ? false : this.#agent,
      headers: {
        ...(body === null ? {} : { "content-type": "application/json", "content-length": body.length }),
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
    };
  }

  async #read(response: IncomingMessage, heard: () => void): Promise<TransportAnswer> {
    const status = response.statusCode ?? 0;
    const ours = response.headers[protocolHeader] !== undefined;
    if (ours && status === 200 && response.headers["content-type"] === "application/x-ndjson") {
      const reader = new LineReader(this.address, this.#options.onCounted);
      return { status, ours, items: await reader.read(response, heard), text: "" };
    }
    return { status, ours, items: null, text: await readText(response, heard) };
  }

  /** Calls back once with a reason when nothing was heard for too long. */
  #watch(onSilent: (reason: string) => void): { heard: () => void; stop: () => void } {
    const { clock } = this.#options;
    const startedAtMs = clock.nowMs();
    let heardAtMs = startedAtMs;
    let cancel = () => {};
    const dueAtMs = () => Math.min(heardAtMs + silenceMs, startedAtMs + operationMs);
    const check = () => {
      if (clock.nowMs() < dueAtMs()) cancel = clock.schedule(dueAtMs() - clock.nowMs(), check);
      else {
        // This process may have been busy itself: what has arrived meanwhile is read before silence is believed.
        const turn = setImmediate(() => {
          if (clock.nowMs() < dueAtMs()) check();
          else if (dueAtMs() === startedAtMs + operationMs) onSilent(`was still at work after ${operationMs} ms`);
          else onSilent(`did not answer within ${silenceMs} ms`);
        });
        cancel = () => clearImmediate(turn);
      }
    };
    cancel = clock.schedule(silenceMs, check);
    return {
      heard: () => {
        heardAtMs = clock.nowMs();
      },
      stop: () => cancel(),
    };
  }

  #away(reason: string): HeadwaterError {
    return new HeadwaterError("STORE_UNAVAILABLE", `${this.address} ${reason}`);
  }

  #failure(error: unknown): HeadwaterError {
    if (error instanceof HeadwaterError) return error;
    return new HeadwaterError("STORE_UNAVAILABLE", `${this.address} cannot be reached: ${textOf(error)}`, { cause: error });
  }
}

/** A connection that had been idle was found closed before anything was answered. */
class StaleConnection extends Error {
  override readonly name = "StaleConnection";
}

/** Node wraps the attempts at several addresses of a host in an error without a message. */
function textOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(textOf).join(", ");
  return error instanceof Error ? error.message : String(error);
}

/** The TelemetryStore of a process that does not have the files: it asks the role `store` over HTTP. */
import { Coalescer } from "../../contract/coalesce.ts";
import { HeadwaterError } from "../../contract/error.ts";
import type {
  Clock,
  DurationWindow,
  LineQuery,
  SeriesQuery,
  SeriesSummary,
  SpanQuery,
  StoredSeries,
  TelemetryAppend,
  TelemetryStore,
  TemplateCount,
  TemplateQuery,
} from "../../contract/port.ts";
import type { DurationQuery, SummaryQuery } from "../../contract/telemetry-store.ts";
import type { KeptLine, KeptSpan } from "../../contract/window.ts";
import {
  appendJson,
  errorFromJson,
  jsonOrNull,
  type Method,
  Protocol,
  protocolPath,
  protocolVersion,
  windowsMax,
} from "./telemetry-protocol.ts";
import { TelemetryTransport, type TransportAnswer } from "./telemetry-transport.ts";

interface HttpTelemetryStoreOptions {
  /** http:// or https:// of the role `store`; a path is put before its own. */
  readonly url: string;
  /** What the role `store` was given as `store.token`; null where it has none. */
  readonly token: string | null;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
}

/** Appends that share a request. */
const appendsPerFlushMax = 1_024;
/** Windows go into one request until it has so many characters; a single one may be larger. */
const requestLength = 8_388_608;
/** Appends that wait for their request; more are refused at once. */
const appendsWaitingMax = 10_000;

/** Windows of one call of `append` that fit into a request. */
interface Append {
  /** JSON of each window. */
  readonly windows: readonly string[];
  readonly length: number;
  /** Rises from append to append. */
  readonly number: number;
  /** Why it failed; null while it has not. */
  failure: unknown;
}

/**
 * Connects, and checks that a telemetry server of our protocol answers. It connects again by itself whenever it must.
 * An operation fails with STORE_UNAVAILABLE when nothing is heard of the server for 5 s; a server at work says so every second. Once the store
 * is open a refused token is STORE_UNAVAILABLE too: it may be a change that has not come everywhere yet, and nobody's work is to be given up for it.
 * Counters: `telemetry_client_requests_refused`, `telemetry_client_answers_refused`, `telemetry_client_connections_renewed`,
 * `telemetry_client_appends_refused`, `telemetry_client_appends_separated`.
 * Throws STORE_UNAVAILABLE, SERVER_REFUSED, SERVER_UNSUITABLE, CONFIG_INVALID.
 */
export async function openHttpTelemetryStore(options: HttpTelemetryStoreOptions): Promise<TelemetryStore> {
  if (options.token !== null && !/^[\x21-\x7e]{1,512}$/.test(options.token)) {
    throw new HeadwaterError("CONFIG_INVALID", '"store.token" holds a character that cannot be sent: use letters, digits and punctuation');
  }
  const transport = new TelemetryTransport(options);
  try {
    checkProtocol(await transport.send({ method: "GET", path: protocolPath, body: null }), transport.address);
  } catch (error) {
    transport.close();
    throw error;
  }
  return new HttpTelemetryStore(options, transport);
}

function checkProtocol(answer: TransportAnswer, address: string): void {
  if (answer.ours && answer.status === 401) {
    throw new HeadwaterError("SERVER_REFUSED", `${address} refused our token: give all processes the same store.token`);
  }
  if (!answer.ours && answer.status >= 502 && answer.status <= 504) {
    throw new HeadwaterError("STORE_UNAVAILABLE", `${address} cannot be reached: what is in front of it answered ${answer.status}`);
  }
  const protocol = Protocol.safeParse(jsonOrNull(answer.text));
  if (!answer.ours || !protocol.success) {
    throw new HeadwaterError("SERVER_UNSUITABLE", `${address} is no Headwater telemetry store: urls.telemetry must name the role "store"`);
  }
  if (protocol.data.protocol === protocolVersion) return;
  const versions = `protocol ${protocol.data.protocol}, this Headwater speaks ${protocolVersion}`;
  throw new HeadwaterError("SERVER_UNSUITABLE", `${address} speaks ${versions}: run the same version everywhere`);
}

class HttpTelemetryStore implements TelemetryStore {
  #transport: TelemetryTransport;
  #onCounted: (name: string, amount: number) => void;
  #appends: Coalescer<Append>;
  #appendsWaiting = 0;
  #appendsMade = 0;
  /** The newest failure to reach the server, and the number of the newest append that was waiting then. */
  #away: { readonly error: HeadwaterError; readonly throughNumber: number } | null = null;
  #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | null = null;

  constructor(options: HttpTelemetryStoreOptions, transport: TelemetryTransport) {
    this.#transport = transport;
    this.#onCounted = options.onCounted;
    this.#appends = new Coalescer((appends) => this.#flush(appends), { itemsPerFlushMax: appendsPerFlushMax });
  }

  append(windows: readonly TelemetryAppend[]): Promise<void> {
    return this.#track(async () => {
      const appends = this.#appendsOf(windows);
      if (this.#appendsWaiting + appends.length > appendsWaitingMax) {
        this.#onCounted("telemetry_client_appends_refused", 1);
        throw new HeadwaterError("STORE_UNAVAILABLE", `${appendsWaitingMax} appends wait for ${this.#transport.address} already`);
      }
      this.#appendsWaiting += appends.length;
      await Promise.all(appends.map((append) => this.#appends.add(append)));
      this.#appendsWaiting -= appends.length;
      for (const { failure } of appends) if (failure !== null) throw failure;
    });
  }

  series(query: SeriesQuery): Promise<StoredSeries[]> {
    return this.#ask<StoredSeries>("series", query);
  }

  summaries(query: SummaryQuery): Promise<SeriesSummary[]> {
    return this.#ask<SeriesSummary>("summaries", query);
  }

  durations(query: DurationQuery): Promise<DurationWindow[]> {
    return this.#ask<DurationWindow>("durations", query);
  }

  spans(query: SpanQuery): Promise<KeptSpan[]> {
    return this.#ask<KeptSpan>("spans", query);
  }

  templates(query: TemplateQuery): Promise<TemplateCount[]> {
    return this.#ask<TemplateCount>("templates", query);
  }

  lines(query: LineQuery): Promise<KeptLine[]> {
    return this.#ask<KeptLine>("lines", query);
  }

  retain(nowMs: number): Promise<string[]> {
    return this.#ask<string>("retain", { nowMs });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running);
    this.#transport.close();
  }

  /** The answer was made of our own types by our own server, and its protocol was checked. */
  #ask<T>(method: Method, query: object): Promise<T[]> {
    return this.#track(async () => (await this.#call(method, JSON.stringify(query))) as T[]);
  }

  async #call(method: Method, body: string): Promise<unknown[]> {
    const answer = await this.#transport.send({ method: "POST", path: `/v1/${method}`, body });
    if (answer.items !== null) return answer.items;
    throw this.#failureOf(answer);
  }

  #failureOf({ status, ours, text }: TransportAnswer): HeadwaterError {
    const { address } = this.#transport;
    const error = ours ? errorFromJson(text) : null;
    if (error === null) return new HeadwaterError("STORE_UNAVAILABLE", `${address} gave no answer of ours, but status ${status}`);
    // Of this process it would be said that it stops.
    if (error.code === "STOPPING") return new HeadwaterError("STORE_UNAVAILABLE", `${address} is stopping`, { cause: error });
    if (error.code === "UNAUTHENTICATED") {
      return new HeadwaterError("STORE_UNAVAILABLE", `${address} refuses our token by now: give all processes the same store.token`, {
        cause: error,
      });
    }
    return error;
  }

  /** Nothing is taken apart but calls that are too large for a request: keys make it harmless that only a part of one may be written. */
  #appendsOf(windows: readonly TelemetryAppend[]): Append[] {
    const parts = windows.map((window) => {
      const text = appendJson(window);
      return { windows: [text], length: text.length };
    });
    return groupsOf(parts).map((group) => {
      this.#appendsMade += 1;
      const length = group.reduce((sum, part) => sum + part.length, 0);
      return { windows: group.flatMap((part) => part.windows), length, number: this.#appendsMade, failure: null };
    });
  }

  /** Never rejects: each append learns what became of itself. */
  async #flush(appends: readonly Append[]): Promise<void> {
    for (const group of groupsOf(appends)) await this.#write(group);
  }

  async #write(group: readonly Append[]): Promise<void> {
    const away = this.#away;
    const asked = group.filter((append) => {
      // Who waited while the server was found to be away has waited long enough.
      if (away !== null && append.number <= away.throughNumber) append.failure = away.error;
      return append.failure === null;
    });
    if (asked.length === 0) return;
    try {
      await this.#call("append", `[${asked.flatMap(({ windows }) => windows).join(",")}]`);
    } catch (error) {
      if (error instanceof HeadwaterError && !error.retriable && asked.length > 1) {
        // One that the server cannot take must not take the others with it.
        this.#onCounted("telemetry_client_appends_separated", 1);
        for (const append of asked) await this.#write([append]);
        return;
      }
      for (const append of asked) append.failure = error;
      if (error instanceof HeadwaterError && error.retriable) this.#away = { error, throughNumber: this.#appendsMade };
    }
  }

  async #track<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the telemetry store is closing");
    const running = work();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }
}

/** What fits into one request together, in its order. */
function groupsOf<T extends { readonly windows: readonly string[]; readonly length: number }>(parts: readonly T[]): T[][] {
  const groups: T[][] = [];
  let length = 0;
  let windows = 0;
  for (const part of parts) {
    length += part.length;
    windows += part.windows.length;
    const newest = groups.at(-1);
    if (newest !== undefined && length <= requestLength && windows <= windowsMax) newest.push(part);
    else {
      groups.push([part]);
      length = part.length;
      windows = part.windows.length;
    }
  }
  return groups;
}

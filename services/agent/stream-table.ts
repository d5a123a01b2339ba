/** What every connection says: its parser, for as long as the connection is remembered. */
import type { ConnectionEnd } from "./connection-table.ts";
import type { IdentityBook } from "./identity.ts";
import type { Chunk, Turn } from "./kernel-event.ts";
import { ConnectionParser } from "./protocol/connection-parser.ts";
import type { Ending, Exchange } from "./protocol/exchange.ts";
import { OperationNames } from "./protocol/operation-names.ts";

export type StreamLoss =
  | "streams-forgotten"
  | "requests-dropped"
  | "answers-orphaned"
  | "pieces-unparseable"
  | "pieces-cut"
  | "stream-records-lost";

export interface StreamTableOptions {
  readonly identities: IdentityBook;
  /** Connections with a parser at most; beyond, the one silent for longest is forgotten. */
  readonly streamsMax: number;
  /** Services with names of operations of their own. */
  readonly ownersMax: number;
  /** Nothing will come of this connection any more, so that it need not be read. */
  readonly onOpaque: (cookie: bigint) => void;
  readonly onCounted: (what: StreamLoss, amount: number) => void;
}

interface Stream {
  readonly parser: ConnectionParser;
  /** What the parser had lost when it was looked at last. */
  counted: number;
  counts: Readonly<Record<StreamLoss, number>>;
  isToldOpaque: boolean;
  /** Who spoke last. */
  tgid: number;
  cgroup: bigint;
}

/** What a connection took along, and who had asked or was asked. */
interface UnansweredExchanges {
  readonly exchanges: readonly Exchange[];
  readonly role: ConnectionParser["role"];
  readonly tgid: number;
  readonly cgroup: bigint;
}

export class StreamTable {
  readonly #options: StreamTableOptions;
  /** Least recently heard first. */
  readonly #streams = new Map<bigint, Stream>();
  readonly #operations = new Map<string, OperationNames>();

  constructor(options: StreamTableOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** The exchanges that the record completed. `end` is null where the connection is not known yet. */
  take(event: Turn | Chunk, end: ConnectionEnd | null): readonly Exchange[] {
    const stream = this.#streamOf(event, end);
    const { parser } = stream;
    stream.tgid = event.tgid;
    stream.cgroup = event.cgroup;
    const exchanges = event.type === "turn" ? parser.turn(event) : parser.chunk(event);
    this.#count(stream);
    if (parser.opaque !== null && !stream.isToldOpaque) {
      stream.isToldOpaque = true;
      this.#options.onOpaque(event.cookie);
    }
    return exchanges;
  }

  /** The role of this end as its bytes tell. */
  roleOf(cookie: bigint): ConnectionParser["role"] {
    return this.#streams.get(cookie)?.parser.role ?? "unknown";
  }

  /** The connection ended: the requests in flight on it, failed; null where there are none. Its last bytes may still follow. */
  end(cookie: bigint, ending: Ending, atNs: number): UnansweredExchanges | null {
    const stream = this.#streams.get(cookie);
    if (stream === undefined || stream.parser.inFlight === 0) return null;
    const { parser, tgid, cgroup } = stream;
    const exchanges = parser.end(ending, atNs);
    this.#count(stream);
    return exchanges.length === 0 ? null : { exchanges, role: parser.role, tgid, cgroup };
  }

  /** The connection is forgotten; what was in flight is given up, counted. */
  close(cookie: bigint): void {
    const stream = this.#streams.get(cookie);
    if (stream === undefined) return;
    this.#streams.delete(cookie);
    stream.parser.close();
    this.#count(stream);
  }

  #streamOf(event: Turn | Chunk, end: ConnectionEnd | null): Stream {
    const known = this.#streams.get(event.cookie);
    if (known !== undefined) {
      // Only while places are scarce is it worth to know who was silent for longest.
      if (this.#streams.size * 2 > this.#options.streamsMax) {
        this.#streams.delete(event.cookie);
        this.#streams.set(event.cookie, known);
      }
      return known;
    }
    if (this.#streams.size >= this.#options.streamsMax) this.#forgetOldest();
    const role = end === null || end.role === "unknown" ? event.role : end.role;
    const port = end === null ? 0 : role === "client" ? end.remote.port : end.local.port;
    const parser = new ConnectionParser({ role, transport: event.transport, port, operations: this.#operationsOf(event) });
    const { tgid, cgroup } = event;
    const stream: Stream = { parser, counted: lostBy(parser), counts: countsOf(parser), isToldOpaque: false, tgid, cgroup };
    this.#streams.set(event.cookie, stream);
    return stream;
  }

  /** Names are bounded by service, so that one that invents names takes no other's. */
  #operationsOf({ tgid, cgroup, atNs }: Turn | Chunk): OperationNames {
    const owner = this.#options.identities.of(tgid, cgroup, atNs)?.key ?? "";
    const known = this.#operations.get(owner);
    if (known !== undefined) return known;
    const operations = new OperationNames();
    const isFull = this.#operations.size >= this.#options.ownersMax;
    const key = isFull ? "" : owner;
    const shared = this.#operations.get(key) ?? operations;
    this.#operations.set(key, shared);
    return shared;
  }

  #forgetOldest(): void {
    for (const cookie of this.#streams.keys()) {
      this.close(cookie);
      this.#options.onCounted("streams-forgotten", 1);
      return;
    }
  }

  /** After every record, most of which lose nothing. */
  #count(stream: Stream): void {
    const counted = lostBy(stream.parser);
    if (counted === stream.counted) return;
    stream.counted = counted;
    const now = countsOf(stream.parser);
    for (const what of losses) {
      const grown = now[what] - stream.counts[what];
      if (grown > 0) this.#options.onCounted(what, grown);
    }
    stream.counts = now;
  }
}

const losses = ["requests-dropped", "answers-orphaned", "pieces-unparseable", "pieces-cut", "stream-records-lost"] as const;

function lostBy({ dropped, orphans, unparseable, cut, lostRecords }: ConnectionParser): number {
  return dropped + orphans + unparseable + cut + lostRecords;
}

function countsOf(parser: ConnectionParser): Record<StreamLoss, number> {
  return {
    "streams-forgotten": 0,
    "requests-dropped": parser.dropped,
    "answers-orphaned": parser.orphans,
    "pieces-unparseable": parser.unparseable,
    "pieces-cut": parser.cut,
    "stream-records-lost": parser.lostRecords,
  };
}

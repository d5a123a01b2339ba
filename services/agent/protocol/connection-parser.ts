import type { Chunk, Role, Transport, Turn } from "../kernel-event.ts";
import type { FirstBytes, Guess } from "./classify.ts";
import { classify, firstBytesMax, isHinted } from "./classify.ts";
import { DnsParser } from "./dns.ts";
import type { Ending, Exchange, ParserCounts, Protocol, Side, StreamParser, StreamPiece, TurnPiece } from "./exchange.ts";
import { flagExisting } from "./exchange.ts";
import { Http1Parser, httpTurn } from "./http1.ts";
import { Http2Parser } from "./http2.ts";
import { KafkaParser } from "./kafka.ts";
import { MysqlParser } from "./mysql.ts";
import type { OperationNames } from "./operation-names.ts";
import { PostgresParser } from "./postgres.ts";
import { RedisParser } from "./redis.ts";

export interface ConnectionParserOptions {
  /** Of this end; `unknown` is found out from the bytes. */
  readonly role: Role;
  readonly transport: Transport;
  /** Of the server end, as a hint; 0 where it is not known. */
  readonly port: number;
  /** Shared by the parsers of one owner, so that names stay bounded. */
  readonly operations: OperationNames;
  /** Pieces in a row that nobody understands before the connection is opaque. */
  readonly unparseableMax?: number;
}

/** The part of a chunk that is read. */
export type ChunkPiece = StreamPiece & Pick<Chunk, "direction" | "sequence" | "role">;
export type TurnRecord = TurnPiece & Pick<Turn, "sequence">;

const unparseableMax = 16;
/** On a port that promises a protocol, large messages that began before the connection was seen may take this many times longer. */
const hintedFactor = 16;
/** Exchanges that agree before a guess from weak signs is believed. */
const agreeingMin = 2;
/** Changes of mind before a protocol is believed, and after. */
const earlyGuessesMax = 3;
const lateGuessesMax = 1;
/** Pieces that wait until there are enough bytes to tell the protocol. */
const waitingPiecesMax = 128;
const none: readonly Exchange[] = [];
const noBytes = new Uint8Array(0);

interface Waiting {
  readonly direction: "received" | "sent";
  readonly piece: StreamPiece;
}

interface Prefix {
  data: Uint8Array;
  bytes: number;
}

/**
 * One connection: finds out what it speaks, feeds the parser of that protocol and answers exchanges. Never throws. When `opaque` is set, the
 * kernel may be told to ignore the connection: nothing will come of it any more.
 */
export class ConnectionParser implements ParserCounts {
  readonly #options: ConnectionParserOptions;
  readonly #unparseableMax: number;
  #role: Role;
  #parser: StreamParser | null = null;
  #guess: Guess | null = null;
  #httpTurns = 0;
  #opaque: string | null = null;
  #agreeing = 0;
  #guesses = 0;
  #lateGuesses = 0;
  /** Exchanges of a guess that is not yet believed. */
  #unconfirmed: Exchange[] = [];
  #waiting: Waiting[] = [];
  #prefixes: Record<"received" | "sent", Prefix> = { received: { data: noBytes, bytes: 0 }, sent: { data: noBytes, bytes: 0 } };
  #start: "beginning" | "middle" | null = null;
  #openingSeen: "yes" | "no" = "no";
  #chunkSequence = 0;
  #turnSequence = 0;
  #unparseableRun = 0;
  #lostRecords = 0;
  readonly #retired = { dropped: 0, orphans: 0, unparseable: 0, cut: 0 };

  constructor(options: ConnectionParserOptions) {
    this.#options = options;
    this.#role = options.role;
    this.#unparseableMax = (options.unparseableMax ?? unparseableMax) * (isHinted(options.port) ? hintedFactor : 1);
  }

  /** Null while it is not believed. */
  get protocol(): Protocol | null {
    if (this.#parser !== null) return this.#believed() ? this.#parser.protocol : null;
    return this.#httpTurns > 0 ? "http" : null;
  }
  /** Role of this end as far as it is known. */
  get role(): Role {
    return this.#role;
  }
  /** Words for people why nothing more is read from this connection, else null. */
  get opaque(): string | null {
    return this.#opaque;
  }
  get inFlight(): number {
    return this.#parser?.inFlight ?? 0;
  }
  get dropped(): number {
    return this.#retired.dropped + (this.#parser?.dropped ?? 0);
  }
  get orphans(): number {
    return this.#retired.orphans + (this.#parser?.orphans ?? 0);
  }
  get unparseable(): number {
    return this.#retired.unparseable + (this.#parser?.unparseable ?? 0);
  }
  get cut(): number {
    return this.#retired.cut + (this.#parser?.cut ?? 0);
  }
  get bufferedBytes(): number {
    const waiting = this.#waiting.reduce((sum, { piece }) => sum + piece.data.length, 0);
    return waiting + (this.#parser?.bufferedBytes ?? 0);
  }
  /** Records that the kernel numbered and that did not arrive. */
  get lostRecords(): number {
    return this.#lostRecords;
  }

  /** A pair from the kernel. */
  turn(turn: TurnRecord): readonly Exchange[] {
    if (this.#opaque !== null) return none;
    if (this.#turnSequence > 0 && turn.sequence > this.#turnSequence + 1) this.#lostRecords += turn.sequence - this.#turnSequence - 1;
    this.#turnSequence = Math.max(this.#turnSequence, turn.sequence);
    const exchange = httpTurn(turn, this.#options.operations);
    if (exchange === null) {
      this.#notUnderstood();
      return none;
    }
    this.#httpTurns += 1;
    this.#unparseableRun = 0;
    return [exchange];
  }

  /** A piece of one direction. */
  chunk(chunk: ChunkPiece): readonly Exchange[] {
    if (this.#opaque !== null || chunk.direction === null) return none;
    if (this.#role === "unknown") this.#role = chunk.role;
    this.#number(chunk);
    if (this.#parser === null) return this.#recognise(chunk, chunk.direction);
    const into: Exchange[] = [];
    const believed = this.#believed();
    this.#feed(this.#parser, { direction: chunk.direction, piece: chunk }, into);
    return this.#confirm(into, believed ? "believed" : "guessed");
  }

  /** The connection ended at this moment: what was owed an answer has failed. Late bytes may follow; they answer nothing any more. */
  end(ending: Ending, atNs: number): readonly Exchange[] {
    if (this.#parser === null || !this.#believed()) return none;
    return this.#parser.takeUnanswered(ending).map((request) => ({
      ...request,
      status: "",
      failed: "yes",
      endNs: Math.max(request.startNs, atNs),
      unanswered: ending,
    }));
  }

  /** The connection is forgotten: what is in flight is given up, counted. */
  close(): void {
    this.#retire();
    this.#waiting = [];
    this.#unconfirmed = [];
  }

  #number(chunk: ChunkPiece): void {
    if (this.#start === null) {
      const beginning = chunk.offset === 0 && chunk.sequence <= 1 && (chunk.flags & flagExisting) === 0 && this.#httpTurns === 0;
      this.#start = beginning ? "beginning" : "middle";
      this.#openingSeen = beginning ? "yes" : "no";
    } else if (chunk.sequence > this.#chunkSequence + 1) {
      this.#lostRecords += chunk.sequence - this.#chunkSequence - 1;
      this.#parser?.lost();
      if (this.#parser === null) this.#forgetWaiting();
    }
    this.#chunkSequence = Math.max(this.#chunkSequence, chunk.sequence);
  }

  /** Pieces wait, in copies, until their bytes say what they are. */
  #recognise(chunk: ChunkPiece, direction: "received" | "sent"): readonly Exchange[] {
    const prefix = this.#prefixes[direction];
    if (prefix.data.length === prefix.bytes && prefix.data.length < firstBytesMax) {
      prefix.data = joined(prefix.data, chunk.data.subarray(0, firstBytesMax * 4));
    }
    prefix.bytes += chunk.bytes;
    this.#waiting.push({ direction, piece: copied(chunk) });
    const first: FirstBytes = { ...this.#options, side: this.#side(direction), data: prefix.data, bytes: prefix.bytes };
    const guess = this.#httpTurns > 0 ? this.#httpGuess(direction) : classify(first);
    if (guess === null) {
      this.#makeOpaque(this.#options.transport === "udp" ? "not DNS" : "encrypted");
      return none;
    }
    if (guess === "unknown") {
      const enough = prefix.bytes >= firstBytesMax || this.#waiting.length >= waitingPiecesMax || this.#options.transport === "udp";
      if (enough) this.#forgetWaiting();
      if (enough) this.#notUnderstood();
      return none;
    }
    return this.#adopt(guess, direction);
  }

  /** The kernel paired HTTP on it until requests overlapped. */
  #httpGuess(direction: "received" | "sent"): Guess | "unknown" {
    const side = this.#side(direction);
    return side === null ? "unknown" : { protocol: "http", side, strength: "sure" };
  }

  #adopt(guess: Guess, direction: "received" | "sent"): readonly Exchange[] {
    const side = this.#side(direction);
    // Who opened the connection is certain where that was seen; for one that was there before, strong signs are better than a guess.
    if (side !== null && side !== guess.side && this.#openingSeen === "yes") {
      this.#forgetWaiting();
      this.#notUnderstood();
      return none;
    }
    if (side !== guess.side) this.#role = (guess.side === "request") === (direction === "received") ? "server" : "client";
    this.#guess = guess;
    this.#guesses += 1;
    this.#agreeing = 0;
    const parser = this.#createParser(guess.protocol);
    this.#parser = parser;
    const waiting = this.#waiting;
    this.#forgetWaiting();
    const into: Exchange[] = [];
    for (const item of waiting) if (this.#parser === parser) this.#feed(parser, item, into);
    return this.#confirm(into, guess.strength === "sure" ? "believed" : "guessed");
  }

  #feed(parser: StreamParser, item: Waiting, into: Exchange[]): void {
    const side = this.#side(item.direction);
    if (side === null) return;
    const before = parser.unparseable;
    const exchanges = into.length;
    parser.feed(side, item.piece, into);
    if (parser.opaque !== null) this.#makeOpaque(parser.opaque);
    else if (parser.unparseable > before) this.#contradicted(item);
    else if (into.length > exchanges) this.#unparseableRun = 0;
  }

  /** The bytes are not what they were thought to be: another guess, if this one is good for one. */
  #contradicted(item: Waiting): void {
    const believed = this.#believed();
    const left = believed ? this.#lateGuesses < lateGuessesMax : this.#guesses < earlyGuessesMax;
    const side = this.#side(item.direction);
    const again = left ? classify({ ...this.#options, side, data: item.piece.data, bytes: item.piece.bytes }) : "unknown";
    const other = again !== null && again !== "unknown" && again.protocol !== this.#guess?.protocol;
    if (!other && (believed || !left)) {
      this.#countRun();
      return;
    }
    if (believed) this.#lateGuesses += 1;
    this.#retire();
    this.#start = "middle";
    if (!other) this.#countRun();
  }

  #confirm(exchanges: Exchange[], before: "believed" | "guessed"): readonly Exchange[] {
    if (exchanges.length === 0) return none;
    this.#agreeing += exchanges.length;
    if (before === "believed") return exchanges;
    this.#unconfirmed.push(...exchanges);
    if (!this.#believed()) return none;
    const confirmed = this.#unconfirmed;
    this.#unconfirmed = [];
    return confirmed;
  }

  #believed(): boolean {
    return this.#guess?.strength === "sure" || this.#agreeing >= agreeingMin;
  }

  #side(direction: "received" | "sent"): Side | null {
    if (this.#role === "unknown") return null;
    return (this.#role === "server") === (direction === "received") ? "request" : "response";
  }

  #createParser(protocol: Protocol): StreamParser {
    const { operations, transport } = this.#options;
    const options = { operations, role: this.#role, start: this.#start ?? "middle" };
    switch (protocol) {
      case "http":
        return new Http1Parser(options);
      case "http2":
      case "grpc":
        return new Http2Parser(options);
      case "redis":
        return new RedisParser(options);
      case "postgresql":
        return new PostgresParser(options);
      case "mysql":
        return new MysqlParser(options);
      case "kafka":
        return new KafkaParser(options);
      case "dns":
        return new DnsParser({ operations, start: options.start, transport: transport === "udp" ? "udp" : "tcp" });
    }
  }

  #notUnderstood(): void {
    this.#retired.unparseable += 1;
    this.#start = "middle";
    this.#countRun();
  }

  #countRun(): void {
    this.#unparseableRun += 1;
    if (this.#unparseableRun >= this.#unparseableMax) this.#makeOpaque("not recognised");
  }

  #forgetWaiting(): void {
    this.#waiting = [];
    this.#prefixes = { received: { data: noBytes, bytes: 0 }, sent: { data: noBytes, bytes: 0 } };
  }

  #makeOpaque(reason: string): void {
    this.#opaque = reason;
    this.#retire();
    this.#forgetWaiting();
  }

  #retire(): void {
    const parser = this.#parser;
    this.#parser = null;
    this.#guess = null;
    this.#agreeing = 0;
    this.#retired.dropped += this.#unconfirmed.length;
    this.#unconfirmed = [];
    if (parser === null) return;
    parser.close();
    this.#retired.dropped += parser.dropped;
    this.#retired.orphans += parser.orphans;
    this.#retired.unparseable += parser.unparseable;
    this.#retired.cut += parser.cut;
  }
}

function copied(chunk: StreamPiece): StreamPiece {
  return { atNs: chunk.atNs, offset: chunk.offset, bytes: chunk.bytes, flags: chunk.flags, data: new Uint8Array(chunk.data) };
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first, 0);
  whole.set(second, first.length);
  return whole;
}

import type { Role } from "../kernel-event.ts";
import { CountingParser } from "./counting-parser.ts";
import type { Ending, Exchange, OpenRequest, Protocol, Side, StreamParser, StreamPiece } from "./exchange.ts";
import { flagGap, inFlightMax } from "./exchange.ts";
import { InFlight } from "./in-flight.ts";
import type { StreamBytes } from "./stream-bytes.ts";

/** A request that waits for its answer. */
export interface PendingRequest {
  readonly operation: string;
  readonly startNs: number;
  readonly requestBytes: number;
}

interface Answer {
  readonly status: string;
  readonly failed: "yes" | "no";
  readonly atNs: number;
  readonly bytes: number;
}

export interface FifoOptions {
  /** Of the end whose bytes are fed. */
  readonly role: Role;
  /** `beginning`: both directions are seen from their first byte. `middle`: requests may be in flight already. */
  readonly start: "beginning" | "middle";
}

/** Exchanges, or alternations of one request piece and its answer in a lost stream, after which a client counts as serial. */
const serialExchangesMin = 16;
const serialAlternationsMin = 64;
/** Silence that proves that nothing is in flight: a multiple of the longest recent latency, within bounds. */
const quietFactor = 4;
const quietNsMin = 1_000_000;
const quietNsMax = 1_000_000_000;
const quietNsUnknown = 10_000_000;
/** Per exchange; the longest recent latency is forgotten by half in about 700 exchanges. */
const latencyKept = 0.999;
/** Answers that came before the record of their request: two threads of a process, of which one writes and one reads. */
const earlyMax = 16;
const earlyNsMax = 2_000_000;

/**
 * Protocols that answer in order: the oldest request gets the next answer. Bytes that nobody captured never shift that: what they may have
 * hidden is given up. Three states:
 * - `synchronous`: every request in flight is known;
 * - `draining`: bytes of requests are missing, so the known requests still get their answers and later ones are passed over;
 * - `lost`: nothing is in flight as far as it is known. It ends at a piece that begins a request when nothing can be in flight: the client
 *   never overlapped its requests, or the server has answered everything it read, or the connection was quiet for long enough.
 */
export abstract class FifoParser<P extends PendingRequest> extends CountingParser implements StreamParser {
  abstract readonly protocol: Protocol;
  protected readonly pending = new InFlight<P>();
  /** This server reads the next requests only when it has answered those it read before. */
  protected abstract readonly serialServer: boolean;
  /** Pending entries that are no requests of their own (a Sync). */
  protected uncounted = 0;
  #state: "synchronous" | "draining" | "lost";
  readonly #role: Role;
  #suspectRequests = false;
  #suspectResponses = false;
  #lastSide: Side | null = null;
  #lastNs = 0;
  #responseNs = 0;
  #latencyNs = 0;
  #completed = 0;
  #overlapped = false;
  #alternations = 0;
  #early: Answer[] = [];
  #everLost = false;

  constructor(options: FifoOptions) {
    super();
    this.#role = options.role;
    this.#state = options.start === "beginning" ? "synchronous" : "lost";
    this.#everLost = options.start === "middle";
    if (options.start === "beginning") {
      this.requests.expected = 0;
      this.responses.expected = 0;
    }
  }

  get inFlight(): number {
    return this.pending.length - this.uncounted;
  }

  /** Whether a request that comes now comes before the answer to an earlier one. */
  protected overlaps(): boolean {
    return this.pending.length > 0;
  }

  /** Reads whole messages; false when the bytes are none of this protocol. */
  protected abstract readRequests(atNs: number, into: Exchange[]): boolean;
  protected abstract readResponses(atNs: number, into: Exchange[]): boolean;
  /** Whether a piece looks like the first bytes of a request. */
  protected abstract beginsRequest(data: Uint8Array): boolean;
  /** Forgets half-read messages. */
  protected abstract resetReaders(): void;
  /** The request whose rest is hidden: accept it if its name is known. */
  protected abstract cutRequest(atNs: number, into: Exchange[]): void;
  /**
   * The answer whose rest is hidden (`cut`: in a piece of which the beginning was seen; `hole`: in records that were lost): complete the
   * oldest request if its status is known.
   */
  protected abstract cutResponse(how: "cut" | "hole", atNs: number, into: Exchange[]): void;

  feed(side: Side, piece: StreamPiece, into: Exchange[]): void {
    if (this.opaque !== null) return;
    const stream = side === "request" ? this.requests : this.responses;
    const gap = stream.expected < 0 ? 0 : piece.offset - stream.expected;
    // A piece that arrives after a later one of its direction: what it holds was given up as a hole.
    if (gap < 0) return;
    const known = stream.expected >= 0 || !this.#suspectRequests;
    const follows = gap === 0 && known && (piece.flags & flagGap) === 0 ? "follows" : "hole";
    this.#holes(side, stream, gap, piece, into);
    stream.expected = piece.offset + piece.bytes;
    if (this.#accepts(side, piece, follows)) this.#read(side, stream, piece, into);
    this.#lastSide = side;
    this.#lastNs = piece.atNs;
    if (side === "response") this.#responseNs = piece.atNs;
  }

  lost(): void {
    this.#suspectRequests = true;
    this.#suspectResponses = true;
  }

  takeUnanswered(_ending: Ending): OpenRequest[] {
    if (this.opaque !== null || this.#state === "lost" || this.#suspectRequests || this.#suspectResponses) return [];
    const inFlight = this.inFlight;
    const open: OpenRequest[] = [];
    for (let request = this.pending.shift(); request !== undefined; request = this.pending.shift()) {
      const owed = this.unanswered(request);
      if (owed !== null) open.push(owed);
    }
    this.uncounted = 0;
    this.counts.dropped += inFlight - open.length;
    return open;
  }

  /** What is told of a request that its connection took along; null of one that is owed nothing. */
  protected unanswered({ operation, startNs, requestBytes }: P): OpenRequest | null {
    return { protocol: this.protocol, operation, startNs, requestBytes, responseBytes: 0 };
  }

  close(): void {
    this.#forget();
    this.requests.reset();
    this.responses.reset();
    this.#early = [];
  }

  /** A request that will be answered. At the bound, the known ones are still answered and the rest is given up. */
  protected accept(request: P, into: Exchange[]): void {
    if (this.#early.length > 0 && this.pending.length === 0 && this.#completeEarly(request, into)) return;
    if (this.#state === "draining" || this.pending.length >= inFlightMax) {
      this.#state = "draining";
      this.counts.dropped += 1;
      return;
    }
    if (this.overlaps() && !this.#suspectRequests && !this.#suspectResponses) this.#overlapped = true;
    this.pending.push(request);
  }

  /** The oldest request is answered. Without one, the answer may have overtaken the record of its request. */
  protected complete(answer: Answer, into: Exchange[]): void {
    const request = this.pending.shift();
    if (request !== undefined) {
      into.push(this.exchange(request, answer));
      return;
    }
    if (this.#everLost || this.#early.length >= earlyMax) {
      this.counts.orphans += 1;
      // Something was in flight when it was thought that nothing could be.
      if (this.#everLost) {
        this.#overlapped = true;
        this.lose();
      }
      return;
    }
    this.#early.push(answer);
  }

  protected exchange(request: PendingRequest, answer: Answer): Exchange {
    const startNs = Math.min(request.startNs, answer.atNs);
    this.#latencyNs = Math.max(answer.atNs - startNs, this.#latencyNs * latencyKept);
    this.#completed += 1;
    return {
      protocol: this.protocol,
      operation: request.operation,
      status: answer.status,
      failed: answer.failed,
      startNs,
      endNs: answer.atNs,
      requestBytes: request.requestBytes,
      responseBytes: answer.bytes,
    };
  }

  protected orphan(): void {
    this.counts.orphans += 1;
  }

  protected lose(): void {
    this.#forget();
    this.requests.reset();
    this.responses.reset();
    this.resetReaders();
    this.#early = [];
    this.#state = "lost";
    this.#everLost = true;
    this.#alternations = 0;
  }

  #forget(): void {
    this.counts.dropped += this.inFlight;
    this.uncounted = 0;
    this.pending.clear();
  }

  #holes(side: Side, stream: StreamBytes, gap: number, piece: StreamPiece, into: Exchange[]): void {
    const unknownGap = (piece.flags & flagGap) !== 0 && gap === 0;
    const suspect = side === "request" ? this.#suspectRequests : this.#suspectResponses;
    if (this.#state === "synchronous" && suspect && side === "request" && gap === 0) this.#answerMissing(piece);
    // What was seen of a message was seen before the hole.
    const seenNs = side === "response" ? this.#responseNs : piece.atNs;
    if (this.#state !== "lost") {
      if (gap > 0) {
        stream.push(new Uint8Array(0), gap);
        if (stream.hidden > 0) this.#cutOff({ side, how: "hole" }, seenNs, into);
      } else if (unknownGap || (suspect && stream.expected < 0)) {
        this.#cutOff({ side, how: "hole" }, seenNs, into);
      }
    }
    if (side === "request") this.#suspectRequests = false;
    else this.#suspectResponses = false;
  }

  /** A serial client asks again, or a serial server reads on, although no answer was seen: it was in the lost records. */
  #answerMissing(piece: StreamPiece): void {
    const boundary = this.requests.available === 0 && this.requests.toSkip === 0;
    const serial = this.#serial() || (this.serialServer && this.#role === "server");
    if (this.pending.length === 0 || this.#lastSide !== "request" || !boundary || !serial || !this.beginsRequest(piece.data)) return;
    this.lose();
    this.#lastSide = "response";
  }

  /** Whether the piece may be read; decides how a lost stream finds back. */
  #accepts(side: Side, piece: StreamPiece, follows: "follows" | "hole"): boolean {
    if (this.#state === "synchronous") return true;
    if (this.#state === "draining") {
      if (side === "response") return true;
      if (!this.beginsRequest(piece.data)) return false;
      this.counts.dropped += 1;
      if (!this.#suspectResponses) this.#overlapped = true;
      return false;
    }
    if (side === "response") return false;
    const begins = this.beginsRequest(piece.data);
    if (this.#lastSide === "response") this.#alternations = begins ? this.#alternations + 1 : 0;
    else if (this.#lastSide === "request") this.#alternations = 0;
    if (begins && this.#nothingInFlight(piece.atNs, follows)) {
      this.#state = "synchronous";
      if (this.#suspectResponses) this.responses.expected = -1;
      this.#suspectResponses = false;
      return true;
    }
    if (begins) this.counts.dropped += 1;
    return false;
  }

  #nothingInFlight(atNs: number, follows: "follows" | "hole"): boolean {
    if (this.#serial()) return true;
    // Requests that were lost right before this one wait for their answers.
    if (this.#lastSide !== "response" || follows === "hole") return false;
    if (this.serialServer && this.#role === "server") return true;
    const quietNs = this.#completed === 0 ? quietNsUnknown : Math.min(quietNsMax, Math.max(quietNsMin, this.#latencyNs * quietFactor));
    return atNs - this.#lastNs >= quietNs;
  }

  #serial(): boolean {
    if (this.#overlapped) return false;
    return this.#completed >= serialExchangesMin || this.#alternations >= serialAlternationsMin;
  }

  #read(side: Side, stream: StreamBytes, piece: StreamPiece, into: Exchange[]): void {
    if (!stream.push(piece.data, piece.bytes)) {
      this.counts.unparseable += 1;
      this.lose();
      return;
    }
    const ok = side === "request" ? this.readRequests(piece.atNs, into) : this.readResponses(piece.atNs, into);
    if (this.opaque !== null || this.#state === "lost") return;
    if (!ok) {
      this.counts.unparseable += 1;
      this.lose();
      return;
    }
    if (stream.hidden > 0) this.#cutOff({ side, how: "cut" }, piece.atNs, into);
    else if (!stream.keep()) this.lose();
    if (this.#state === "draining" && this.pending.length === 0) this.lose();
  }

  /** The framing of one direction is gone. */
  #cutOff(cut: { side: Side; how: "cut" | "hole" }, atNs: number, into: Exchange[]): void {
    if (cut.how === "cut") this.counts.cut += 1;
    if (cut.side === "response") {
      this.cutResponse(cut.how, atNs, into);
      this.lose();
      return;
    }
    this.cutRequest(atNs, into);
    this.requests.reset();
    if (this.pending.length === 0) this.lose();
    else this.#state = "draining";
  }

  #completeEarly(request: P, into: Exchange[]): boolean {
    while (this.#early.length > 0) {
      const answer = this.#early.shift();
      if (answer === undefined) return false;
      if (request.startNs - answer.atNs <= earlyNsMax) {
        into.push(this.exchange(request, answer));
        return true;
      }
      this.counts.orphans += 1;
    }
    return false;
  }
}

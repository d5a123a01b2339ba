import { CountingParser } from "./counting-parser.ts";
import type { Ending, Exchange, OpenRequest, Protocol, Side, StreamParser, StreamPiece } from "./exchange.ts";
import { flagGap, inFlightMax } from "./exchange.ts";
import type { StreamBytes } from "./stream-bytes.ts";

/** A request without an answer is given up after this long. */
const waitNsMax = 120_000_000_000;

/** A request that waits for its answer. */
interface FramedRequest {
  readonly operation: string;
  readonly startNs: number;
  readonly requestBytes: number;
}

/**
 * Protocols whose answers carry the id of their request: a hole costs only the messages in it. Framing lost on one side is found again at
 * a piece that begins with a plausible message; the answers of requests that were never seen are orphans.
 */
export abstract class FramedParser<P extends FramedRequest> extends CountingParser implements StreamParser {
  abstract readonly protocol: Protocol;
  /** In order of arrival. */
  protected readonly pending = new Map<number, P>();
  readonly #astray = { request: false, response: false };
  #heardNs = 0;
  /** The answers of requests that began until then may have been among what was lost. */
  #doubtfulNs = -1;

  constructor(options: { readonly start: "beginning" | "middle" }) {
    super();
    const beginning = options.start === "beginning";
    this.requests.expected = beginning ? 0 : -1;
    this.responses.expected = beginning ? 0 : -1;
    this.#astray.request = !beginning;
    this.#astray.response = !beginning;
  }

  get inFlight(): number {
    return this.pending.size;
  }

  /** Reads whole messages; false when the bytes are none of this protocol. */
  protected abstract read(side: Side, atNs: number, into: Exchange[]): boolean;
  /** Whether a piece looks like the first bytes of a message. */
  protected abstract begins(side: Side, data: Uint8Array): boolean;
  /** The framing of a side is gone; what depends on earlier bytes of it is no longer known. */
  protected abstract strayed(side: Side): void;

  feed(side: Side, piece: StreamPiece, into: Exchange[]): void {
    if (this.opaque !== null) return;
    const stream = side === "request" ? this.requests : this.responses;
    const gap = stream.expected < 0 ? 0 : piece.offset - stream.expected;
    if (gap < 0) return;
    stream.expected = piece.offset + piece.bytes;
    this.#heardNs = piece.atNs;
    this.#expire(piece.atNs);
    if (!this.#astray[side]) this.#hole(side, stream, gap, piece);
    if (this.#astray[side]) {
      if (!this.begins(side, piece.data)) return;
      this.#astray[side] = false;
    }
    const ok = stream.push(piece.data, piece.bytes) && this.read(side, piece.atNs, into);
    if (this.opaque !== null) return;
    if (!ok) {
      this.counts.unparseable += 1;
      this.#stray(side);
    } else if (stream.hidden > 0) {
      this.counts.cut += 1;
      this.#stray(side);
    } else if (!stream.keep()) {
      this.counts.unparseable += 1;
      this.#stray(side);
    }
  }

  lost(): void {
    // Offsets tell where, and ids keep pairs right.
    this.#doubtfulNs = this.#heardNs;
  }

  takeUnanswered(ending: Ending): OpenRequest[] {
    if (this.opaque !== null || this.#astray.request || this.#astray.response) return [];
    const open: OpenRequest[] = [];
    for (const [id, request] of this.pending) {
      const owed = request.startNs > this.#doubtfulNs ? this.unanswered(request, ending) : null;
      if (owed === null) continue;
      this.pending.delete(id);
      open.push(owed);
    }
    return open;
  }

  /** What is told of a request that its connection took along; null of one that is owed nothing. */
  protected unanswered({ operation, startNs, requestBytes }: P, _ending: Ending): OpenRequest | null {
    return { protocol: this.protocol, operation, startNs, requestBytes, responseBytes: 0 };
  }

  close(): void {
    this.counts.dropped += this.pending.size;
    this.pending.clear();
    this.requests.reset();
    this.responses.reset();
  }

  /** At the bound the oldest request is given up. An id that is used again replaces what waited under it. */
  protected accept(id: number, request: P): void {
    if (this.pending.delete(id)) this.counts.dropped += 1;
    if (this.pending.size >= inFlightMax) {
      const oldest = this.pending.keys().next().value;
      if (oldest !== undefined) this.pending.delete(oldest);
      this.counts.dropped += 1;
    }
    this.pending.set(id, request);
  }

  /** The request that waits under this id, or undefined, which is counted. */
  protected take(id: number): P | undefined {
    const request = this.pending.get(id);
    if (request === undefined) this.counts.orphans += 1;
    else this.pending.delete(id);
    return request;
  }

  #hole(side: Side, stream: StreamBytes, gap: number, piece: StreamPiece): void {
    if (gap > 0) {
      stream.push(new Uint8Array(0), gap);
      if (stream.hidden > 0) this.#stray(side);
    } else if ((piece.flags & flagGap) !== 0) {
      this.#stray(side);
    }
  }

  #stray(side: Side): void {
    (side === "request" ? this.requests : this.responses).reset();
    this.#astray[side] = true;
    this.#doubtfulNs = this.#heardNs;
    this.strayed(side);
  }

  #expire(atNs: number): void {
    for (const [id, request] of this.pending) {
      if (atNs - request.startNs <= waitNsMax) return;
      this.pending.delete(id);
      this.counts.dropped += 1;
    }
  }
}

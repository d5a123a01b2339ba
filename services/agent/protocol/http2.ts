import type { Role } from "../kernel-event.ts";
import type { Ending, Exchange, OpenRequest, Protocol, Side } from "./exchange.ts";
import { headerBytesMax } from "./exchange.ts";
import { FramedParser } from "./framed-parser.ts";
import type { HeaderBlock } from "./hpack.ts";
import { HpackDecoder } from "./hpack.ts";
import type { OperationNames } from "./operation-names.ts";
import { pathPattern } from "./path-pattern.ts";
import { readInt32 } from "./postgres-message.ts";

interface Http2Stream {
  readonly startNs: number;
  operation: string;
  grpc: "yes" | "no";
  /** Of HTTP, empty before the answer's headers. */
  status: string;
  grpcStatus: string;
  /** Headers of the answer that came before the decoder saw the connection. */
  unseen: number;
  requestBytes: number;
  responseBytes: number;
}

const preface = Uint8Array.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (character) => character.charCodeAt(0));
const frameHeader = 9;
const frame = { data: 0, headers: 1, reset: 3, settings: 4, pushPromise: 5, ping: 6, goAway: 7, windowUpdate: 8, continuation: 9 } as const;
const flag = { endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;
/** What peers may agree on at most is 16 MiB; nobody does more than this. */
const frameBytesMax = 1_048_576;
/** Frames with a size of their own, by type. */
const fixedSizes: Readonly<Record<number, number>> = { 2: 5, [frame.reset]: 4, [frame.ping]: 8, [frame.windowUpdate]: 4 };
/** gRPC codes for which the server is to blame: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. */
const grpcServerFailures = new Set(["2", "4", "12", "13", "14", "15"]);
const noError = 0;
const cancel = 8;

/** A header block that goes on in CONTINUATION frames. */
interface OpenBlock {
  readonly stream: number;
  readonly ends: boolean;
  readonly promise: boolean;
  readonly bytes: Uint8Array;
  length: number;
}

/**
 * HTTP/2 without TLS, and gRPC in it. An exchange ends with the answer's END_STREAM; gRPC takes its status from the trailers and names its
 * operation by service and method, other HTTP its method and masked path. A stream that was reset ends with `RESET`, or `CANCELLED` by the
 * client. Names and values that were sent before the connection was seen are unknown: the operation is then `other`, the status `unknown`.
 */
export class Http2Parser extends FramedParser<Http2Stream> {
  readonly protocol: Protocol = "http2";
  readonly #operations: OperationNames;
  readonly #role: Role;
  readonly #decoders: Readonly<Record<Side, HpackDecoder>>;
  readonly #open: Record<Side, OpenBlock | null> = { request: null, response: null };
  #prefaceLeft: number;

  constructor(options: { start: "beginning" | "middle"; role: Role; operations: OperationNames }) {
    super(options);
    this.#operations = options.operations;
    this.#role = options.role;
    this.#prefaceLeft = options.start === "beginning" ? preface.length : 0;
    this.#decoders = { request: new HpackDecoder(options), response: new HpackDecoder(options) };
  }

  override get bufferedBytes(): number {
    return super.bufferedBytes + (this.#open.request?.length ?? 0) + (this.#open.response?.length ?? 0);
  }

  protected read(side: Side, atNs: number, into: Exchange[]): boolean {
    const stream = side === "request" ? this.requests : this.responses;
    while (stream.at < stream.end) {
      const { data, at } = stream;
      if (side === "request" && this.#prefaceLeft > 0) {
        if (data[at] !== preface[preface.length - this.#prefaceLeft]) return false;
        this.#prefaceLeft -= 1;
        stream.skip(1);
        continue;
      }
      if (stream.available < frameHeader) return true;
      if (!isFrame(data, at)) return false;
      const length = readInt32(data, at) >>> 8;
      const type = data[at + 3] ?? 0;
      const wanted = wantedBytes(type, length);
      if (wanted > headerBytesMax) return false;
      if (stream.available < frameHeader + wanted && stream.hidden === 0) return true;
      if (stream.available < frameHeader + wanted) {
        stream.skip(frameHeader + length);
        if (!this.#hiddenFrame(frameAt(data, at, { side, length, atNs }), into)) return false;
        continue;
      }
      stream.skip(frameHeader + length);
      if (!this.#frame(frameAt(data, at, { side, length, atNs }), into)) return false;
    }
    return true;
  }

  protected begins(side: Side, data: Uint8Array): boolean {
    if (side === "request" && beginsHttp2(data)) {
      this.#prefaceLeft = preface.length;
      return true;
    }
    return data.length >= frameHeader && isFrame(data, 0);
  }

  protected strayed(side: Side): void {
    this.#prefaceLeft = side === "request" ? 0 : this.#prefaceLeft;
    this.#open[side] = null;
    this.#decoders[side].miss();
    // Ids keep pairs right, but what ended in the gap waits in vain, and a status may have been in it.
    if (side === "response") for (const stream of this.pending.values()) stream.unseen += 1;
  }

  /** An answer that has begun may be a stream of messages, which a close ends like any other. */
  protected override unanswered(stream: Http2Stream, ending: Ending): OpenRequest | null {
    if (stream.unseen > 0 || (stream.status !== "" && ending === "closed")) return null;
    const { operation, startNs, requestBytes, responseBytes } = stream;
    return { protocol: stream.grpc === "yes" ? "grpc" : "http2", operation, startNs, requestBytes, responseBytes };
  }

  /** The rest of a header block is hidden, and with it the state of the decoder; its stream and its end are known all the same. */
  #hiddenFrame(seen: Frame, into: Exchange[]): boolean {
    this.#decoders[seen.side].miss();
    if (seen.type !== frame.headers || (seen.flags & flag.endHeaders) === 0 || this.#open[seen.side] !== null) return false;
    const nothing: HeaderBlock = { fields: new Map(), unseen: 1 };
    const ends = (seen.flags & flag.endStream) !== 0;
    if (seen.side === "request") this.#request(nothing, seen);
    else this.#response(nothing, ends, seen, into);
    return true;
  }

  #frame(seen: Frame, into: Exchange[]): boolean {
    const open = this.#open[seen.side];
    if (open !== null && (seen.type !== frame.continuation || seen.id !== open.stream)) return false;
    switch (seen.type) {
      case frame.headers:
      case frame.pushPromise:
        return this.#headers(seen, into);
      case frame.continuation:
        return open !== null && this.#append(open, seen, into);
      case frame.data:
        return this.#data(seen, into);
      case frame.reset:
        this.#reset(seen, into);
        return true;
      case frame.goAway:
        this.#goAway(seen);
        return true;
      default:
        return true;
    }
  }

  #headers(seen: Frame, into: Exchange[]): boolean {
    const { data } = seen.side === "request" ? this.requests : this.responses;
    let from = seen.from;
    let to = seen.from + seen.length;
    if (seen.id === 0) return false;
    if ((seen.flags & flag.padded) !== 0) {
      to -= data[from] ?? 0;
      from += 1;
    }
    const promise = seen.type === frame.pushPromise;
    if (promise) from += 4;
    else if ((seen.flags & flag.priority) !== 0) from += 5;
    if (from > to) return false;
    const ends = !promise && (seen.flags & flag.endStream) !== 0;
    if ((seen.flags & flag.endHeaders) === 0) {
      const bytes = new Uint8Array(headerBytesMax);
      bytes.set(data.subarray(from, to), 0);
      this.#open[seen.side] = { stream: seen.id, ends, promise, bytes, length: to - from };
      this.#countBytes(seen.side, data, seen.from - frameHeader, seen.length);
      return true;
    }
    return this.#block({ data, from, to, ends, promise }, seen, into);
  }

  #append(open: OpenBlock, seen: Frame, into: Exchange[]): boolean {
    const { data } = seen.side === "request" ? this.requests : this.responses;
    if (open.length + seen.length > headerBytesMax) return false;
    open.bytes.set(data.subarray(seen.from, seen.from + seen.length), open.length);
    open.length += seen.length;
    if ((seen.flags & flag.endHeaders) === 0) return true;
    this.#open[seen.side] = null;
    return this.#block({ data: open.bytes, from: 0, to: open.length, ends: open.ends, promise: open.promise }, seen, into);
  }

  #block(block: Block, seen: Frame, into: Exchange[]): boolean {
    const headers = this.#decoders[seen.side].decode(block.data, block.from, block.to);
    if (headers === null) return false;
    // A promise belongs to the table, not to an exchange that anybody asked for.
    if (block.promise) return true;
    if (seen.side === "request") this.#request(headers, seen);
    else this.#response(headers, block.ends, seen, into);
    return true;
  }

  #request(headers: HeaderBlock, seen: Frame): void {
    const known = this.pending.get(seen.id);
    if (known !== undefined) {
      known.requestBytes += seen.length + frameHeader;
      return;
    }
    if (seen.id % 2 === 0) return;
    const grpc = headers.fields.get("content-type")?.startsWith("application/grpc") === true;
    this.accept(seen.id, {
      startNs: seen.atNs,
      operation: this.#operation(headers, grpc ? "grpc" : "http"),
      grpc: grpc ? "yes" : "no",
      status: "",
      grpcStatus: "",
      unseen: 0,
      requestBytes: seen.length + frameHeader,
      responseBytes: 0,
    });
  }

  #operation(headers: HeaderBlock, kind: "grpc" | "http"): string {
    const path = headers.fields.get(":path");
    if (path === undefined) return "other";
    if (kind === "grpc") return /^\/[\w.$]{1,100}\/\w{1,100}$/.test(path) ? this.#operations.name(path.slice(1)) : "other";
    const bytes = Uint8Array.from(path, (character) => character.charCodeAt(0));
    const pattern = pathPattern(bytes, 0, bytes.length);
    const method = headers.fields.get(":method") ?? "";
    if (!/^[A-Z]{3,10}$/.test(method)) return "other";
    return this.#operations.name(`${method} ${this.#operations.text(pattern.bytes, 0, pattern.length)}`);
  }

  #response(headers: HeaderBlock, ends: boolean, seen: Frame, into: Exchange[]): void {
    const stream = this.pending.get(seen.id);
    if (stream === undefined) {
      if (ends) this.take(seen.id);
      return;
    }
    stream.responseBytes += seen.length + frameHeader;
    stream.unseen += headers.unseen;
    const status = headers.fields.get(":status");
    if (status !== undefined && !status.startsWith("1")) stream.status = /^[2-5]\d\d$/.test(status) ? status : "unknown";
    const grpcStatus = headers.fields.get("grpc-status");
    if (grpcStatus !== undefined) stream.grpcStatus = /^1?\d$/.test(grpcStatus) ? grpcStatus : "unknown";
    if (headers.fields.get("content-type")?.startsWith("application/grpc") === true) stream.grpc = "yes";
    if (ends) this.#end(seen, into);
  }

  #data(seen: Frame, into: Exchange[]): boolean {
    if (seen.id === 0) return false;
    const stream = this.pending.get(seen.id);
    if (stream === undefined) return true;
    if (seen.side === "request") {
      stream.requestBytes += seen.length + frameHeader;
      return true;
    }
    stream.responseBytes += seen.length + frameHeader;
    if ((seen.flags & flag.endStream) !== 0) this.#end(seen, into);
    return true;
  }

  #end(seen: Frame, into: Exchange[]): void {
    const stream = this.take(seen.id);
    if (stream === undefined) return;
    const grpc = stream.grpc === "yes" || stream.grpcStatus !== "";
    // Without a status in sight that nevertheless may have been there, nothing is said; where all was seen, its absence is UNKNOWN (2).
    const absent = stream.unseen > 0 ? "unknown" : stream.status === "200" ? "2" : stream.status;
    const status = grpc ? stream.grpcStatus || absent : stream.status;
    this.#emit(stream, { status: status === "" ? "unknown" : status, grpc, atNs: seen.atNs }, into);
  }

  #emit(stream: Http2Stream, end: { status: string; grpc: boolean; atNs: number }, into: Exchange[]): void {
    into.push({
      protocol: end.grpc ? "grpc" : "http2",
      operation: stream.operation,
      status: end.status,
      failed: this.#failed(end),
      startNs: stream.startNs,
      endNs: end.atNs,
      requestBytes: stream.requestBytes,
      responseBytes: stream.responseBytes,
    });
  }

  #failed(end: { status: string; grpc: boolean }): "yes" | "no" {
    if (end.status === "unknown" || end.status === "CANCELLED") return "no";
    if (end.status === "RESET") return "yes";
    if (!end.grpc || end.status.length === 3) return end.status.startsWith("5") ? "yes" : "no";
    if (this.#role === "client") return end.status === "0" ? "no" : "yes";
    return grpcServerFailures.has(end.status) ? "yes" : "no";
  }

  #reset(seen: Frame, into: Exchange[]): void {
    const stream = this.pending.get(seen.id);
    if (stream === undefined) return;
    this.pending.delete(seen.id);
    const { data } = seen.side === "request" ? this.requests : this.responses;
    const code = readInt32(data, seen.from);
    const cancelled = seen.side === "request" && (code === cancel || code === noError);
    this.#emit(stream, { status: cancelled ? "CANCELLED" : "RESET", grpc: stream.grpc === "yes", atNs: seen.atNs }, into);
  }

  /** Streams above the last one that the server will answer are given up; clients try them again elsewhere. */
  #goAway(seen: Frame): void {
    if (seen.side !== "response" || seen.length < 8) return;
    const last = readInt32(this.responses.data, seen.from) & 0x7fff_ffff;
    for (const id of this.pending.keys()) {
      if (id <= last) continue;
      this.pending.delete(id);
      this.drop(1);
    }
  }

  #countBytes(side: Side, data: Uint8Array, at: number, length: number): void {
    const stream = this.pending.get(readInt32(data, at + 5) & 0x7fff_ffff);
    if (stream === undefined) return;
    if (side === "request") stream.requestBytes += length + frameHeader;
    else stream.responseBytes += length + frameHeader;
  }
}

interface Frame {
  readonly side: Side;
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  /** Where its payload begins in the stream's data. */
  readonly from: number;
  readonly length: number;
  readonly atNs: number;
}

interface Block {
  readonly data: Uint8Array;
  readonly from: number;
  readonly to: number;
  readonly ends: boolean;
  readonly promise: boolean;
}

function frameAt(data: Uint8Array, at: number, known: { side: Side; length: number; atNs: number }): Frame {
  const id = readInt32(data, at + 5) & 0x7fff_ffff;
  return { ...known, type: data[at + 3] ?? 0, flags: data[at + 4] ?? 0, id, from: at + frameHeader };
}

/** The bytes begin with the client's preface, as far as they go; at least eight of them. */
export function beginsHttp2(data: Uint8Array): boolean {
  const length = Math.min(data.length, preface.length);
  for (let at = 0; at < length; at += 1) if (data[at] !== preface[at]) return false;
  return length >= 8;
}

/** Whether nine bytes are a frame's header that any peer would send. */
function isFrame(data: Uint8Array, at: number): boolean {
  const length = readInt32(data, at) >>> 8;
  const type = data[at + 3] ?? 0;
  if (type > 16 || length > frameBytesMax || (data[at + 5] ?? 0) >= 128) return false;
  const fixed = fixedSizes[type];
  if (fixed !== undefined && fixed !== length) return false;
  const connection = (readInt32(data, at + 5) & 0x7fff_ffff) === 0;
  if (type === frame.settings) return connection && length % 6 === 0;
  if (type === frame.ping || type === frame.goAway) return connection;
  return type === frame.windowUpdate || type > frame.continuation || !connection;
}

/** Bytes of a frame's payload that have to be seen whole. */
function wantedBytes(type: number, length: number): number {
  if (type === frame.headers || type === frame.pushPromise || type === frame.continuation) return length;
  if (type === frame.reset) return 4;
  return type === frame.goAway ? Math.min(8, length) : 0;
}

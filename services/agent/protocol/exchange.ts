/** What the parsers of this folder take and answer. Nothing here reads a clock or a socket: times come with the bytes. */
import type { Chunk, Turn } from "../kernel-event.ts";

/** gRPC is HTTP/2 whose content type says so. */
export type Protocol = "http" | "http2" | "grpc" | "redis" | "postgresql" | "mysql" | "kafka" | "dns";

/** Which half of an exchange bytes belong to: what a client sends is what its server receives. */
export type Side = "request" | "response";

/** One request and its answer. */
export interface Exchange {
  readonly protocol: Protocol;
  /** Holds no values: `GET /orders/{id}`, `EVALSHA`, `SELECT orders`, `A`, `shop.Orders/Place`, `Produce`; `other` beyond the bound. */
  readonly operation: string;
  /** In the protocol's own words: `200`, `OK`, `WRONGTYPE`, `42P01`, `NOERROR`, `0`; `unknown` where it was not captured. */
  readonly status: string;
  readonly failed: "yes" | "no";
  /** First byte of the request, as this end saw it. */
  readonly startNs: number;
  /** When what decides the answer was there: status line or first packet for HTTP/1 and MySQL, the whole answer elsewhere. */
  readonly endNs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** How the connection ended before there was an answer. Such an exchange has failed, its status is empty, it ends with the connection. */
  readonly unanswered?: Ending;
}

/** `reset`: by a reset or an error, of either end. */
export type Ending = "closed" | "reset";

/** A request that has no answer yet. */
export type OpenRequest = Pick<Exchange, "protocol" | "operation" | "startNs" | "requestBytes" | "responseBytes">;

/** The part of a chunk that a parser reads. `data` is only valid during the call. */
export type StreamPiece = Pick<Chunk, "atNs" | "offset" | "bytes" | "data" | "flags">;

/** The part of a turn that is read. */
export type TurnPiece = Pick<Turn, "requestNs" | "responseNs" | "requestBytes" | "responseBytes" | "request" | "response"> &
  Partial<Pick<Turn, "flags">>;

/** What a parser of one connection has to tell about itself; everything only grows but `inFlight` and `bufferedBytes`. */
export interface ParserCounts {
  /** Requests that wait for their answer. */
  readonly inFlight: number;
  /** Requests given up: their answer was lost, cut away, or beyond a bound. In a lost stream a piece that begins a request counts as one. */
  readonly dropped: number;
  /** Answers without a request. */
  readonly orphans: number;
  /** Pieces that were no message of this protocol. */
  readonly unparseable: number;
  /** Pieces whose captured prefix hid where the next message begins: more bytes per chunk would have helped. */
  readonly cut: number;
  /** Bytes kept until more arrive, at most 64 KiB a side. */
  readonly bufferedBytes: number;
}

/** Pairs requests with answers on one connection. Never throws, whatever the bytes. */
export interface StreamParser extends ParserCounts {
  readonly protocol: Protocol;
  /** Words for people when the rest of the connection cannot be read (TLS, replication), else null. */
  readonly opaque: string | null;
  /** Appends the exchanges that the piece completed. */
  feed(side: Side, piece: StreamPiece, into: Exchange[]): void;
  /** Records of the connection were lost; the pieces that follow show by their offsets on which side. */
  lost(): void;
  /**
   * Takes out the requests in flight that were owed an answer when the connection ended: none of those whose answer may have been missed, or
   * that wait for something to happen (a blocking read, a long poll).
   */
  takeUnanswered(ending: Ending): OpenRequest[];
  /** The connection ended: what is in flight is given up. */
  close(): void;
}

/** `enum hw_flag` of bpf/event.h, as far as parsers care. */
export const flagExisting = 2;
export const flagGap = 8;
export const flagUnanswered = 32;
export const flagReset = 64;

/** Requests in flight on one connection at most; those beyond are given up and counted. */
export const inFlightMax = 10_000;
/** Bytes kept per side at most. */
export const bufferedBytesMax = 65_536;
/** Bytes of a header block, a line, or a message that has to be seen whole, at most. */
export const headerBytesMax = 16_384;

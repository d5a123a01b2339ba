import type { Role } from "../kernel-event.ts";
import type { Exchange, TurnPiece } from "./exchange.ts";
import { flagReset, flagUnanswered, headerBytesMax } from "./exchange.ts";
import type { FifoOptions, PendingRequest } from "./fifo-parser.ts";
import { FifoParser } from "./fifo-parser.ts";
import type { OperationNames } from "./operation-names.ts";
import { pathPattern } from "./path-pattern.ts";
import type { StreamBytes } from "./stream-bytes.ts";

const methods = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PROPFIND", "REPORT", "PURGE"] as const;
const methodBytes = methods.map((method) => Uint8Array.from(`${method} `, (character) => character.charCodeAt(0)));
const statuses = Array.from({ length: 500 }, (_, index) => String(index + 100));
const prefix = Uint8Array.from("HTTP/1.", (character) => character.charCodeAt(0));
const operationScratch = new Uint8Array(128);
/** Digits of a chunk's or body's length. */
const lengthDigitsMax = 15;

const space = 32;
const cr = 13;
const lf = 10;
const colon = 58;

/** Index into `methods` of what the bytes begin with, -1 without one. */
function methodAt(data: Uint8Array, at: number): number {
  for (let index = 0; index < methodBytes.length; index += 1) {
    const bytes = methodBytes[index];
    if (bytes !== undefined && startsWith(data, at, bytes)) return index;
  }
  return -1;
}

/** Whether the bytes begin an HTTP/1 request: a method that is known, then a target. */
export function beginsHttpRequest(data: Uint8Array): boolean {
  return methodAt(data, 0) >= 0;
}

/** The bytes begin with `HTTP/1.`. */
export function beginsHttpResponse(data: Uint8Array): boolean {
  return startsWith(data, 0, prefix);
}

/** `GET /orders/{id}` from a request line that may be cut, or null when it is none. */
function httpOperation(operations: OperationNames, data: Uint8Array, at: number, end: number): string | null {
  const index = methodAt(data, at);
  const method = methodBytes[index];
  if (method === undefined) return null;
  const target = at + method.length;
  let targetEnd = target;
  while (targetEnd < end && (data[targetEnd] ?? 0) > space) targetEnd += 1;
  if (targetEnd === target) return null;
  if (methods[index] === "CONNECT") return operations.name("CONNECT");
  const pattern = pathPattern(data, target, targetEnd);
  operationScratch.set(method, 0);
  for (let position = 0; position < pattern.length; position += 1)
    operationScratch[method.length + position] = pattern.bytes[position] ?? 0;
  return operations.name(operations.text(operationScratch, 0, method.length + pattern.length));
}

/** Status of a status line, 0 when it is none or is cut. */
function httpStatus(data: Uint8Array, at: number, end: number): number {
  if (end - at < 12 || !startsWith(data, at, prefix) || data[at + 8] !== space) return 0;
  const status = digit(data[at + 9]) * 100 + digit(data[at + 10]) * 10 + digit(data[at + 11]);
  return status >= 100 && status <= 599 ? status : 0;
}

/** A turn that the kernel paired, as an exchange; null when it is no HTTP. */
export function httpTurn(turn: TurnPiece, operations: OperationNames): Exchange | null {
  const { flags = 0 } = turn;
  const isUnanswered = (flags & flagUnanswered) !== 0;
  const status = isUnanswered ? 0 : httpStatus(turn.response, 0, turn.response.length);
  if (status === 0 && !isUnanswered) return null;
  const operation = httpOperation(operations, turn.request, 0, turn.request.length);
  if (operation === null) return null;
  return {
    protocol: "http",
    operation,
    status: isUnanswered ? "" : statusText(status),
    failed: status >= 500 || isUnanswered ? "yes" : "no",
    startNs: turn.requestNs,
    endNs: turn.responseNs,
    requestBytes: turn.requestBytes,
    responseBytes: turn.responseBytes,
    ...(isUnanswered ? { unanswered: (flags & flagReset) === 0 ? ("closed" as const) : ("reset" as const) } : {}),
  };
}

export function statusText(status: number): string {
  return statuses[status - 100] ?? "unknown";
}

interface HttpRequest extends PendingRequest {
  readonly method: string;
}

interface Head {
  readonly bytes: number;
  readonly body: "none" | "length" | "chunked" | "until-close";
  readonly length: number;
}

/**
 * HTTP/1 as a stream, for connections whose requests overlap (pipelining) and therefore cannot be paired in the kernel. An exchange is
 * complete with its status line; 1xx are no answers; after an upgrade or CONNECT the rest is opaque.
 */
export class Http1Parser extends FifoParser<HttpRequest> {
  readonly protocol = "http";
  protected readonly serialServer = false;
  readonly #operations: OperationNames;
  readonly #state = { request: "head" as "head" | "chunk", response: "head" as "head" | "chunk" | "rest" };
  #requestStartNs = -1;

  constructor(options: FifoOptions & { readonly operations: OperationNames; readonly role: Role }) {
    super(options);
    this.#operations = options.operations;
  }

  protected readRequests(atNs: number, into: Exchange[]): boolean {
    const stream = this.requests;
    while (stream.at < stream.end) {
      if (this.#state.request === "chunk") {
        const answer = readChunk(stream);
        if (answer === "end") this.#state.request = "head";
        else if (answer !== "next") return answer === "more";
        continue;
      }
      if (stream.data[stream.at] === cr || stream.data[stream.at] === lf) {
        stream.skip(1);
        continue;
      }
      if (this.#requestStartNs < 0) this.#requestStartNs = atNs;
      if (stream.available >= 16 && methodAt(stream.data, stream.at) < 0) return false;
      const head = readHead(stream, "request");
      if (head === "bad") return false;
      if (head === "more") return true;
      if (!this.#acceptHead(head, into)) return false;
    }
    return true;
  }

  protected readResponses(atNs: number, into: Exchange[]): boolean {
    const stream = this.responses;
    while (stream.at < stream.end) {
      if (this.#state.response === "rest") {
        stream.skip(stream.available + stream.hidden);
        continue;
      }
      if (this.#state.response === "chunk") {
        const answer = readChunk(stream);
        if (answer === "end") this.#state.response = "head";
        else if (answer !== "next") return answer === "more";
        continue;
      }
      if (stream.available >= 12 && httpStatus(stream.data, stream.at, stream.end) === 0) return false;
      const head = readHead(stream, "response");
      if (head === "bad") return false;
      if (head === "more") return true;
      this.#answer(head, atNs, into);
      if (this.opaque !== null) return true;
    }
    return true;
  }

  protected beginsRequest(data: Uint8Array): boolean {
    return beginsHttpRequest(data);
  }

  protected resetReaders(): void {
    this.#state.request = "head";
    this.#state.response = "head";
    this.#requestStartNs = -1;
  }

  protected cutRequest(_atNs: number, into: Exchange[]): void {
    const { data, at, end } = this.requests;
    if (this.#state.request === "head" && end > at) this.#acceptLine(data, at, { end, bytes: end - at }, into);
    this.#state.request = "head";
    this.#requestStartNs = -1;
  }

  protected cutResponse(_how: "cut" | "hole", atNs: number, into: Exchange[]): void {
    const { data, at, end } = this.responses;
    if (this.#state.response !== "head" || end <= at) return;
    const status = httpStatus(data, at, end);
    if (status >= 200 && this.pending.length > 0) this.#complete(status, { atNs, bytes: end - at }, into);
  }

  #acceptHead(head: Head, into: Exchange[]): boolean {
    const { data, at } = this.requests;
    if (!this.#acceptLine(data, at, { end: at + head.bytes, bytes: head.bytes + head.length }, into)) return false;
    this.#requestStartNs = -1;
    this.requests.skip(head.bytes + head.length);
    if (head.body === "chunked") this.#state.request = "chunk";
    return true;
  }

  #acceptLine(data: Uint8Array, at: number, line: { end: number; bytes: number }, into: Exchange[]): boolean {
    const operation = httpOperation(this.#operations, data, at, line.end);
    if (operation === null) return false;
    this.accept({ operation, method: methods[methodAt(data, at)] ?? "", startNs: this.#requestStartNs, requestBytes: line.bytes }, into);
    return true;
  }

  #answer(head: Head, atNs: number, into: Exchange[]): void {
    const { data, at, end } = this.responses;
    const status = httpStatus(data, at, end);
    const method = this.pending.first()?.method;
    if (status === 101 || (method === "CONNECT" && status < 300 && status >= 200)) {
      this.#complete(status, { atNs, bytes: head.bytes }, into);
      this.giveUp(status === 101 ? "upgraded to another protocol" : "a tunnel");
      return;
    }
    if (status < 200) {
      this.responses.skip(head.bytes);
      return;
    }
    const empty = method === "HEAD" || status === 204 || status === 304;
    this.#complete(status, { atNs, bytes: head.bytes + (empty ? 0 : head.length) }, into);
    this.responses.skip(head.bytes + (empty ? 0 : head.length));
    if (empty || head.body === "length") return;
    if (head.body === "chunked") this.#state.response = "chunk";
    else this.#state.response = "rest";
  }

  #complete(status: number, answer: { atNs: number; bytes: number }, into: Exchange[]): void {
    this.complete({ status: statusText(status), failed: status >= 500 ? "yes" : "no", atNs: answer.atNs, bytes: answer.bytes }, into);
  }
}

/** A whole header block: its bytes and what body follows. */
function readHead(stream: StreamBytes, side: "request" | "response"): Head | "more" | "bad" {
  const { data, at, end } = stream;
  const headEnd = findHeadEnd(data, at, Math.min(end, at + headerBytesMax));
  if (headEnd < 0) return end - at >= headerBytesMax ? "bad" : "more";
  let length = -1;
  let chunked = false;
  for (let line = nextLine(data, at, headEnd); line < headEnd; line = nextLine(data, line, headEnd)) {
    if (headerIs(data, line, "content-length")) {
      length = decimal(data, line + 15, headEnd);
      if (length < 0) return "bad";
    } else if (headerIs(data, line, "transfer-encoding")) chunked = lineEndsWith(data, line, headEnd, "chunked");
  }
  const bytes = headEnd - at;
  if (chunked) return { bytes, body: "chunked", length: 0 };
  if (length >= 0) return { bytes, body: "length", length };
  return { bytes, body: side === "request" ? "none" : "until-close", length: 0 };
}

/** One chunk of a chunked body, or its end with trailers. */
function readChunk(stream: StreamBytes): "next" | "end" | "more" | "bad" {
  const { data, at, end } = stream;
  let lineEnd = at;
  while (lineEnd < end && data[lineEnd] !== lf && lineEnd - at < headerBytesMax) lineEnd += 1;
  if (lineEnd === end) return "more";
  if (data[lineEnd] !== lf) return "bad";
  const size = hexadecimal(data, at);
  if (size < 0) return "bad";
  if (size > 0) {
    stream.skip(lineEnd + 1 - at + size + 2);
    return "next";
  }
  // Trailers end with an empty line; without any it follows at once.
  const blockEnd = findHeadEnd(data, lineEnd - 1, Math.min(end, lineEnd + headerBytesMax));
  if (blockEnd < 0) return end - at >= headerBytesMax ? "bad" : "more";
  stream.skip(blockEnd - at);
  return "end";
}

function findHeadEnd(data: Uint8Array, from: number, to: number): number {
  for (let at = data.indexOf(lf, from); at >= 0 && at < to; at = data.indexOf(lf, at + 1)) {
    if (at + 1 < to && data[at + 1] === lf) return at + 2;
    if (at + 2 < to && data[at + 1] === cr && data[at + 2] === lf) return at + 3;
  }
  return -1;
}

function nextLine(data: Uint8Array, from: number, to: number): number {
  const at = data.indexOf(lf, from);
  return at < 0 || at + 1 > to ? to : at + 1;
}

/** Compares a header's name without case. */
function headerIs(data: Uint8Array, at: number, name: string): boolean {
  if (data[at + name.length] !== colon) return false;
  for (let index = 0; index < name.length; index += 1) if (((data[at + index] ?? 0) | 32) !== name.charCodeAt(index)) return false;
  return true;
}

function lineEndsWith(data: Uint8Array, at: number, to: number, word: string): boolean {
  let end = at;
  while (end < to && data[end] !== lf) end += 1;
  while (end > at && (data[end - 1] ?? 0) <= space) end -= 1;
  for (let index = 0; index < word.length; index += 1) {
    if (((data[end - word.length + index] ?? 0) | 32) !== word.charCodeAt(index)) return false;
  }
  return true;
}

function decimal(data: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && (data[at] === space || data[at] === 9)) at += 1;
  let value = 0;
  const first = at;
  while (at < to && isDigit(data[at])) {
    value = value * 10 + digit(data[at]);
    at += 1;
  }
  return at === first || at - first > lengthDigitsMax ? -1 : value;
}

function hexadecimal(data: Uint8Array, from: number): number {
  let value = 0;
  let at = from;
  for (; at - from <= 12; at += 1) {
    const byte = (data[at] ?? 0) | 32;
    const nibble = isDigit(data[at]) ? digit(data[at]) : byte >= 97 && byte <= 102 ? byte - 87 : -1;
    if (nibble < 0) break;
    value = value * 16 + nibble;
  }
  return at === from || at - from > 12 ? -1 : value;
}

function startsWith(data: Uint8Array, at: number, bytes: Uint8Array): boolean {
  if (data.length - at < bytes.length) return false;
  for (let index = 0; index < bytes.length; index += 1) if (data[at + index] !== bytes[index]) return false;
  return true;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 48 && byte <= 57;
}

function digit(byte: number | undefined): number {
  return byte === undefined ? -1_000 : byte - 48;
}

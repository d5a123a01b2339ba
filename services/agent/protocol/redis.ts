import type { Exchange, OpenRequest } from "./exchange.ts";
import { headerBytesMax } from "./exchange.ts";
import type { FifoOptions, PendingRequest } from "./fifo-parser.ts";
import { FifoParser } from "./fifo-parser.ts";
import type { OperationNames } from "./operation-names.ts";
import { mark, RespReader, textBytesMax } from "./resp-reader.ts";

interface RedisRequest extends PendingRequest {
  /** The command where its answers differ from one value per request, else empty. */
  readonly special: string;
  /** Confirmations still to come; -1 until the first one tells (UNSUBSCRIBE of everything). */
  confirmations: number;
}

/** Elements of one command at most, as in Redis. */
const argumentsMax = 1_048_576;
const special = new Set([
  "SUBSCRIBE",
  "PSUBSCRIBE",
  "SSUBSCRIBE",
  "UNSUBSCRIBE",
  "PUNSUBSCRIBE",
  "SUNSUBSCRIBE",
  "MONITOR",
  "RESET",
  "CLIENT",
  "SYNC",
  "PSYNC",
]);
/** Answered when something happens, or not at all. */
const waitingCommands = new Set([
  ...["BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP"],
  ...["XREAD", "XREADGROUP", "WAIT", "WAITAOF", "SHUTDOWN", "QUIT"],
]);
const messages = new Set(["message", "pmessage", "smessage"]);
const confirmations = new Map<string, "channels" | "patterns" | "shards">([
  ["subscribe", "channels"],
  ["unsubscribe", "channels"],
  ["psubscribe", "patterns"],
  ["punsubscribe", "patterns"],
  ["ssubscribe", "shards"],
  ["sunsubscribe", "shards"],
]);
/** Errors that redirect or belong to a normal course: the client asks elsewhere or again and nobody suffers. */
const ordinaryErrors = new Set(["MOVED", "ASK", "TRYAGAIN", "NOSCRIPT", "BUSYGROUP"]);

/**
 * Redis and Valkey, RESP2 and RESP3. One exchange per command, also inside MULTI (answered with QUEUED), named by the command alone.
 * Pushes, messages and MONITOR output are no answers; a replication connection is opaque from PSYNC on.
 */
export class RedisParser extends FifoParser<RedisRequest> {
  readonly protocol = "redis";
  protected readonly serialServer = true;
  readonly #operations: OperationNames;
  readonly #request = new RespReader();
  readonly #response = new RespReader();
  #requestStartNs = -1;
  #requestFrom = 0;
  #responseFrom = 0;
  /** The answer is known, but its announced bytes are still to come. */
  #held = false;
  #monitoring = false;
  #silent: "no" | "next" | "yes" = "no";
  readonly #subscribed = { channels: 0, patterns: 0, shards: 0 };

  constructor(options: FifoOptions & { readonly operations: OperationNames }) {
    super(options);
    this.#operations = options.operations;
  }

  protected readRequests(atNs: number, into: Exchange[]): boolean {
    const stream = this.requests;
    while (stream.at < stream.end) {
      if (this.#requestStartNs < 0) {
        this.#requestStartNs = atNs;
        this.#requestFrom = stream.consumed;
      }
      if (!this.#request.halfRead && stream.data[stream.at] !== mark.array) {
        const answer = this.#inline(into);
        if (answer !== "value") return answer === "more";
        continue;
      }
      const answer = this.#request.read(stream);
      if (answer !== "value") return answer === "more" && this.#plausible();
      if (!this.#plausible()) return false;
      if (this.#request.count > 0) this.#command(into);
      this.#requestStartNs = -1;
      if (this.opaque !== null) return true;
    }
    return true;
  }

  protected readResponses(atNs: number, into: Exchange[]): boolean {
    const stream = this.responses;
    if (this.#held && stream.toSkip === 0) this.#answered(atNs, into);
    while (stream.at < stream.end) {
      if (!this.#response.halfRead) this.#responseFrom = stream.consumed;
      const answer = this.#response.read(stream);
      if (answer !== "value") return answer === "more";
      this.#held = true;
      if (stream.toSkip > 0) return true;
      this.#answered(atNs, into);
    }
    return true;
  }

  protected beginsRequest(data: Uint8Array): boolean {
    if (data[0] !== mark.array) return false;
    let at = 1;
    while (at < 9 && isDigit(data[at])) at += 1;
    return at > 1 && data[at] === 13 && data[at + 1] === 10 && data[at + 2] === mark.bulk;
  }

  protected resetReaders(): void {
    this.#request.reset();
    this.#response.reset();
    this.#requestStartNs = -1;
    this.#held = false;
  }

  protected cutRequest(_atNs: number, into: Exchange[]): void {
    const named = this.#request.halfRead && (this.#request.textLengths[0] ?? 0) > 0;
    const whole = this.#request.textLengths[0] === Math.min(textBytesMax, this.#request.fullLengths[0] ?? 0);
    if (named && whole) this.#command(into);
    this.#request.reset();
    this.#requestStartNs = -1;
  }

  protected cutResponse(_how: "cut" | "hole", atNs: number, into: Exchange[]): void {
    const push = this.#response.kind === mark.push || (this.#response.kind === mark.array && this.#inSubscription());
    if (this.#held || (this.#response.halfRead && !push && this.inFlight > 0)) this.#answered(atNs, into);
  }

  protected override unanswered(request: RedisRequest): OpenRequest | null {
    return waitingCommands.has(request.operation) ? null : super.unanswered(request);
  }

  /** Commands are arrays of strings, not empty ones of a hundred million. */
  #plausible(): boolean {
    return this.#request.kind === 0 || (this.#request.kind === mark.array && this.#request.count <= argumentsMax);
  }

  #inline(into: Exchange[]): "value" | "more" | "bad" {
    const { data, at, end } = this.requests;
    let lineEnd = at;
    while (lineEnd < end && data[lineEnd] !== 10) {
      const byte = data[lineEnd] ?? 0;
      if (byte < 32 && byte !== 13 && byte !== 9) return "bad";
      if (byte >= 127 || lineEnd - at > headerBytesMax) return "bad";
      lineEnd += 1;
    }
    if (lineEnd === end) return "more";
    let wordEnd = at;
    while (wordEnd < lineEnd && (data[wordEnd] ?? 0) > 32) wordEnd += 1;
    const name = this.#operations.upperText(data, at, Math.min(wordEnd, at + textBytesMax));
    this.requests.skip(lineEnd + 1 - at);
    if (wordEnd > at) {
      if (!isCommand(name)) return "bad";
      this.#accept({ name, confirmations: 1 }, into);
    }
    this.#requestStartNs = -1;
    return "value";
  }

  #command(into: Exchange[]): void {
    const reader = this.#request;
    const name = this.#operations.upperText(reader.texts[0] ?? new Uint8Array(0), 0, reader.textLengths[0] ?? 0);
    if (special.has(name)) this.#special(name, into);
    else this.#accept({ name, confirmations: 1 }, into);
  }

  #special(name: string, into: Exchange[]): void {
    const count = this.#request.count;
    if (name === "SYNC" || name === "PSYNC") {
      this.giveUp("a replica of Redis");
      return;
    }
    if (name === "CLIENT" && this.#request.textAt(1).toUpperCase() === "REPLY") {
      const mode = this.#request.textAt(2).toUpperCase();
      if (mode === "OFF") this.#silent = "yes";
      if (mode === "ON") this.#silent = "no";
      if (mode === "SKIP" && this.#silent === "no") this.#silent = "next";
      if (mode === "OFF" || mode === "SKIP") return;
    }
    const confirmed = name.endsWith("SUBSCRIBE");
    const all = confirmed && count === 1 && name !== "SUBSCRIBE";
    this.#accept({ name, confirmations: all ? -1 : confirmed ? count - 1 : 1 }, into);
  }

  #accept(command: { name: string; confirmations: number }, into: Exchange[]): void {
    if (this.#silent !== "no") {
      if (this.#silent === "next") this.#silent = "no";
      this.drop(1);
      return;
    }
    const request: RedisRequest = {
      operation: isCommand(command.name) ? this.#operations.name(command.name) : "other",
      startNs: this.#requestStartNs,
      requestBytes: this.requests.consumed - this.#requestFrom,
      special: special.has(command.name) ? command.name : "",
      confirmations: command.confirmations,
    };
    this.accept(request, into);
  }

  #answered(atNs: number, into: Exchange[]): void {
    this.#held = false;
    const reader = this.#response;
    const head = this.pending.first();
    if (reader.kind === mark.push) {
      this.#confirm(atNs, into);
      return;
    }
    if (reader.kind === mark.array && this.#inSubscription()) {
      const text = reader.textAt(0);
      if (messages.has(text)) return;
      if (confirmations.has(text)) {
        this.#confirm(atNs, into);
        return;
      }
    }
    if (this.#monitoring && reader.kind === mark.simple && isDigit(reader.texts[0]?.[0])) return;
    const error = reader.kind === mark.error || reader.kind === mark.bulkError;
    if (!error && head !== undefined && head.special !== "") this.#changeMode(head.special);
    this.#finish(error ? this.#errorCode() : "OK", atNs, into);
  }

  #finish(status: string, atNs: number, into: Exchange[]): void {
    const failed = status === "OK" || ordinaryErrors.has(status) ? "no" : "yes";
    this.complete({ status, failed, atNs, bytes: this.responses.consumed - this.#responseFrom }, into);
  }

  #changeMode(command: string): void {
    if (command === "MONITOR") this.#monitoring = true;
    if (command !== "RESET") return;
    this.#monitoring = false;
    this.#subscribed.channels = 0;
    this.#subscribed.patterns = 0;
    this.#subscribed.shards = 0;
  }

  #inSubscription(): boolean {
    if (this.#subscribed.channels + this.#subscribed.patterns + this.#subscribed.shards > 0) return true;
    return this.pending.first()?.special.endsWith("SUBSCRIBE") === true;
  }

  /** A push or an array that says `subscribe`, channel, subscriptions: the answer to that command, once per channel. */
  #confirm(atNs: number, into: Exchange[]): void {
    const text = this.#response.textAt(0);
    const group = confirmations.get(text);
    if (group === undefined) return;
    const before = this.#subscribed[group];
    const others = group === "shards" ? 0 : this.#subscribed.channels + this.#subscribed.patterns - before;
    this.#subscribed[group] = Math.max(0, this.#response.integer - others);
    const head = this.pending.first();
    if (head === undefined || head.special !== text.toUpperCase()) return;
    if (head.confirmations < 0) head.confirmations = Math.max(1, before);
    head.confirmations -= 1;
    if (head.confirmations === 0) this.#finish("OK", atNs, into);
  }

  /** First word of an error: `WRONGTYPE`, `ERR`. */
  #errorCode(): string {
    const bytes = this.#response.texts[0];
    const length = this.#response.textLengths[0] ?? 0;
    let end = 0;
    while (end < length && isCodeByte(bytes?.[end] ?? 0)) end += 1;
    // A code that may go on in bytes that were cut away is no code.
    const cut = this.#response.halfRead && end === length;
    if (bytes === undefined || end === 0 || cut || (end < length && bytes[end] !== 32)) return "ERR";
    return this.#operations.status(this.#operations.text(bytes, 0, end));
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 48 && byte <= 57;
}

function isCodeByte(byte: number): boolean {
  return (byte >= 65 && byte <= 90) || byte === 95 || isDigit(byte);
}

/** Command names, modules' included (`JSON.GET`); anything else would be a value. */
function isCommand(name: string): boolean {
  return /^[A-Z][A-Z0-9._-]{0,31}$/.test(name);
}

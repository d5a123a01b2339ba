import type { Exchange, OpenRequest } from "./exchange.ts";
import type { FifoOptions } from "./fifo-parser.ts";
import { FifoParser } from "./fifo-parser.ts";
import type { OperationNames } from "./operation-names.ts";
import type { Message, Portal, PostgresRequest } from "./postgres-message.ts";
import {
  errorStatus,
  messageBytesMax,
  postgresRequest,
  readInt32,
  readMessage,
  requestShape,
  responseShape,
  textEnd,
  type,
  verbEnd,
} from "./postgres-message.ts";
import { remember } from "./remember.ts";
import { sqlNames } from "./sql-shape.ts";

const sslRequest = 80_877_103;
const gssRequest = 80_877_104;
const cancelRequest = 80_877_102;

/**
 * PostgreSQL, protocol 3, simple and extended. One exchange is one executed statement, as `calls` of pg_stat_statements counts: each
 * statement of a simple query on its own, each Execute once however often its portal is fetched from, nothing for Parse, Bind, Describe,
 * Close, Sync or an empty query. A failed statement is one exchange too (pg_stat_statements leaves those out), whichever message failed; what
 * the server skips until Sync is none. Failed connections are `connect` with their SQLSTATE; successful ones are no exchange.
 */
export class PostgresParser extends FifoParser<PostgresRequest> {
  readonly protocol = "postgresql";
  protected readonly serialServer = true;
  readonly #operations: OperationNames;
  #phase: "startup" | "authentication" | "ready";
  #encryptionAnswers = 0;
  #copyIn = false;
  #queries = 0;
  #startupNs = 0;
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, Portal>();
  /** The group of extended messages that no Execute has ended yet. */
  readonly #group = { startNs: -1, from: 0, operation: "" };
  #responseFrom = 0;
  #rowsSeen = false;
  readonly #message: Message = { type: 0, bytes: 0, from: 0, to: 0 };

  constructor(options: FifoOptions & { readonly operations: OperationNames }) {
    super(options);
    this.#operations = options.operations;
    this.#phase = options.start === "beginning" ? "startup" : "ready";
  }

  protected override overlaps(): boolean {
    return this.uncounted + this.#queries > 0;
  }

  protected readRequests(atNs: number, into: Exchange[]): boolean {
    const stream = this.requests;
    while (stream.at < stream.end) {
      if (this.#phase === "startup") {
        const answer = this.#startup(atNs);
        if (answer !== "next") return answer === "more";
        continue;
      }
      const body = readMessage(stream, requestShape, this.#message);
      if (body !== "message") return body === "more";
      this.#requestMessage(this.#message, atNs, into);
    }
    return true;
  }

  protected readResponses(atNs: number, into: Exchange[]): boolean {
    const stream = this.responses;
    while (stream.at < stream.end) {
      if (this.#encryptionAnswers > 0) {
        this.#encryptionAnswers -= 1;
        const answer = stream.data[stream.at];
        // An error instead of yes or no comes from servers that do not know the question.
        if (answer !== 78 && answer !== 69) this.giveUp("TLS");
        if (this.opaque !== null) return true;
        if (answer === 78) stream.skip(1);
        continue;
      }
      const body = readMessage(stream, responseShape, this.#message);
      if (body !== "message") return body === "more";
      this.#responseMessage(this.#message, atNs, into);
      if (this.opaque !== null) return true;
    }
    return true;
  }

  protected beginsRequest(data: Uint8Array): boolean {
    const type = data[0];
    if (type !== 81 && type !== 80 && type !== 66) return false;
    const length = data.length >= 5 ? readInt32(data, 1) : 0;
    return length >= 5 && length <= messageBytesMax;
  }

  protected resetReaders(): void {
    this.#group.startNs = -1;
    this.#group.operation = "";
    this.#copyIn = false;
    this.#queries = 0;
    this.#encryptionAnswers = 0;
    this.#rowsSeen = false;
    this.#phase = "ready";
  }

  /** Behind a Parse or Bind whose rest is hidden there are, as every client sends them, an Execute and a Sync. */
  protected cutRequest(atNs: number, into: Exchange[]): void {
    if (this.#phase !== "ready" || this.#copyIn) return;
    if (this.#group.startNs >= 0) this.#execute({ name: "", assumed: "yes", atNs }, into);
    if (this.pending.length > this.uncounted + this.#queries) this.#sync(atNs, into);
  }

  /** Rows were on their way, so the statement had not failed when its end was cut away. */
  protected cutResponse(how: "cut" | "hole", atNs: number, into: Exchange[]): void {
    const head = this.pending.first();
    if (how === "hole" || head === undefined || head.kind === "sync" || head.answered > 0) return;
    this.#answer(head, { status: this.#rowsSeen ? "OK" : "unknown", failed: "no", operation: head.operation }, atNs, into);
    this.#removeHead();
    // Everything up to the end of its group belongs to what is hidden as well.
    if (head.kind === "execute" && this.pending.first()?.kind === "sync") this.#removeHead();
  }

  protected override unanswered(request: PostgresRequest): OpenRequest | null {
    if (request.kind === "sync" || request.assumed === "yes" || request.over === "yes" || request.portal?.suspended === "yes") return null;
    const operation = request.kind === "query" ? request.names[request.answered] : request.operation;
    if (operation === undefined && request.answered > 0) return null;
    return super.unanswered({ ...request, operation: operation || "other", startNs: request.sinceNs });
  }

  #startup(atNs: number): "next" | "more" | "bad" {
    const { data, at, available } = this.requests;
    if (available < 8) return this.requests.hidden > 0 || available < 4 || readInt32(data, at) >= 8 ? "more" : "bad";
    const length = readInt32(data, at);
    const code = readInt32(data, at + 4);
    if (length < 8 || length > 65_536) return "bad";
    if (code === sslRequest || code === gssRequest) this.#encryptionAnswers += 1;
    else if (code >>> 16 === 3) this.#phase = "authentication";
    else if (code !== cancelRequest) return "bad";
    this.#startupNs = atNs;
    this.requests.skip(length);
    return "next";
  }

  #requestMessage(message: Message, atNs: number, into: Exchange[]): void {
    const { data } = this.requests;
    const { from, to } = message;
    switch (message.type) {
      case type.query:
        this.#query({ bytes: message.bytes, names: sqlNames(this.#operations, { data, from, to, escapes: "marked" }) }, atNs, into);
        break;
      case type.functionCall:
        this.#query({ bytes: message.bytes, names: [this.#operations.name("CALL")] }, atNs, into);
        break;
      case type.parse:
        this.#beginGroup(atNs);
        this.#parse(message);
        break;
      case type.bind:
        this.#beginGroup(atNs);
        this.#bind(message);
        break;
      case type.describe:
      case type.close:
        this.#beginGroup(atNs);
        break;
      case type.execute:
        this.#execute({ name: this.#text(from, to), assumed: "no", atNs }, into);
        break;
      case type.sync:
        if (!this.#copyIn) this.#sync(atNs, into);
        break;
      case type.copyDone:
      case type.copyFail:
        this.#copyIn = false;
        break;
      default:
    }
    this.requests.skip(message.bytes);
  }

  #beginGroup(atNs: number): void {
    if (this.#group.startNs >= 0) return;
    this.#group.startNs = atNs;
    this.#group.from = this.requests.consumed;
  }

  #query(query: { bytes: number; names: readonly string[] }, atNs: number, into: Exchange[]): void {
    const before = this.pending.length;
    const request = postgresRequest({ kind: "query", operation: query.names[0] ?? "other", startNs: atNs, requestBytes: query.bytes });
    this.accept({ ...request, names: query.names }, into);
    if (this.pending.length > before) this.#queries += 1;
    this.#group.startNs = -1;
    this.#group.operation = "";
  }

  #parse(message: Message): void {
    const { data } = this.requests;
    const nameEnd = textEnd(data, message.from, message.to);
    const names = sqlNames(this.#operations, { data, from: nameEnd + 1, to: message.to, escapes: "marked" });
    this.#group.operation = names[0] ?? "";
    remember(this.#statements, this.#text(message.from, message.to), this.#group.operation);
  }

  #bind(message: Message): void {
    const { data } = this.requests;
    const portalEnd = textEnd(data, message.from, message.to);
    const statement = this.#text(portalEnd + 1, message.to);
    const operation = this.#statements.get(statement) ?? "";
    this.#group.operation = operation;
    remember(this.#portals, this.#text(message.from, message.to), { operation, suspended: "no" });
  }

  #execute(portal: { name: string; assumed: "yes" | "no"; atNs: number }, into: Exchange[]): void {
    const { startNs } = this.#group;
    const known = portal.assumed === "yes" ? undefined : this.#portals.get(portal.name);
    const operation = known?.operation ?? this.#group.operation;
    const from = startNs < 0 ? portal.atNs : startNs;
    const requestBytes = startNs < 0 ? 0 : this.requests.consumed - this.#group.from;
    const { assumed } = portal;
    this.accept(
      {
        kind: "execute",
        operation,
        names: [],
        startNs: from,
        requestBytes,
        portal: known ?? null,
        assumed,
        answered: 0,
        sinceNs: from,
        over: "no",
      },
      into,
    );
    this.#group.startNs = -1;
    this.#group.operation = "";
  }

  #sync(atNs: number, into: Exchange[]): void {
    const startNs = this.#group.startNs < 0 ? atNs : this.#group.startNs;
    const { operation } = this.#group;
    const before = this.pending.length;
    this.accept(postgresRequest({ kind: "sync", operation, startNs, requestBytes: 0 }), into);
    if (this.pending.length > before) this.uncounted += 1;
    this.#group.startNs = -1;
    this.#group.operation = "";
  }

  #responseMessage(message: Message, atNs: number, into: Exchange[]): void {
    const { data } = this.responses;
    const { from, to } = message;
    this.responses.skip(message.bytes);
    switch (message.type) {
      case type.dataRow:
      case type.rowDescription:
        this.#rowsSeen = true;
        break;
      case type.commandComplete:
      case type.emptyQuery:
      case type.portalSuspended:
      case type.functionResult:
        this.#completed({ type: message.type, data, from, to }, atNs, into);
        break;
      case type.error:
        this.#error(errorStatus(data, from, to), atNs, into);
        break;
      case type.ready:
        this.#ready();
        break;
      case type.copyInResponse:
        this.#beginCopy();
        break;
      case type.copyBothResponse:
        this.giveUp("a replica of PostgreSQL");
        break;
      default:
    }
  }

  /** A Sync that was sent with the Execute is ignored while the server copies; clients send another one behind their data. */
  #beginCopy(): void {
    this.#copyIn = true;
    if (this.pending.first()?.kind !== "execute" || this.pending.second()?.kind !== "sync") return;
    this.pending.removeSecond();
    this.uncounted -= 1;
  }

  #completed(completion: { type: number; data: Uint8Array; from: number; to: number }, atNs: number, into: Exchange[]): void {
    const head = this.pending.first();
    this.#copyIn = false;
    if (head === undefined || head.kind === "sync") {
      this.orphan();
      return;
    }
    if (head.over === "yes") {
      this.lose();
      return;
    }
    const empty = completion.type === type.emptyQuery;
    const again = head.portal?.suspended === "yes";
    if (!empty && !again) {
      const named = head.kind === "query" ? head.names[head.answered] : head.operation;
      const operation = named || this.#operations.name(this.#verb(completion.data, completion.from, completion.to));
      this.#answer(head, { status: "OK", failed: "no", operation }, atNs, into);
    }
    if (completion.type === type.portalSuspended && head.portal !== null) head.portal.suspended = "yes";
    if (!empty) head.answered += 1;
    head.sinceNs = atNs;
    this.#rowsSeen = false;
    if (head.kind === "execute") this.#removeHead();
  }

  #error(status: string, atNs: number, into: Exchange[]): void {
    const head = this.pending.first();
    this.#copyIn = false;
    if (head === undefined) {
      this.#refused(status, atNs, into);
      return;
    }
    if (head.over === "yes") {
      this.lose();
      return;
    }
    const operation = (head.kind === "query" ? head.names[head.answered] : head.operation) || "other";
    this.#answer(head, { status, failed: "yes", operation: this.#operations.name(operation) }, atNs, into);
    this.#rowsSeen = false;
    if (head.kind !== "execute") {
      head.answered += 1;
      head.over = "yes";
      return;
    }
    while (this.pending.first()?.kind === "execute") this.#removeHead();
  }

  /** An error without a request: of a connection that is being opened, or the server's farewell. */
  #refused(status: string, atNs: number, into: Exchange[]): void {
    if (this.#phase === "ready") {
      this.orphan();
      return;
    }
    const request = { operation: this.#operations.name("connect"), startNs: this.#startupNs, requestBytes: this.requests.consumed };
    into.push(this.exchange(request, { status, failed: "yes", atNs, bytes: this.responses.consumed }));
  }

  #ready(): void {
    this.#rowsSeen = false;
    this.#responseFrom = this.responses.consumed;
    if (this.#phase !== "ready") {
      this.#phase = "ready";
      return;
    }
    for (let head = this.#removeHead(); head !== undefined; head = this.#removeHead()) {
      if (head.kind !== "execute") return;
      if (head.assumed === "no") this.drop(1);
    }
    this.orphan();
  }

  #answer(
    head: PostgresRequest,
    result: { status: string; failed: "yes" | "no"; operation: string },
    atNs: number,
    into: Exchange[],
  ): void {
    const bytes = this.responses.consumed - this.#responseFrom;
    this.#responseFrom = this.responses.consumed;
    const requestBytes = head.answered === 0 ? head.requestBytes : 0;
    const operation = result.operation === "" ? "other" : result.operation;
    into.push(
      this.exchange({ operation, startNs: head.sinceNs, requestBytes }, { status: result.status, failed: result.failed, atNs, bytes }),
    );
  }

  #removeHead(): PostgresRequest | undefined {
    const head = this.pending.shift();
    if (head?.kind === "sync") this.uncounted -= 1;
    if (head?.kind === "query") this.#queries -= 1;
    return head;
  }

  /** First word of a command tag, where the statement itself was not seen. */
  #verb(data: Uint8Array, from: number, to: number): string {
    return this.#operations.text(data, from, verbEnd(data, from, to)) || "other";
  }

  #text(from: number, to: number): string {
    return this.#operations.text(this.requests.data, from, textEnd(this.requests.data, from, to));
  }
}

import type { Exchange } from "./exchange.ts";
import type { FifoOptions, PendingRequest } from "./fifo-parser.ts";
import { FifoParser } from "./fifo-parser.ts";
import type { OperationNames } from "./operation-names.ts";
import { remember } from "./remember.ts";
import { sqlBytesMax, sqlNames } from "./sql-shape.ts";
import type { StreamBytes } from "./stream-bytes.ts";

interface MysqlRequest extends PendingRequest {
  readonly command: number;
  /** Of a statement that is prepared. */
  readonly statement: string;
}

const queryCommand = 3;
const prepareCommand = 22;
const executeCommand = 23;
const closeStatement = 25;
const commands: Readonly<Record<number, string>> = {
  2: "USE",
  4: "SHOW FIELDS",
  8: "SHUTDOWN",
  9: "STATISTICS",
  10: "SHOW PROCESSLIST",
  12: "KILL",
  14: "PING",
  17: "CHANGE USER",
  [prepareCommand]: "PREPARE",
  [executeCommand]: "EXECUTE",
  26: "RESET STATEMENT",
  27: "SET OPTION",
  28: "FETCH",
  31: "RESET CONNECTION",
};
/** QUIT, SEND_LONG_DATA and CLOSE have no answer. */
const unanswered = new Set([1, 24, closeStatement]);
/** Replication. */
const replication = new Set([18, 30]);
const commandMax = 32;
const packetHeader = 4;
const wholePacket = 0xff_ffff;
const errorMark = 0xff;
const capabilityCompress = 0x20;
const capabilityTls = 0x800;

/**
 * MySQL and MariaDB. One exchange is one command; its status is that of the first packet of the answer (`OK`, or the SQLSTATE of an error),
 * which is also its end: rows that follow are passed over, an error behind rows is not seen. Failed logins are `connect`.
 */
export class MysqlParser extends FifoParser<MysqlRequest> {
  readonly protocol = "mysql";
  protected readonly serialServer = true;
  readonly #operations: OperationNames;
  readonly #statements = new Map<number, string>();
  #phase: "login" | "ready";
  #loginNs = -1;
  /** The packet continues the one before it: that was of the largest size. */
  #continued = { request: false, response: false };

  constructor(options: FifoOptions & { readonly operations: OperationNames }) {
    super(options);
    this.#operations = options.operations;
    this.#phase = options.start === "beginning" ? "login" : "ready";
  }

  protected readRequests(atNs: number, into: Exchange[]): boolean {
    const stream = this.requests;
    while (stream.at < stream.end) {
      const length = packetLength(stream);
      if (length < 0) return true;
      const wanted = Math.min(length, this.#phase === "login" ? 4 : sqlBytesMax);
      if (stream.available < packetHeader + wanted && stream.hidden === 0) return true;
      const packet = { from: stream.at + packetHeader, to: Math.min(stream.end, stream.at + packetHeader + length), length };
      const continued = this.#continued.request;
      this.#continued.request = length === wholePacket;
      if (!continued && !this.#request(packet, atNs, into)) return false;
      if (this.opaque !== null) return true;
      stream.skip(packetHeader + length);
    }
    return true;
  }

  protected readResponses(atNs: number, into: Exchange[]): boolean {
    const stream = this.responses;
    while (stream.at < stream.end) {
      const length = packetLength(stream);
      if (length < 0) return true;
      if (stream.available < packetHeader + Math.min(length, 9) && stream.hidden === 0) return true;
      const continued = this.#continued.response;
      this.#continued.response = length === wholePacket;
      if (!continued)
        this.#response({ from: stream.at + packetHeader, to: Math.min(stream.end, stream.at + packetHeader + length), length }, atNs, into);
      stream.skip(packetHeader + length);
    }
    return true;
  }

  protected beginsRequest(data: Uint8Array): boolean {
    const command = data[4] ?? 0;
    const length = (data[0] ?? 0) | ((data[1] ?? 0) << 8) | ((data[2] ?? 0) << 16);
    return data.length > packetHeader && data[3] === 0 && length > 0 && command > 0 && command < commandMax;
  }

  protected resetReaders(): void {
    this.#continued = { request: false, response: false };
    if (this.#phase === "login") this.#phase = "ready";
  }

  protected cutRequest(): void {
    // A packet's name stands at its beginning, so that it was accepted before its end could be hidden.
  }

  protected cutResponse(): void {
    // The status stands in the first packet of an answer.
  }

  #request(packet: Packet, atNs: number, into: Exchange[]): boolean {
    const { data } = this.requests;
    if (this.#phase === "login") {
      this.#login(packet, atNs);
      return true;
    }
    // A number that goes on is a file that the server asked for, or a part of a login.
    if (data[packet.from - 1] !== 0) return true;
    const command = data[packet.from] ?? 0;
    if (packet.length === 0 || command === 0 || command >= commandMax) return false;
    if (replication.has(command)) {
      this.giveUp("a replica of MySQL");
      return true;
    }
    if (command === closeStatement) this.#statements.delete(readId(data, packet.from + 1));
    if (unanswered.has(command)) return true;
    const name = this.#name(command, packet);
    const operation = command === prepareCommand ? "PREPARE" : name;
    this.accept(
      {
        command,
        operation: this.#operations.name(operation),
        statement: command === prepareCommand ? name : "",
        startNs: atNs,
        requestBytes: packet.length + packetHeader,
      },
      into,
    );
    return true;
  }

  #name(command: number, packet: Packet): string {
    const { data } = this.requests;
    if (command === executeCommand) return this.#statements.get(readId(data, packet.from + 1)) ?? "EXECUTE";
    if (command !== queryCommand && command !== prepareCommand) return commands[command] ?? "other";
    // With query attributes a statement begins with their number, none, and one set of them.
    const attributes = command === queryCommand && data[packet.from + 1] === 0 && data[packet.from + 2] === 1 ? 2 : 0;
    return sqlNames(this.#operations, { data, from: packet.from + 1 + attributes, to: packet.to, escapes: "always" })[0] ?? "other";
  }

  #login(packet: Packet, atNs: number): void {
    const { data } = this.requests;
    if (this.#loginNs >= 0) return;
    this.#loginNs = atNs;
    const capabilities = (data[packet.from] ?? 0) | ((data[packet.from + 1] ?? 0) << 8);
    if ((capabilities & capabilityTls) !== 0 && packet.length === 32) this.giveUp("TLS");
    else if ((capabilities & capabilityCompress) !== 0) this.giveUp("compressed");
  }

  #response(packet: Packet, atNs: number, into: Exchange[]): void {
    const { data } = this.responses;
    const first = data[packet.from] ?? 0;
    if (this.#phase === "login") {
      if (this.#loginNs >= 0 && (first === 0 || first === errorMark)) this.#loggedIn(packet, atNs, into);
      return;
    }
    // The first packet of an answer follows the command's number 0.
    const head = this.pending.first();
    if (head === undefined || data[packet.from - 1] !== 1) return;
    const bytes = packet.length + packetHeader;
    if (first === errorMark) {
      this.complete({ status: errorState(data, packet), failed: "yes", atNs, bytes }, into);
      return;
    }
    if (head.command === prepareCommand && first === 0) remember(this.#statements, readId(data, packet.from + 1), head.statement);
    this.complete({ status: "OK", failed: "no", atNs, bytes }, into);
  }

  #loggedIn(packet: Packet, atNs: number, into: Exchange[]): void {
    const { data } = this.responses;
    this.#phase = "ready";
    if (data[packet.from] !== errorMark) return;
    const request = { operation: this.#operations.name("connect"), startNs: this.#loginNs, requestBytes: this.requests.consumed };
    into.push(this.exchange(request, { status: errorState(data, packet), failed: "yes", atNs, bytes: packet.length + packetHeader }));
  }
}

interface Packet {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** The first packet of a server: protocol 10, a version in text. */
export function beginsMysqlGreeting(data: Uint8Array): boolean {
  const length = (data[0] ?? 0) | ((data[1] ?? 0) << 8) | ((data[2] ?? 0) << 16);
  if (data.length < 12 || data[3] !== 0 || data[4] !== 10 || length < 20 || length > 512) return false;
  let at = 5;
  while (at < data.length && at < 70 && (data[at] ?? 0) >= 32 && (data[at] ?? 0) < 127) at += 1;
  return at > 6 && data[at] === 0 && (data[5] ?? 0) >= 48 && (data[5] ?? 0) <= 57;
}

/** Length of the next packet's body, -1 while its header is not complete. */
function packetLength(stream: StreamBytes): number {
  const { data, at } = stream;
  if (stream.available < packetHeader) return -1;
  return (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16);
}

function readId(data: Uint8Array, at: number): number {
  return ((data[at] ?? 0) | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16) | ((data[at + 3] ?? 0) << 24)) >>> 0;
}

/** SQLSTATE behind the `#` of an error packet, its number where there is none. */
function errorState(data: Uint8Array, packet: Packet): string {
  const { from, to } = packet;
  if (data[from + 3] === 35 && from + 9 <= to) {
    let state = "";
    for (let at = from + 4; at < from + 9; at += 1) state += String.fromCharCode(data[at] ?? 0);
    if (/^[0-9A-Z]{5}$/.test(state)) return state;
  }
  return String((data[from + 1] ?? 0) | ((data[from + 2] ?? 0) << 8));
}

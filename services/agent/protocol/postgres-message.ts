import type { PendingRequest } from "./fifo-parser.ts";
import { sqlBytesMax } from "./sql-shape.ts";
import type { StreamBytes } from "./stream-bytes.ts";

/** Bytes of one message at most, as PostgreSQL has it. */
export const messageBytesMax = 0x3fff_ffff;

export interface PostgresRequest extends PendingRequest {
  /** `query`: simple, may hold several statements; `execute`: of a portal; `sync`: ends a group, answered by ReadyForQuery. */
  readonly kind: "query" | "execute" | "sync";
  /** Names of a simple query's statements. */
  readonly names: readonly string[];
  readonly portal: Portal | null;
  /** Its Execute was hidden: without an answer it was none. */
  readonly assumed: "yes" | "no";
  /** Statements answered so far, and when the last was. */
  answered: number;
  sinceNs: number;
  /** It failed: nothing but ReadyForQuery may follow. */
  over: "yes" | "no";
}

export interface Portal {
  readonly operation: string;
  /** Fetched in part before: later fetches are no calls. */
  suspended: "yes" | "no";
}

/** A request of which nothing else is known yet. */
export function postgresRequest(known: Pick<PostgresRequest, "kind" | "operation" | "startNs" | "requestBytes">): PostgresRequest {
  const { kind, operation, startNs, requestBytes } = known;
  return { kind, operation, startNs, requestBytes, names: [], portal: null, assumed: "no", answered: 0, sinceNs: startNs, over: "no" };
}

/** First bytes of the messages that count. The two directions use some letters for different things. */
export const type = {
  query: 81,
  functionCall: 70,
  parse: 80,
  bind: 66,
  describe: 68,
  close: 67,
  execute: 69,
  sync: 83,
  copyDone: 99,
  copyFail: 102,
  dataRow: 68,
  rowDescription: 84,
  commandComplete: 67,
  emptyQuery: 73,
  portalSuspended: 115,
  functionResult: 86,
  error: 69,
  ready: 90,
  copyInResponse: 71,
  copyBothResponse: 87,
} as const;

/** By type: bytes of the body that have to be seen, -1 for what is no type; the rest is passed over. */
export const requestShape = shape("QPBEDCSHXFdcfp", { Q: sqlBytesMax, P: sqlBytesMax, B: 256, E: 128 });
export const responseShape = shape("RSKZTDCEN123ntIsAGHWdcVv", { C: 64, E: 1_024 });

function shape(types: string, wanted: Readonly<Record<string, number>>): Int16Array {
  const table = new Int16Array(256).fill(-1);
  for (const letter of types) table[letter.charCodeAt(0)] = wanted[letter] ?? 0;
  return table;
}

/** A message as it stands in the stream's data. */
export interface Message {
  type: number;
  /** Header included. */
  bytes: number;
  /** What was captured of the body. */
  from: number;
  to: number;
}

/** Describes the next message in `message`; the caller passes over its bytes. */
export function readMessage(stream: StreamBytes, shapes: Int16Array, message: Message): "message" | "more" | "bad" {
  const { data, at } = stream;
  const first = data[at] ?? 0;
  const seen = shapes[first] ?? -1;
  if (seen < 0) return "bad";
  if (stream.available < 5) return "more";
  const length = readInt32(data, at + 1);
  if (length < 4 || length > messageBytesMax) return "bad";
  if (stream.available < 5 + Math.min(length - 4, seen) && stream.hidden === 0) return "more";
  message.type = first;
  message.bytes = length + 1;
  message.from = at + 5;
  message.to = Math.min(stream.end, at + 1 + length);
  return "message";
}

export function readInt32(data: Uint8Array, at: number): number {
  return ((data[at] ?? 0) << 24) | ((data[at + 1] ?? 0) << 16) | ((data[at + 2] ?? 0) << 8) | (data[at + 3] ?? 0);
}

/** Where the text that begins at `from` ends: its zero byte, or `to`. */
export function textEnd(data: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && data[at] !== 0) at += 1;
  return at;
}

/** Where the capital letters at the beginning of a command tag end. */
export function verbEnd(data: Uint8Array, from: number, to: number): number {
  let end = from;
  while (end < to && (data[end] ?? 0) >= 65 && (data[end] ?? 0) <= 90) end += 1;
  return end;
}

/** The SQLSTATE in the fields of an ErrorResponse, `unknown` when it was not captured. */
export function errorStatus(data: Uint8Array, from: number, to: number): string {
  let at = from;
  while (at < to && data[at] !== 0) {
    const end = textEnd(data, at + 1, to);
    if (data[at] === 67 && end - at === 6) {
      let status = "";
      for (let index = at + 1; index < end; index += 1) status += String.fromCharCode(data[index] ?? 0);
      return /^[0-9A-Z]{5}$/.test(status) ? status : "unknown";
    }
    at = end + 1;
  }
  return "unknown";
}

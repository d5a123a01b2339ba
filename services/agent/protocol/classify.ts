import type { Transport } from "../kernel-event.ts";
import { readDns } from "./dns.ts";
import type { Protocol, Side } from "./exchange.ts";
import { beginsHttpRequest, beginsHttpResponse } from "./http1.ts";
import { beginsHttp2 } from "./http2.ts";
import { beginsKafkaRequest } from "./kafka.ts";
import { beginsMysqlGreeting } from "./mysql.ts";
import { readInt32 } from "./postgres-message.ts";

/** The first bytes that were seen of one direction. */
export interface FirstBytes {
  /** Null while the role of this end is not known. */
  readonly side: Side | null;
  readonly data: Uint8Array;
  /** All that came with them, captured or not. */
  readonly bytes: number;
  /** Of the server; a hint where bytes say little. */
  readonly port: number;
  readonly transport: Transport;
}

/** `sure`: nothing else begins like this. `likely`: two exchanges have to agree before any is told. */
export interface Guess {
  readonly protocol: Protocol;
  readonly side: Side;
  readonly strength: "sure" | "likely";
}

const portHints: Readonly<Record<number, Protocol>> = { 53: "dns", 3306: "mysql", 5432: "postgresql", 6379: "redis", 9092: "kafka" };
const postgresStartupCodes = new Set([196_608, 196_610, 80_877_102, 80_877_103, 80_877_104]);
const sqlVerbs = [
  "select",
  "insert",
  "update",
  "delete",
  "set",
  "show",
  "begin",
  "commit",
  "rollback",
  "create",
  "call",
  "start",
  "replace",
];
/** Bytes after which "not recognisable" is final. */
export const firstBytesMax = 64;

/** The port promises one of the protocols. */
export function isHinted(port: number): boolean {
  return portHints[port] !== undefined;
}

/** What the bytes are; null: encrypted or known not to be readable; `unknown`: not recognised, perhaps because there are too few. */
export function classify(first: FirstBytes): Guess | "unknown" | null {
  const { data, side } = first;
  if (first.transport === "udp") return datagram(first);
  if (isOpaque(data)) return null;
  for (const test of sureTests) {
    const guess = test(first);
    if (guess !== null) return guess;
  }
  const hint = portHints[first.port];
  const guesses: Guess[] = [];
  for (const test of likelyTests) {
    const guess = test(first);
    if (guess !== null && (side === null || guess.side === side)) guesses.push(guess);
  }
  const hinted = guesses.find((guess) => guess.protocol === hint);
  if (hinted !== undefined) return hinted;
  // A port that promises one protocol does not carry another one that only may be it.
  return guesses[0] === undefined || hint !== undefined ? "unknown" : guesses[0];
}

/** TLS records (a handshake that begins, or data of a session) and SSH. */
function isOpaque(data: Uint8Array): boolean {
  const type = data[0] ?? 0;
  if (data.length >= 6 && type === 22 && data[1] === 3 && (data[2] ?? 9) <= 4 && (data[5] === 1 || data[5] === 2)) return true;
  if (data.length >= 5 && type === 23 && data[1] === 3 && data[2] === 3 && (data[3] ?? 255) <= 65) return true;
  return beginsWith(data, "SSH-");
}

function datagram(first: FirstBytes): Guess | "unknown" {
  const message = readDns(first.data, 0, first.data.length);
  if (message === null) return "unknown";
  return { protocol: "dns", side: message.side, strength: first.port === 53 ? "sure" : "likely" };
}

type Test = (first: FirstBytes) => Guess | null;

const sureTests: readonly Test[] = [
  ({ data }) => (data.length >= 16 && beginsHttp2(data) ? { protocol: "http2", side: "request", strength: "sure" } : null),
  ({ data }) => (beginsHttpRequest(data) ? { protocol: "http", side: "request", strength: "sure" } : null),
  ({ data }) => (beginsHttpResponse(data) ? { protocol: "http", side: "response", strength: "sure" } : null),
  ({ data }) => (isPostgresStartup(data) ? { protocol: "postgresql", side: "request", strength: "sure" } : null),
  ({ data }) => (beginsMysqlGreeting(data) ? { protocol: "mysql", side: "response", strength: "sure" } : null),
  // An array of strings may be an answer as well; only where the end is not known, it is taken for a command.
  ({ data, side }) => (side !== "response" && isRedisCommand(data) ? { protocol: "redis", side: "request", strength: "sure" } : null),
];

const likelyTests: readonly Test[] = [
  ({ data, side }) =>
    side !== "request" && isRedisAnswer(data) && (side !== null || data[0] !== 42)
      ? { protocol: "redis", side: "response", strength: "likely" }
      : null,
  ({ data, port }) => (port === 6379 && isWord(data) ? { protocol: "redis", side: "request", strength: "likely" } : null),
  ({ data, bytes }) =>
    isPostgresChain(data, bytes, "QPBEDCSHXFdcfp") ? { protocol: "postgresql", side: "request", strength: "likely" } : null,
  ({ data, bytes }) =>
    isPostgresChain(data, bytes, "RSKZTDCEN123ntIsAGHdcV") ? { protocol: "postgresql", side: "response", strength: "likely" } : null,
  ({ data }) => (beginsKafkaRequest(data) ? { protocol: "kafka", side: "request", strength: "likely" } : null),
  (first) => (isMysqlCommand(first) ? { protocol: "mysql", side: "request", strength: "likely" } : null),
  framedDns,
  ({ data, side }) => (side !== null && isHttp2Frame(data) ? { protocol: "http2", side, strength: "likely" } : null),
];

function isPostgresStartup(data: Uint8Array): boolean {
  if (data.length < 8) return false;
  const length = readInt32(data, 0);
  const code = readInt32(data, 4);
  if (!postgresStartupCodes.has(code) || length < 8 || length > 10_000) return false;
  if (code === 80_877_102) return length === 16;
  if (code > 80_877_102) return length === 8;
  // Parameters: `user`, `database`. Kafka has a correlation id in their place.
  return data.length < 9 ? false : (data[8] ?? 0) >= 97 && (data[8] ?? 0) <= 122;
}

function isRedisCommand(data: Uint8Array): boolean {
  if (data[0] !== 42) return false;
  let at = 1;
  while (at < 9 && isDigit(data[at])) at += 1;
  return at > 1 && data[at] === 13 && data[at + 1] === 10 && data[at + 2] === 36 && isDigit(data[at + 3]);
}

function isRedisAnswer(data: Uint8Array): boolean {
  const type = String.fromCharCode(data[0] ?? 0);
  if (!"+-:$*%>~_,#".includes(type)) return false;
  const lineEnd = data.indexOf(13, 1);
  if (lineEnd < 0 || lineEnd > firstBytesMax || data[lineEnd + 1] !== 10) return false;
  for (let at = 1; at < lineEnd; at += 1) {
    const byte = data[at] ?? 0;
    if (":$*%>~".includes(type) ? !isDigit(byte) && byte !== 45 : byte < 32 || byte > 126) return false;
  }
  return true;
}

function isWord(data: Uint8Array): boolean {
  const lineEnd = data.indexOf(10, 1);
  if (lineEnd < 3 || lineEnd > firstBytesMax) return false;
  for (let at = 0; at < lineEnd - 1; at += 1) if ((data[at] ?? 0) < 32 || (data[at] ?? 0) > 126) return false;
  return ((data[0] ?? 0) | 32) >= 97 && ((data[0] ?? 0) | 32) <= 122;
}

/** Messages follow one another as their lengths say, as far as was captured, and the last ends where the piece ends. */
function isPostgresChain(data: Uint8Array, bytes: number, types: string): boolean {
  let at = 0;
  for (let count = 0; count < 64; count += 1) {
    if (at + 5 > data.length || !types.includes(String.fromCharCode(data[at] ?? 0))) return false;
    const length = readInt32(data, at + 1);
    if (length < 4 || length > 0x3fff_ffff) return false;
    at += length + 1;
    if (at === bytes) return true;
    if (at > data.length) return at < bytes;
  }
  return true;
}

function isMysqlCommand(first: FirstBytes): boolean {
  const { data, bytes } = first;
  const length = (data[0] ?? 0) | ((data[1] ?? 0) << 8) | ((data[2] ?? 0) << 16);
  const command = data[4] ?? 0;
  if (data.length < 5 || data[3] !== 0 || length + 4 !== bytes) return false;
  if (first.port === 3306) return command > 0 && command < 32;
  if (command !== 3 && command !== 22) return command === 14 && length === 1;
  let text = "";
  for (let at = 5; at < Math.min(data.length, 13); at += 1) text += String.fromCharCode(data[at] ?? 0);
  return sqlVerbs.some((verb) => text.toLowerCase().startsWith(verb));
}

function framedDns(first: FirstBytes): Guess | null {
  if (first.port !== 53) return null;
  const message = readDns(first.data, 2, first.data.length);
  return message === null ? null : { protocol: "dns", side: message.side, strength: "likely" };
}

function isHttp2Frame(data: Uint8Array): boolean {
  if (data.length < 9) return false;
  const length = readInt32(data, 0) >>> 8;
  const type = data[3] ?? 0;
  const id = readInt32(data, 5);
  if (length > 16_384 || id < 0) return false;
  if (type === 8) return length === 4;
  if (type === 6) return length === 8 && id === 0;
  if (type === 4) return id === 0 && length % 6 === 0 && (data[4] ?? 0) <= 1;
  return type <= 1 && length > 0 && id > 0 && id < 0x100_0000;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 48 && byte <= 57;
}

function beginsWith(data: Uint8Array, text: string): boolean {
  if (data.length < text.length) return false;
  for (let at = 0; at < text.length; at += 1) if (data[at] !== text.charCodeAt(at)) return false;
  return true;
}

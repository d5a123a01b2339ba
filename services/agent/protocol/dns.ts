import type { Exchange, Side, StreamPiece } from "./exchange.ts";
import { FramedParser } from "./framed-parser.ts";
import type { OperationNames } from "./operation-names.ts";

interface DnsQuery {
  readonly operation: string;
  readonly startNs: number;
  readonly requestBytes: number;
}

const headerBytes = 12;
const nameBytesMax = 255;
const types: Readonly<Record<number, string>> = {
  1: "A",
  2: "NS",
  5: "CNAME",
  6: "SOA",
  12: "PTR",
  15: "MX",
  16: "TXT",
  28: "AAAA",
  33: "SRV",
  35: "NAPTR",
  43: "DS",
  46: "RRSIG",
  48: "DNSKEY",
  64: "SVCB",
  65: "HTTPS",
  251: "IXFR",
  252: "AXFR",
  255: "ANY",
  257: "CAA",
};
const codes: readonly string[] = [
  "NOERROR",
  "FORMERR",
  "SERVFAIL",
  "NXDOMAIN",
  "NOTIMP",
  "REFUSED",
  "YXDOMAIN",
  "YXRRSET",
  "NXRRSET",
  "NOTAUTH",
  "NOTZONE",
];
/** Answers that say that the name server could not or would not do its work. A name that does not exist is an answer. */
const failures = new Set(["FORMERR", "SERVFAIL", "NOTIMP", "REFUSED"]);

/** What the header and the question of a message say; null when it is no DNS. */
interface DnsMessage {
  readonly id: number;
  readonly side: Side;
  readonly code: number;
  readonly type: number;
  /** Tells questions under one id apart. */
  readonly key: number;
}

/**
 * DNS over UDP (each piece is one message) and TCP (two bytes of length before each). A query that is repeated under its id keeps its first
 * time, so that a name server that answers the second try is as slow as its caller felt it.
 */
export class DnsParser extends FramedParser<DnsQuery> {
  readonly protocol = "dns";
  readonly #operations: OperationNames;
  readonly #transport: "udp" | "tcp";

  constructor(options: { start: "beginning" | "middle"; transport: "udp" | "tcp"; operations: OperationNames }) {
    super(options);
    this.#operations = options.operations;
    this.#transport = options.transport;
  }

  /** A datagram needs no stream: what its bytes were before does not matter. */
  override feed(side: Side, piece: StreamPiece, into: Exchange[]): void {
    if (this.#transport === "tcp") {
      super.feed(side, piece, into);
      return;
    }
    super.feed(side, { atNs: piece.atNs, bytes: piece.bytes, data: piece.data, flags: 0, offset: this.#nextOffset(side) }, into);
  }

  protected read(side: Side, atNs: number, into: Exchange[]): boolean {
    const stream = side === "request" ? this.requests : this.responses;
    const prefix = this.#transport === "tcp" ? 2 : 0;
    while (stream.at < stream.end) {
      if (stream.available < prefix) return true;
      const { data, at } = stream;
      const bytes = prefix === 0 ? stream.available + stream.hidden : (data[at] ?? 0) * 256 + (data[at + 1] ?? 0);
      if (bytes < headerBytes) return false;
      const end = Math.min(stream.end, at + prefix + bytes);
      const message = readDns(data, at + prefix, end);
      const whole = end - at >= prefix + Math.min(bytes, headerBytes + nameBytesMax + 4);
      if (message === null && prefix > 0 && !whole && stream.hidden === 0) return true;
      if (message === null) return false;
      this.#message(message, { bytes, atNs }, into);
      stream.skip(prefix + bytes);
    }
    return true;
  }

  protected begins(_side: Side, data: Uint8Array): boolean {
    const prefix = this.#transport === "tcp" ? 2 : 0;
    return readDns(data, prefix, data.length) !== null;
  }

  protected strayed(): void {
    // Messages stand for themselves.
  }

  #nextOffset(side: Side): number {
    return Math.max(0, (side === "request" ? this.requests : this.responses).expected);
  }

  /** Which side a message belongs to is said by the message itself. */
  #message(message: DnsMessage, seen: { bytes: number; atNs: number }, into: Exchange[]): void {
    if (message.side === "request") {
      if (this.pending.has(message.key)) return;
      const operation = this.#operations.name(types[message.type] ?? "other");
      this.accept(message.key, { operation, startNs: seen.atNs, requestBytes: seen.bytes });
      return;
    }
    const query = this.take(message.key);
    if (query === undefined) return;
    const status = codes[message.code] ?? "other";
    into.push({
      protocol: "dns",
      operation: query.operation,
      status,
      failed: failures.has(status) ? "yes" : "no",
      startNs: query.startNs,
      endNs: seen.atNs,
      requestBytes: query.requestBytes,
      responseBytes: seen.bytes,
    });
  }
}

/** Header and question between two places; null when it is no DNS message with one question. */
export function readDns(data: Uint8Array, from: number, to: number): DnsMessage | null {
  if (to - from < headerBytes + 5) return null;
  const id = (data[from] ?? 0) * 256 + (data[from + 1] ?? 0);
  const high = data[from + 2] ?? 0;
  const low = data[from + 3] ?? 0;
  if (((high >> 3) & 15) !== 0 || (low & 0x40) !== 0) return null;
  if (data[from + 4] !== 0 || data[from + 5] !== 1) return null;
  const side = high >= 128 ? "response" : "request";
  if (side === "request" && ((low & 15) !== 0 || data[from + 6] !== 0 || data[from + 7] !== 0)) return null;
  let at = from + headerBytes;
  for (let label = data[at] ?? 0; label !== 0; label = data[at] ?? 0) {
    if (label > 63 || at + label + 1 >= to || at - from > headerBytes + nameBytesMax) return null;
    at += label + 1;
  }
  if (at + 5 > to) return null;
  const type = (data[at + 1] ?? 0) * 256 + (data[at + 2] ?? 0);
  const group = (data[at + 3] ?? 0) * 256 + (data[at + 4] ?? 0);
  if (type === 0 || (group !== 1 && group !== 255 && group !== 3)) return null;
  return { id, side, code: low & 15, type, key: id * 65_536 + type };
}

/** Records as a ring holds them, written through the generated layout. */
import { eventLayout, eventNumbers } from "../../../services/agent/event-layout.generated.ts";

export interface RawHeader {
  readonly type: number;
  readonly version?: number;
  readonly tailLength?: number;
  readonly atNs?: bigint;
  readonly cookie?: bigint;
  readonly cgroup?: bigint;
  readonly tgid?: number;
  readonly tid?: number;
  readonly netns?: number;
  readonly role?: number;
  readonly transport?: number;
  readonly direction?: number;
  readonly flags?: number;
}

/** One record: a fixed part of `structBytes` that `fill` completes, and its tail. */
export function rawRecord(
  structBytes: number,
  header: RawHeader,
  fill: (bytes: Buffer) => void,
  tail: Uint8Array = new Uint8Array(0),
): Buffer {
  const layout = eventLayout.header;
  const bytes = Buffer.alloc(structBytes + tail.length);
  bytes.writeUInt16LE(header.type, layout.type);
  bytes.writeUInt16LE(header.version ?? eventNumbers.HW_EVENT_VERSION, layout.version);
  bytes.writeUInt32LE(header.tailLength ?? tail.length, layout.tailLength);
  bytes.writeBigUInt64LE(header.atNs ?? 0n, layout.atNs);
  bytes.writeBigUInt64LE(header.cookie ?? 0n, layout.cookie);
  bytes.writeBigUInt64LE(header.cgroup ?? 0n, layout.cgroup);
  bytes.writeUInt32LE(header.tgid ?? 0, layout.tgid);
  bytes.writeUInt32LE(header.tid ?? 0, layout.tid);
  bytes.writeUInt32LE(header.netns ?? 0, layout.netns);
  bytes.writeUInt8(header.role ?? 0, layout.role);
  bytes.writeUInt8(header.transport ?? 0, layout.transport);
  bytes.writeUInt8(header.direction ?? 0, layout.direction);
  bytes.writeUInt8(header.flags ?? 0, layout.flags);
  fill(bytes);
  bytes.set(tail, structBytes);
  return bytes;
}

/** Records as `drain` copies them: each behind its length, padded to 8 bytes. */
export function rawBatch(records: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    records.map((record) => {
      const framed = Buffer.alloc(8 + ((record.length + 7) & ~7));
      framed.writeUInt32LE(record.length, 0);
      framed.set(record, 8);
      return framed;
    }),
  );
}

export function rawTurn(request: string, response: string, header: Partial<RawHeader> = {}): Buffer {
  const layout = eventLayout.turn;
  const tail = Buffer.from(request + response);
  return rawRecord(
    layout.structBytes,
    { type: eventNumbers.HW_TURN, role: 2, transport: eventNumbers.HW_TCP, ...header },
    (bytes) => {
      bytes.writeBigUInt64LE(1_000n, layout.requestNs);
      bytes.writeBigUInt64LE(2_500n, layout.responseNs);
      bytes.writeUInt32LE(700, layout.requestBytes);
      bytes.writeUInt32LE(9_000, layout.responseBytes);
      bytes.writeUInt16LE(Buffer.byteLength(request), layout.requestLength);
      bytes.writeUInt16LE(Buffer.byteLength(response), layout.responseLength);
      bytes.writeUInt32LE(3, layout.sequence);
    },
    tail,
  );
}

export function rawChunk(data: Uint8Array, header: Partial<RawHeader> = {}): Buffer {
  const layout = eventLayout.chunk;
  return rawRecord(
    layout.structBytes,
    { type: eventNumbers.HW_CHUNK, direction: eventNumbers.HW_SENT, ...header },
    (bytes) => {
      bytes.writeBigUInt64LE(5_000_000_000n, layout.offset);
      bytes.writeUInt32LE(data.length + 10, layout.bytes);
      bytes.writeUInt32LE(8, layout.sequence);
    },
    data,
  );
}

export function rawSyscall(
  values: { number: number; result: bigint; command: string },
  tail: Uint8Array,
  header: Partial<RawHeader> = {},
): Buffer {
  const layout = eventLayout.syscall;
  return rawRecord(
    layout.structBytes,
    { type: eventNumbers.HW_SYSCALL, ...header },
    (bytes) => {
      bytes.writeBigInt64LE(values.result, layout.result);
      bytes.writeBigUInt64LE(1_234n, layout.durationNs);
      bytes.writeUInt32LE(values.number, layout.number);
      bytes.writeUInt32LE(1, layout.parentTgid);
      bytes.write(values.command, layout.command, eventNumbers.HW_COMMAND_LENGTH);
    },
    tail,
  );
}

export function rawProcess(type: number, tail: Uint8Array = new Uint8Array(0)): Buffer {
  const layout = eventLayout.process;
  return rawRecord(
    layout.structBytes,
    { type, tgid: 10 },
    (bytes) => {
      bytes.writeUInt32LE(9, layout.parentTgid);
      bytes.writeInt32LE(3, layout.exitCode);
      bytes.writeUInt32LE(11, layout.exitSignal);
      bytes.writeUInt32LE(12, layout.childTgid);
      bytes.writeBigUInt64LE(77n, layout.startedNs);
      bytes.write("sh", layout.command);
    },
    tail,
  );
}

/** An address at `at` of a record or a key. */
export function writeAddress(
  bytes: Buffer,
  at: number,
  address: { ip: readonly number[]; port: number; family: number; peerTgid?: number },
): void {
  const layout = eventLayout.address;
  bytes.set(address.ip, at + layout.ip);
  bytes.writeUInt16LE(address.port, at + layout.port);
  bytes.writeUInt16LE(address.family, at + layout.family);
  bytes.writeUInt32LE(address.peerTgid ?? 0, at + layout.peerTgid);
}

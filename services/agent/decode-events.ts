import { ipv4Text, ipv6Text } from "./address-text.ts";
import { eventLayout, eventNumbers } from "./event-layout.generated.ts";
import type {
  Chunk,
  ConnectionClosed,
  ConnectionOpened,
  Direction,
  EndAddress,
  KernelEvent,
  ProcessEvent,
  Role,
  SyscallDetail,
  Transport,
  Turn,
} from "./kernel-event.ts";

/**
 * Why a record was skipped: its length passes the end of the batch (the rest of the batch is lost with it), it is shorter than a header, it
 * is of another version or of an unknown type, or its length does not fit what it says to hold.
 */
export type RejectReason = "cut" | "short" | "version" | "type" | "length";

/** Before each record of a drained ring: its length as u32 and a word that is not used. */
const lengthBytes = 8;

const header = eventLayout.header;
const turnLayout = eventLayout.turn;
const chunkLayout = eventLayout.chunk;
const syscallLayout = eventLayout.syscall;
const processLayout = eventLayout.process;
const connectionLayout = eventLayout.connection;
const endLayout = eventLayout.connectionEnd;

/** Bytes of the fixed part, by type of record; 0 is no type. */
const fixedBytes: number[] = [];
fixedBytes[eventNumbers.HW_CONNECTION_OPENED] = connectionLayout.structBytes;
fixedBytes[eventNumbers.HW_CONNECTION_CLOSED] = endLayout.structBytes;
fixedBytes[eventNumbers.HW_TURN] = turnLayout.structBytes;
fixedBytes[eventNumbers.HW_CHUNK] = chunkLayout.structBytes;
fixedBytes[eventNumbers.HW_SYSCALL] = syscallLayout.structBytes;
fixedBytes[eventNumbers.HW_EXEC] = processLayout.structBytes;
fixedBytes[eventNumbers.HW_FORK] = processLayout.structBytes;
fixedBytes[eventNumbers.HW_EXIT] = processLayout.structBytes;
fixedBytes[eventNumbers.HW_OOM_KILL] = processLayout.structBytes;
fixedBytes[eventNumbers.HW_LISTENER] = connectionLayout.structBytes;

const roles: readonly Role[] = ["unknown", "client", "server"];
const directions: readonly (Direction | null)[] = [null, "received", "sent"];
const resets: readonly ConnectionClosed["outcome"][] = ["closed", "reset-by-peer", "reset-here"];

/**
 * Turns what a ring held into events. Never throws on data: what it cannot read is counted by its reason and skipped. Bytes of payload in an
 * event are views into the batch. One decoder per ring, used from one thread.
 */
export class EventDecoder {
  /** Records that became events. */
  decoded = 0;
  /** Records that were skipped, by reason. */
  readonly rejected: Record<RejectReason, number> = { cut: 0, short: 0, version: 0, type: 0, length: 0 };
  #bytes: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(this.#bytes.buffer);

  /** Decodes the records of one batch in their order. An exception of `onEvent` passes through. */
  decode(batch: Uint8Array, onEvent: (event: KernelEvent) => void): void {
    this.#bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);
    this.#view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    let at = 0;
    while (at < batch.byteLength) {
      const start = at + lengthBytes;
      const length = start <= batch.byteLength ? this.#view.getUint32(at, true) : 0;
      if (start > batch.byteLength || length > batch.byteLength - start) {
        this.rejected.cut += 1;
        return;
      }
      const event = this.#record(start, length);
      if (event !== null) {
        this.decoded += 1;
        onEvent(event);
      }
      at = start + ((length + 7) & ~7);
    }
  }

  #record(at: number, length: number): KernelEvent | null {
    if (length < header.structBytes) {
      this.rejected.short += 1;
      return null;
    }
    if (this.#view.getUint16(at + header.version, true) !== eventNumbers.HW_EVENT_VERSION) {
      this.rejected.version += 1;
      return null;
    }
    const type = this.#view.getUint16(at + header.type, true);
    const fixed = fixedBytes[type];
    if (fixed === undefined) {
      this.rejected.type += 1;
      return null;
    }
    const tailBytes = this.#view.getUint32(at + header.tailLength, true);
    if (fixed + tailBytes !== length) {
      this.rejected.length += 1;
      return null;
    }
    return this.#event(type, at, { start: at + fixed, end: at + length });
  }

  #event(type: number, at: number, tail: Tail): KernelEvent | null {
    switch (type) {
      case eventNumbers.HW_TURN:
        return this.#turn(at, tail);
      case eventNumbers.HW_CHUNK:
        return this.#chunk(at, tail);
      case eventNumbers.HW_SYSCALL:
        return this.#syscall(at, tail);
      case eventNumbers.HW_CONNECTION_OPENED:
        return this.#opened(at, "connection-opened");
      case eventNumbers.HW_LISTENER:
        return this.#opened(at, "listener");
      case eventNumbers.HW_CONNECTION_CLOSED:
        return this.#closed(at);
      case eventNumbers.HW_EXEC:
        return this.#process(at, "exec", tail);
      case eventNumbers.HW_FORK:
        return this.#process(at, "fork", tail);
      case eventNumbers.HW_EXIT:
        return this.#process(at, "exit", tail);
      default:
        return this.#process(at, "oom-kill", tail);
    }
  }

  /** Turns and chunks name the header's fields themselves: spreading `#header` into them costs half of their time. */
  #turn(at: number, tail: Tail): Turn | null {
    const view = this.#view;
    const requestLength = view.getUint16(at + turnLayout.requestLength, true);
    const responseLength = view.getUint16(at + turnLayout.responseLength, true);
    const border = tail.start + requestLength;
    if (border + responseLength !== tail.end) {
      this.rejected.length += 1;
      return null;
    }
    return {
      type: "turn",
      atNs: this.#u64(at + header.atNs),
      cookie: view.getBigUint64(at + header.cookie, true),
      cgroup: view.getBigUint64(at + header.cgroup, true),
      tgid: view.getUint32(at + header.tgid, true),
      tid: view.getUint32(at + header.tid, true),
      netns: view.getUint32(at + header.netns, true),
      role: roleOf(view.getUint8(at + header.role)),
      transport: transportOf(view.getUint8(at + header.transport)),
      direction: directionOf(view.getUint8(at + header.direction)),
      flags: view.getUint8(at + header.flags),
      requestNs: this.#u64(at + turnLayout.requestNs),
      responseNs: this.#u64(at + turnLayout.responseNs),
      requestBytes: view.getUint32(at + turnLayout.requestBytes, true),
      responseBytes: view.getUint32(at + turnLayout.responseBytes, true),
      sequence: view.getUint32(at + turnLayout.sequence, true),
      request: this.#bytes.subarray(tail.start, border),
      response: this.#bytes.subarray(border, tail.end),
    };
  }

  #chunk(at: number, tail: Tail): Chunk {
    const view = this.#view;
    return {
      type: "chunk",
      atNs: this.#u64(at + header.atNs),
      cookie: view.getBigUint64(at + header.cookie, true),
      cgroup: view.getBigUint64(at + header.cgroup, true),
      tgid: view.getUint32(at + header.tgid, true),
      tid: view.getUint32(at + header.tid, true),
      netns: view.getUint32(at + header.netns, true),
      role: roleOf(view.getUint8(at + header.role)),
      transport: transportOf(view.getUint8(at + header.transport)),
      direction: directionOf(view.getUint8(at + header.direction)),
      flags: view.getUint8(at + header.flags),
      offset: this.#u64(at + chunkLayout.offset),
      bytes: view.getUint32(at + chunkLayout.bytes, true),
      sequence: view.getUint32(at + chunkLayout.sequence, true),
      data: this.#bytes.subarray(tail.start, tail.end),
    };
  }

  #syscall(at: number, tail: Tail): SyscallDetail {
    const view = this.#view;
    return {
      type: "syscall",
      ...this.#header(at),
      number: view.getUint32(at + syscallLayout.number, true),
      result: this.#s64(at + syscallLayout.result),
      durationNs: this.#u64(at + syscallLayout.durationNs),
      parentTgid: view.getUint32(at + syscallLayout.parentTgid, true),
      command: this.#command(at + syscallLayout.command),
      text: this.#text(tail).replaceAll("\0", " "),
    };
  }

  #process(at: number, type: ProcessEvent["type"], tail: Tail): ProcessEvent {
    const view = this.#view;
    const parts = tail.start === tail.end ? [] : this.#text(tail).split("\0");
    return {
      type,
      ...this.#header(at),
      parentTgid: view.getUint32(at + processLayout.parentTgid, true),
      exitCode: view.getInt32(at + processLayout.exitCode, true),
      exitSignal: view.getUint32(at + processLayout.exitSignal, true),
      childTgid: view.getUint32(at + processLayout.childTgid, true),
      startedNs: this.#u64(at + processLayout.startedNs),
      command: this.#command(at + processLayout.command),
      file: parts[0] ?? "",
      arguments: parts.slice(1),
    };
  }

  #opened(at: number, type: ConnectionOpened["type"]): ConnectionOpened {
    const local = this.#address(at + connectionLayout.local);
    return { type, ...this.#header(at), local, remote: this.#address(at + connectionLayout.remote) };
  }

  #closed(at: number): ConnectionClosed {
    const view = this.#view;
    const failed = view.getUint8(at + endLayout.failed) !== 0;
    return {
      type: "connection-closed",
      ...this.#header(at),
      local: this.#address(at + endLayout.local),
      remote: this.#address(at + endLayout.remote),
      openedNs: this.#u64(at + endLayout.openedNs),
      bytesSent: this.#u64(at + endLayout.bytesSent),
      bytesReceived: this.#u64(at + endLayout.bytesReceived),
      retransmits: view.getUint32(at + endLayout.retransmits, true),
      roundTripUs: view.getUint32(at + endLayout.roundTripUs, true),
      error: view.getUint16(at + endLayout.error, true),
      outcome: failed ? "failed" : (resets[view.getUint8(at + endLayout.reset)] ?? "closed"),
    };
  }

  #header(at: number): Header {
    const view = this.#view;
    return {
      atNs: this.#u64(at + header.atNs),
      cookie: view.getBigUint64(at + header.cookie, true),
      cgroup: view.getBigUint64(at + header.cgroup, true),
      tgid: view.getUint32(at + header.tgid, true),
      tid: view.getUint32(at + header.tid, true),
      netns: view.getUint32(at + header.netns, true),
      role: roleOf(view.getUint8(at + header.role)),
      transport: transportOf(view.getUint8(at + header.transport)),
      direction: directionOf(view.getUint8(at + header.direction)),
      flags: view.getUint8(at + header.flags),
    };
  }

  #address(at: number): EndAddress {
    const layout = eventLayout.address;
    const family = this.#view.getUint16(at + layout.family, true);
    return {
      ip: this.#ip(at + layout.ip, family),
      port: this.#view.getUint16(at + layout.port, true),
      peerTgid: this.#view.getUint32(at + layout.peerTgid, true),
    };
  }

  #ip(at: number, family: number): string {
    if (family === eventNumbers.HW_IPV4) {
      return ipv4Text(this.#bytes, at);
    }
    return family === eventNumbers.HW_IPV6 ? ipv6Text(this.#bytes, at) : "";
  }

  /** Exact below 2^53, that is for 104 days of uptime in ns; then within 16 ns. */
  #u64(at: number): number {
    return this.#view.getUint32(at + 4, true) * 4_294_967_296 + this.#view.getUint32(at, true);
  }

  #s64(at: number): number {
    return this.#view.getInt32(at + 4, true) * 4_294_967_296 + this.#view.getUint32(at, true);
  }

  #command(at: number): string {
    const zero = this.#bytes.indexOf(0, at);
    const end = at + eventNumbers.HW_COMMAND_LENGTH;
    return this.#bytes.toString("utf8", at, zero < at || zero > end ? end : zero);
  }

  /** The tail without the NUL behind its last part. */
  #text(tail: Tail): string {
    const end = tail.end > tail.start && this.#bytes[tail.end - 1] === 0 ? tail.end - 1 : tail.end;
    return this.#bytes.toString("utf8", tail.start, end);
  }
}

interface Tail {
  readonly start: number;
  readonly end: number;
}

type Header = Omit<ConnectionOpened, "type" | "local" | "remote">;

function roleOf(value: number): Role {
  return roles[value] ?? "unknown";
}

function transportOf(value: number): Transport {
  return value === eventNumbers.HW_TCP ? "tcp" : value === eventNumbers.HW_UDP ? "udp" : "local";
}

function directionOf(value: number): Direction | null {
  return directions[value] ?? null;
}

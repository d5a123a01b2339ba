import { ipv4Text, ipv6Text } from "./address-text.ts";
import { eventLayout, eventNumbers } from "./event-layout.generated.ts";
import type { EndAddress, Role, Transport } from "./kernel-event.ts";

/** A dumped map: every entry is its key, rounded up to 8 bytes, then its value once per processor. */
export interface MapEntries {
  readonly bytes: Uint8Array;
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** 1 for a map that is not per processor. */
  readonly cpus: number;
}

/** Row of `flows`. Counters of all rows only grow. */
export interface FlowCounter {
  readonly cgroup: bigint;
  readonly tgid: number;
  readonly netns: number;
  readonly local: EndAddress;
  readonly remote: EndAddress;
  readonly role: Role;
  readonly transport: Transport;
  readonly opened: number;
  readonly closed: number;
  readonly failed: number;
  readonly reset: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly retransmits: number;
  readonly roundTripUsSum: number;
  readonly roundTripCount: number;
}

/** Row of `syscalls`. */
export interface SyscallCounter {
  readonly tgid: number;
  readonly number: number;
  readonly cgroup: bigint;
  readonly count: number;
  readonly errors: number;
  readonly sumNs: number;
  /** Calls by log2 of their duration in ns. */
  readonly buckets: Float64Array;
}

/** Row of `schedules`. */
export interface ScheduleCounter {
  readonly cgroup: bigint;
  readonly tgid: number;
  readonly runNs: number;
  /** Wanted a processor and had none: other work, or the quota was used up. */
  readonly waitNs: number;
  readonly waitCount: number;
  readonly switches: number;
  /** Asleep until a block device had answered. */
  readonly ioWaitNs: number;
  readonly ioWaitCount: number;
  /** Waits for a processor by log2 of their length in ns. */
  readonly waitBuckets: Float64Array;
}

/** Row of `blocks`. */
export interface BlockCounter {
  /** The id without the mark of `hierarchy`; 0n for the kernel's own work. */
  readonly cgroup: bigint;
  /** Where `cgroup` is an id: of cgroup v2, or of the blkio hierarchy of cgroup v1. */
  readonly hierarchy: "v2" | "blkio";
  readonly major: number;
  readonly minor: number;
  readonly operation: "read" | "write" | "other";
  readonly count: number;
  readonly errors: number;
  readonly bytes: number;
  readonly sumNs: number;
  /** Requests by log2 of their time at the driver in ns. */
  readonly buckets: Float64Array;
}

/** Row of `interfaces`; bytes with the header of the link. */
export interface InterfaceCounter {
  readonly netns: number;
  readonly interface: number;
  readonly packetsReceived: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly bytesSent: number;
}

/** Row of `drops`; names of reasons are in `kernel-enum.ts`. */
export interface DropCounter {
  readonly reason: number;
  /** 0 where it is not known. */
  readonly netns: number;
  readonly count: number;
}

const roles: readonly Role[] = ["unknown", "client", "server"];
const operations: readonly BlockCounter["operation"][] = ["read", "write", "other"];
const blkioBit = 1n << 63n;

/** Rows of `flows`; null when the sizes of the dump are not those of this version. */
export function decodeFlows(dump: MapEntries): FlowCounter[] | null {
  const key = eventLayout.flowKey;
  const value = eventLayout.flowValue;
  return rows(dump, { keyBytes: key.structBytes, valueBytes: value.structBytes }, (entry) => ({
    cgroup: entry.keyU64(key.cgroup),
    tgid: entry.keyU32(key.tgid),
    netns: entry.keyU32(key.netns),
    local: entry.address(key.local),
    remote: entry.address(key.remote),
    role: roles[entry.keyU8(key.role)] ?? "unknown",
    transport: transportOf(entry.keyU8(key.transport)),
    opened: entry.sum(value.opened),
    closed: entry.sum(value.closed),
    failed: entry.sum(value.failed),
    reset: entry.sum(value.reset),
    bytesSent: entry.sum(value.bytesSent),
    bytesReceived: entry.sum(value.bytesReceived),
    retransmits: entry.sum(value.retransmits),
    roundTripUsSum: entry.sum(value.roundTripUsSum),
    roundTripCount: entry.sum(value.roundTripCount),
  }));
}

/** Rows of `syscalls`; null when the sizes of the dump are not those of this version. */
export function decodeSyscalls(dump: MapEntries): SyscallCounter[] | null {
  const key = eventLayout.syscallKey;
  const value = eventLayout.syscallValue;
  return rows(dump, { keyBytes: key.structBytes, valueBytes: value.structBytes }, (entry) => ({
    tgid: entry.keyU32(key.tgid),
    number: entry.keyU32(key.number),
    cgroup: entry.greatest(value.cgroup),
    count: entry.sum(value.count),
    errors: entry.sum(value.errors),
    sumNs: entry.sum(value.sumNs),
    buckets: entry.buckets(value.buckets),
  }));
}

/** Rows of `schedules`; null when the sizes of the dump are not those of this version. */
export function decodeSchedules(dump: MapEntries): ScheduleCounter[] | null {
  const key = eventLayout.scheduleKey;
  const value = eventLayout.scheduleValue;
  return rows(dump, { keyBytes: key.structBytes, valueBytes: value.structBytes }, (entry) => ({
    cgroup: entry.keyU64(key.cgroup),
    tgid: entry.keyU32(key.tgid),
    runNs: entry.sum(value.runNs),
    waitNs: entry.sum(value.waitNs),
    waitCount: entry.sum(value.waitCount),
    switches: entry.sum(value.switches),
    ioWaitNs: entry.sum(value.ioWaitNs),
    ioWaitCount: entry.sum(value.ioWaitCount),
    waitBuckets: entry.buckets(value.waitBuckets),
  }));
}

/** Rows of `blocks`; null when the sizes of the dump are not those of this version. */
export function decodeBlocks(dump: MapEntries): BlockCounter[] | null {
  const key = eventLayout.blockKey;
  const value = eventLayout.blockValue;
  return rows(dump, { keyBytes: key.structBytes, valueBytes: value.structBytes }, (entry) => {
    const cgroup = entry.keyU64(key.cgroup);
    const device = entry.keyU32(key.device);
    return {
      cgroup: cgroup & ~blkioBit,
      hierarchy: (cgroup & blkioBit) === 0n ? ("v2" as const) : ("blkio" as const),
      major: device >>> 20,
      minor: device & 0xfffff,
      operation: operations[entry.keyU8(key.operation)] ?? ("other" as const),
      count: entry.sum(value.count),
      errors: entry.sum(value.errors),
      bytes: entry.sum(value.bytes),
      sumNs: entry.sum(value.sumNs),
      buckets: entry.buckets(value.buckets),
    };
  });
}

/** Rows of `interfaces`; null when the sizes of the dump are not those of this version. */
export function decodeInterfaces(dump: MapEntries): InterfaceCounter[] | null {
  const key = eventLayout.interfaceKey;
  const value = eventLayout.interfaceValue;
  return rows(dump, { keyBytes: key.structBytes, valueBytes: value.structBytes }, (entry) => ({
    netns: entry.keyU32(key.netns),
    interface: entry.keyU32(key.interface),
    packetsReceived: entry.sum(value.packetsReceived),
    bytesReceived: entry.sum(value.bytesReceived),
    packetsSent: entry.sum(value.packetsSent),
    bytesSent: entry.sum(value.bytesSent),
  }));
}

/** Rows of `drops`; null when the sizes of the dump are not those of this version. */
export function decodeDrops(dump: MapEntries): DropCounter[] | null {
  const key = eventLayout.dropKey;
  const value = eventLayout.dropValue;
  return rows(dump, { keyBytes: key.structBytes, valueBytes: value.structBytes }, (entry) => ({
    reason: entry.keyU32(key.reason),
    netns: entry.keyU32(key.netns),
    count: entry.sum(value.count),
  }));
}

/** What did not fit, by `enum hw_loss`; null when the sizes of the dump are not those of this version. */
export function decodeLosses(dump: MapEntries): ReadonlyMap<number, number> | null {
  const found = rows(dump, { keyBytes: 8, valueBytes: 8 }, (entry) => ({ where: entry.keyU32(0), count: entry.sum(0) }));
  return found === null ? null : new Map(found.map((row) => [row.where, row.count]));
}

/** One entry of a dump; offsets are those of its key or its value. */
class Entry {
  readonly #dump: MapEntries;
  readonly #view: DataView;
  at = 0;

  constructor(dump: MapEntries) {
    this.#dump = dump;
    this.#view = new DataView(dump.bytes.buffer, dump.bytes.byteOffset, dump.bytes.byteLength);
  }

  keyU8(offset: number): number {
    return this.#view.getUint8(this.at + offset);
  }

  keyU32(offset: number): number {
    return this.#view.getUint32(this.at + offset, true);
  }

  keyU64(offset: number): bigint {
    return this.#view.getBigUint64(this.at + offset, true);
  }

  address(offset: number): EndAddress {
    const layout = eventLayout.address;
    const at = this.at + offset;
    const family = this.#view.getUint16(at + layout.family, true);
    const ip = family === eventNumbers.HW_IPV4 ? ipv4Text(this.#dump.bytes, at) : ipv6Text(this.#dump.bytes, at);
    const known = family === eventNumbers.HW_IPV4 || family === eventNumbers.HW_IPV6;
    return {
      ip: known ? ip : "",
      port: this.#view.getUint16(at + layout.port, true),
      peerTgid: this.#view.getUint32(at + layout.peerTgid, true),
    };
  }

  /** A counter over all processors; exact below 2^53. */
  sum(offset: number): number {
    let total = 0;
    for (let cpu = 0; cpu < this.#dump.cpus; cpu += 1) {
      const at = this.#valueAt(cpu) + offset;
      total += this.#view.getUint32(at + 4, true) * 4_294_967_296 + this.#view.getUint32(at, true);
    }
    return total;
  }

  /** A field that is no counter: processors that never wrote it hold 0. */
  greatest(offset: number): bigint {
    let greatest = 0n;
    for (let cpu = 0; cpu < this.#dump.cpus; cpu += 1) {
      const value = this.#view.getBigUint64(this.#valueAt(cpu) + offset, true);
      greatest = value > greatest ? value : greatest;
    }
    return greatest;
  }

  buckets(offset: number): Float64Array {
    return Float64Array.from({ length: eventNumbers.HW_LOG2_BUCKETS }, (_, bucket) => this.sum(offset + 8 * bucket));
  }

  #valueAt(cpu: number): number {
    return this.at + this.#dump.keyBytes + cpu * this.#dump.valueBytes;
  }
}

/** The rows of a dump; an entry that is cut at its end is left out. */
function rows<Row>(dump: MapEntries, expected: { keyBytes: number; valueBytes: number }, read: (entry: Entry) => Row): Row[] | null {
  if (dump.keyBytes !== expected.keyBytes || dump.valueBytes !== expected.valueBytes || dump.cpus < 1) {
    return null;
  }
  const entry = new Entry(dump);
  const entryBytes = dump.keyBytes + dump.valueBytes * dump.cpus;
  const found: Row[] = [];
  for (let at = 0; at + entryBytes <= dump.bytes.byteLength; at += entryBytes) {
    entry.at = at;
    found.push(read(entry));
  }
  return found;
}

function transportOf(value: number): Transport {
  return value === eventNumbers.HW_TCP ? "tcp" : value === eventNumbers.HW_UDP ? "udp" : "local";
}

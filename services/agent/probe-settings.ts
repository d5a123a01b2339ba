import { eventLayout, eventNumbers } from "./event-layout.generated.ts";

/** What the programs are told (`hw_settings` of bpf/event.h). */
export interface ProbeSettings {
  /** The agent's own process: never observed. */
  readonly selfTgid: number;
  /** Only what map `scope` says to watch. */
  readonly scope: "all" | "watched";
  /** 0 nothing, 1 connections, 2 requests, 3 streams, 4 payload in full. */
  readonly level: number;
  /** Captured of one transfer of a stream. */
  readonly chunkBytesMax: number;
  readonly turnRequestMax: number;
  /** Data ring: wake the reader when this much waits; 0 never. 1 wakes for the first record that waits. */
  readonly wakeBytes: number;
  /** Raised by one before programs are attached again after a pause. */
  readonly generation: number;
  /** Raised by one after map `scope` was changed. */
  readonly scopeGeneration: number;
  /** Syscalls: whether they are counted at all; records alone spare all other calls most of the cost. */
  readonly counts: "on" | "off";
  /** Syscalls in detail; null for none. */
  readonly detail: SyscallDetailSettings | null;
}

/** Which syscalls are recorded one by one. All conditions must hold. */
export interface SyscallDetailSettings {
  /** All that are in scope, or of those only what map `scope` says to watch. */
  readonly of: "all" | "watched";
  /** 0 for any process. */
  readonly tgid: number;
  /** 0n for any cgroup (v2 id). */
  readonly cgroup: bigint;
  /** Null for any command; at most 15 bytes of it are compared. */
  readonly command: string | null;
  /** Records per process and second; 0 without a limit. */
  readonly perSecond: number;
  /** From `syscallBits`: of the 64-bit and of the 32-bit table. */
  readonly numbers: Uint8Array;
  readonly numbersCompat: Uint8Array;
}

/** Everything observed, nothing captured: where other settings start from. */
export const quietSettings: ProbeSettings = {
  selfTgid: 0,
  scope: "all",
  level: 0,
  chunkBytesMax: 256,
  turnRequestMax: 256,
  wakeBytes: 0,
  generation: 0,
  scopeGeneration: 0,
  counts: "on",
  detail: null,
};

/** The settings as the programs read them. Sizes above the programs' bounds are cut to these. */
export function encodeSettings(settings: ProbeSettings): Uint8Array {
  const layout = eventLayout.settings;
  const bytes = Buffer.alloc(layout.structBytes);
  bytes.writeUInt32LE(settings.selfTgid, layout.selfTgid);
  bytes.writeUInt32LE(settings.scope === "watched" ? 1 : 0, layout.scopeWatchOnly);
  bytes.writeUInt32LE(settings.level, layout.level);
  bytes.writeUInt32LE(Math.min(settings.chunkBytesMax, eventNumbers.HW_TRANSFER_MAX), layout.chunkBytesMax);
  bytes.writeUInt32LE(Math.min(settings.turnRequestMax, eventNumbers.HW_TURN_REQUEST_MAX), layout.turnRequestMax);
  bytes.writeUInt32LE(settings.wakeBytes, layout.wakeBytes);
  bytes.writeUInt32LE(settings.generation, layout.generation);
  bytes.writeUInt32LE(settings.scopeGeneration, layout.scopeGeneration);
  bytes.writeUInt32LE(settings.counts === "off" ? 1 : 0, layout.countsOff);
  const detail = settings.detail;
  if (detail !== null) {
    bytes.writeUInt32LE(detail.of === "watched" ? 2 : 1, layout.detailOn);
    bytes.writeUInt32LE(detail.tgid, layout.detailTgid);
    bytes.writeBigUInt64LE(detail.cgroup, layout.detailCgroup);
    bytes.writeUInt32LE(detail.perSecond, layout.detailPerSecond);
    bytes.writeUInt32LE(detail.command === null ? 0 : 1, layout.detailCommandSet);
    const command = Buffer.from(detail.command ?? "", "utf8").subarray(0, eventNumbers.HW_COMMAND_LENGTH - 1);
    bytes.set(command, layout.detailCommand);
    bytes.set(detail.numbers.subarray(0, eventNumbers.HW_SYSCALLS_MAX / 8), layout.detailNumbers);
    bytes.set(detail.numbersCompat.subarray(0, eventNumbers.HW_SYSCALLS_MAX / 8), layout.detailNumbersCompat);
  }
  return bytes;
}

/** Key of map `scope` for a process; for a cgroup it is the id itself. */
export function scopeKey(subject: { readonly tgid: number } | { readonly cgroup: bigint }): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE("tgid" in subject ? (1n << 63n) | BigInt(subject.tgid) : subject.cgroup);
  return bytes;
}

/** Value of map `scope`. */
export function scopeValue(verdict: "watch" | "ignore"): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(verdict === "watch" ? eventNumbers.HW_SCOPE_WATCH : eventNumbers.HW_SCOPE_IGNORE);
  return bytes;
}

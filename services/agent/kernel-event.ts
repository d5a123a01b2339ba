/** Kernel events as the agent works with them: decoded from `bpf/event.h`. Times are CLOCK_MONOTONIC ns. */

export type Role = "unknown" | "client" | "server";
export type Transport = "tcp" | "udp" | "local";
export type Direction = "received" | "sent";

/** `ip` in its usual text form, without brackets; empty for AF_UNIX. */
export interface EndAddress {
  readonly ip: string;
  readonly port: number;
  /** AF_UNIX: process at the other end, else 0. */
  readonly peerTgid: number;
}

interface EventHeader {
  readonly atNs: number;
  /** 0n where there is no socket. */
  readonly cookie: bigint;
  readonly cgroup: bigint;
  readonly tgid: number;
  readonly tid: number;
  readonly netns: number;
  readonly role: Role;
  readonly transport: Transport;
  readonly direction: Direction | null;
  /** `enum hw_flag`. */
  readonly flags: number;
}

export interface ConnectionOpened extends EventHeader {
  readonly type: "connection-opened" | "listener";
  readonly local: EndAddress;
  readonly remote: EndAddress;
}

export interface ConnectionClosed extends EventHeader {
  readonly type: "connection-closed";
  readonly local: EndAddress;
  readonly remote: EndAddress;
  /** 0 where it is not known. */
  readonly openedNs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly retransmits: number;
  readonly roundTripUs: number;
  /** errno, 0 without one. */
  readonly error: number;
  readonly outcome: "closed" | "failed" | "reset-by-peer" | "reset-here";
}

export interface Turn extends EventHeader {
  readonly type: "turn";
  readonly requestNs: number;
  readonly responseNs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly sequence: number;
  /** Views into the batch: valid until the next one is decoded. */
  readonly request: Uint8Array;
  readonly response: Uint8Array;
}

export interface Chunk extends EventHeader {
  readonly type: "chunk";
  /** Of its first byte in its direction. */
  readonly offset: number;
  /** More than `data` holds when it was cut. */
  readonly bytes: number;
  /** Over both directions, from 1; a hole is a lost record. */
  readonly sequence: number;
  /** A view into the batch: valid until the next one is decoded. */
  readonly data: Uint8Array;
}

export interface SyscallDetail extends EventHeader {
  readonly type: "syscall";
  readonly number: number;
  readonly result: number;
  readonly durationNs: number;
  readonly parentTgid: number;
  readonly command: string;
  /** Path, or arguments joined by a space; empty for calls without text. */
  readonly text: string;
}

export interface ProcessEvent extends EventHeader {
  readonly type: "exec" | "fork" | "exit" | "oom-kill";
  readonly parentTgid: number;
  readonly exitCode: number;
  readonly exitSignal: number;
  readonly childTgid: number;
  readonly startedNs: number;
  readonly command: string;
  /** Exec: file and arguments. */
  readonly file: string;
  readonly arguments: readonly string[];
}

export type KernelEvent = ConnectionOpened | ConnectionClosed | Turn | Chunk | SyscallDetail | ProcessEvent;

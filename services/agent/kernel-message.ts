/** What the thread that reads the kernel and the thread that works on it say to each other. */
import type { ProbeBatch } from "../../contract/port.ts";
import type { ProbeObjectInfo, ProgramInfo } from "../../native/kernel-probe.ts";

/** How a ring is read: by a timer, or as soon as a program wakes the reader, for live commands; that costs many times as much. */
export interface RingReading {
  readonly name: string;
  readonly by: "timer" | "wake";
  /** Of the timer, while there is something in it; unused by `wake`. */
  readonly everyMs: number;
  /** A ring that is found empty is read half as often each time, down to once in so long; `everyMs` without it. */
  readonly idleMs?: number;
}

/** `everyMs` of a map that is read by `readNow` only. */
export const whenAsked = 2_147_483_647;

/** How a map is read. */
export interface MapReading {
  readonly name: string;
  readonly everyMs: number;
  /** An `iter/*` program that brings the map up to date over the entries of another one, and runs before each reading. */
  readonly before?: { readonly program: string; readonly map: string };
  /**
   * Entries that were the same in so many readings are taken out once a quarter of the map is used, and sent as a batch of the name that
   * `takenOut` makes, right behind the reading. Without it they stay.
   */
  readonly idleReadings?: number;
}

const takenOutMark = " taken out";

/** Name of a batch with the last words of entries that are not in the map any more. */
export function takenOut(map: string): string {
  return `${map}${takenOutMark}`;
}

/** The map of a batch that `takenOut` named; null for every other. */
export function takenOutOf(name: string): string | null {
  return name.endsWith(takenOutMark) ? name.slice(0, -takenOutMark.length) : null;
}

/** An `iter/*` program that writes records: a part of fixed size that begins with `hw_header`, then its tail padded to 8 bytes. */
export interface IteratorReading {
  readonly program: string;
  /** Of the fixed part. */
  readonly recordBytes: number;
}

/** What to load and how to read it. Rings, maps and iterators that no loaded object has are passed over. */
export interface KernelReaderOptions {
  readonly objects: readonly { readonly name: string; readonly path: string }[];
  /** Names of the programs to load; null: all. */
  readonly programs: readonly string[] | null;
  readonly ringBytes: Readonly<Record<string, number>>;
  readonly mapEntriesMax: Readonly<Record<string, number>>;
  /** By object, in place before its programs start. */
  readonly settings: Readonly<Record<string, Uint8Array>>;
  readonly rings: readonly RingReading[];
  readonly maps: readonly MapReading[];
  /** They run once, in this order, when all other programs are attached. */
  readonly iterators: readonly IteratorReading[];
  /** Of one buffer for records. */
  readonly batchBytes: number;
  /** Buffers for records: while all are with the worker's reader, the ring keeps what comes, and the kernel counts what does not fit. */
  readonly batchesInFlightMax: number;
  /** Of one dump; what is more is left out, counted. */
  readonly mapBytesMax: number;
}

/** What the reading thread met since it started. */
export interface KernelReaderCounts {
  readonly batches: number;
  readonly bytes: number;
  /** Readings of a ring that found no free buffer: whoever takes the batches is too slow. */
  readonly ringsPaused: number;
  /** Readings of a map left out because the one before was not taken yet. */
  readonly dumpsSkipped: number;
  /** Entries that were taken out because nobody wrote them any more. */
  readonly entriesTakenOut: number;
  /** Dumps that were larger than `mapBytesMax`. */
  readonly dumpsCut: number;
  readonly iteratorsCut: number;
  /** Readings that the kernel refused. */
  readonly readsFailed: number;
}

/** What an object's programs are told. */
export interface ObjectSettings {
  readonly object: string;
  readonly bytes: Uint8Array;
}

/** What the reading thread can be asked for while it runs. */
export type KernelCall =
  | { readonly method: "programs" | "objects" | "counts" | "readNow" }
  | { readonly method: "attach" | "detach"; readonly program: string }
  | { readonly method: "attachFor"; readonly programs: readonly string[]; readonly ms: number; readonly settings: ObjectSettings }
  | { readonly method: "dropPrivileges"; readonly here: bigint; readonly elsewhere: bigint }
  | ({ readonly method: "runIterator" } & IteratorReading)
  | { readonly method: "runProgram"; readonly program: string; readonly context: Uint8Array }
  | { readonly method: "writeSettings"; readonly object: string; readonly bytes: Uint8Array }
  | { readonly method: "updateMap"; readonly map: string; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly method: "deleteFromMap"; readonly map: string; readonly key: Uint8Array }
  | { readonly method: "countRuns"; readonly state: "on" | "off" };

/** Whose a buffer is when it comes back: the pool for records, the map of the batch's name, or nobody's. */
export type BufferOwner = "pool" | "map" | "none";

export type ToKernelReader =
  | { readonly kind: "returned"; readonly owner: BufferOwner; readonly name: string; readonly buffer: ArrayBuffer }
  | { readonly kind: "call"; readonly id: number; readonly call: KernelCall }
  | { readonly kind: "close" };

export type FromKernelReader =
  | { readonly kind: "ready"; readonly objects: readonly ProbeObjectInfo[]; readonly programs: readonly ProgramInfo[] }
  | { readonly kind: "refused"; readonly reason: string }
  | {
      readonly kind: "batch";
      readonly batch: Omit<ProbeBatch, "bytes">;
      readonly buffer: ArrayBuffer;
      readonly byteCount: number;
      readonly owner: BufferOwner;
    }
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failed"; readonly id: number; readonly reason: string };

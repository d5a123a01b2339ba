/**
 * Programs in the kernel, their rings and their maps: the face of the addon `native/src/kernel`. It knows bytes, never what they mean.
 * Everything is synchronous and meant for a worker thread. Nothing is pinned: what a process attached ends with it, however it ends.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { invariant } from "../contract/invariant.ts";

/** A compiled object that was asked for. */
export interface ProbeObjectInfo {
  readonly name: string;
  readonly path: string;
  /** 0 while nothing failed; else none of its programs is loaded. */
  readonly errno: number;
  /** What failed, as a sentence; empty when nothing did. */
  readonly reason: string;
}

/** A program of an object. */
export interface ProgramInfo {
  readonly name: string;
  readonly object: string;
  /** Where it belongs, as its ELF section says: `tp_btf/inet_sock_set_state`. */
  readonly section: string;
  /** False: left out by `programs` of `open`. */
  readonly wanted: boolean;
  readonly loaded: boolean;
  readonly attached: boolean;
  /** Of what failed last, positive; 0 while nothing did. */
  readonly errno: number;
  /** What failed last, as a sentence; empty while nothing did. */
  readonly reason: string;
  /** The last lines of the verifier, or of libbpf where it did not get that far; empty while nothing failed. */
  readonly verifierLog: string;
  /** Runs since it was loaded; counted only while `enableStats` holds. */
  readonly runCount: number;
  readonly runNs: number;
  /** Runs that the kernel left out because the program was running already on that processor. */
  readonly missed: number;
}

/** What to open, and how large. */
export interface ProbeOptions {
  readonly objects: readonly { readonly name: string; readonly path: string }[];
  /** By name; rounded up to a power of two of pages. */
  readonly ringBytes: Readonly<Record<string, number>>;
  /** By name. Maps that no object has are passed over. */
  readonly mapEntriesMax: Readonly<Record<string, number>>;
  /** Which programs to load; all without it. */
  readonly programs?: (name: string) => boolean;
}

/** What `dumpMap` wrote: `entries` times a key, then one value for each of `cpus` processors. */
export interface MapDump {
  readonly entries: number;
  /** In the buffer: the key rounded up to a multiple of 8. */
  readonly keyBytes: number;
  /** In the buffer: one processor's value rounded up to a multiple of 8. */
  readonly valueBytes: number;
  /** 1 for a map that does not keep a value for each processor. */
  readonly cpus: number;
  /** There was more than the buffer holds. */
  readonly left: boolean;
}

/** The wall and the kernel's clock at one moment. */
export interface KernelClock {
  /** Milliseconds since 1970, with fractions. */
  readonly atMs: number;
  /** Wall time minus monotonic time, as programs in the kernel read it; a float64 of this size is exact within 128 ns. */
  readonly offsetNs: number;
}

/** Capabilities: bit n is capability number n. */
export interface Privileges {
  /** Of the calling thread, now. */
  readonly held: bigint;
  /** Of what the kernel refused on any thread, positive; 0 when nothing was. */
  readonly failed: number;
  readonly threads: number;
  /** Threads that block every signal keep what they had; Node has one, which only waits to start a debugger. */
  readonly unreached: number;
}

/** Bytes in front of every drained record: u32 length of the record, u32 zero. Records are padded to a multiple of 8. */
export const recordPrefixBytes = 8;

interface NativeProbe {
  open(objects: string[], sizes: Record<string, number>, wanted: ((name: string) => boolean) | undefined): void;
  load(): void;
  attach(): void;
  attachOne(program: string): void;
  detach(program: string): void;
  writeSettings(object: string, bytes: Uint8Array): void;
  updateMap(map: string, key: Uint8Array, value: Uint8Array): void;
  deleteFromMap(map: string, key: Uint8Array): void;
  hasMap(map: string): boolean;
  dumpMap(map: string, into: ArrayBuffer): MapDump;
  takeIdle(map: string, dumped: ArrayBuffer, readingsMin: number): Uint8Array<ArrayBuffer>;
  drain(ring: string, into: ArrayBuffer): number;
  waiting(ring: string): number;
  waitReadable(rings: readonly string[], timeoutMs: number): boolean;
  runIterator(program: string, map: string | null): { failed: number; left: boolean; bytes: Uint8Array };
  runProgram(program: string, context: Uint8Array): number;
  enableStats(): void;
  disableStats(): void;
  objects(): ProbeObjectInfo[];
  programs(): ProgramInfo[];
  close(): void;
}

interface NativeModule {
  readonly Probe: new () => NativeProbe;
  readonly clock: () => KernelClock;
  readonly dropPrivileges: (here: bigint, elsewhere: bigint) => Privileges;
  readonly heldCapabilities: () => bigint;
}
type Loaded = { readonly ok: true; readonly module: NativeModule } | { readonly ok: false; readonly reason: string };

/** Beside the compiled file, or from the source tree in `dist`. */
const builtFolders = [".", "../dist/native"];
let loaded: Loaded | null = null;

/** Where the set-up step puts the compiled object of this name; null when it is not there. */
export function builtObjectPath(name: string): string | null {
  for (const folder of builtFolders) {
    const path = fileURLToPath(new URL(`${folder}/../bpf/${name}.bpf.o`, import.meta.url));
    if (existsSync(path)) return path;
  }
  return null;
}

function loadAddon(): Loaded {
  const paths = builtFolders.map((folder) => fileURLToPath(new URL(`${folder}/kernel.node`, import.meta.url)));
  const path = paths.find((candidate) => existsSync(candidate));
  if (path === undefined) {
    return {
      ok: false,
      reason:
        "the addon for the kernel is not built: as root on Debian, node scripts/setup.mjs --kernel installs what it needs and builds it",
    };
  }
  try {
    return { ok: true, module: createRequire(import.meta.url)(path) as NativeModule };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isLibbpf = message.includes("libbpf");
    return {
      ok: false,
      reason: isLibbpf ? `libbpf is not installed (Debian: libbpf1): ${message}` : `the addon cannot be loaded: ${message}`,
    };
  }
}

/** Programs, rings and maps of this process. One at a time is enough; programs of two do not share maps. */
export class KernelProbe {
  readonly #native: NativeProbe;
  #iteratorsCut = 0;

  /** Whether this machine can run programs at all, or why not, in words for people. Rights are found out by loading. */
  static available(): { readonly ok: true } | { readonly ok: false; readonly reason: string } {
    if (process.platform !== "linux") return { ok: false, reason: `programs in the kernel need Linux; this is ${process.platform}` };
    loaded ??= loadAddon();
    if (!loaded.ok) return loaded;
    if (!existsSync("/sys/kernel/btf/vmlinux")) {
      return {
        ok: false,
        reason: "this kernel has no type information (/sys/kernel/btf/vmlinux): it was built without CONFIG_DEBUG_INFO_BTF",
      };
    }
    return { ok: true };
  }

  /** Only where `available` says so. */
  constructor() {
    const able = KernelProbe.available();
    invariant(able.ok && loaded?.ok, able.ok ? "the addon is not loaded" : able.reason);
    this.#native = new loaded.module.Probe();
  }

  /** Reads the objects; one that cannot be read does not stop the others. Once per probe. */
  open(options: ProbeOptions): readonly ProbeObjectInfo[] {
    const objects = options.objects.flatMap(({ name, path }) => [name, path]);
    this.#native.open(objects, { ...options.mapEntriesMax, ...options.ringBytes }, options.programs);
    return this.#native.objects();
  }

  /**
   * Loads each wanted program on its own: one that the kernel refuses does not stop the others. Maps of one name in several objects are
   * one map; an object that defines such a map otherwise is refused.
   */
  load(): readonly ProgramInfo[] {
    this.#native.load();
    return this.#native.programs();
  }

  /** What became of the objects by now. */
  objects(): readonly ProbeObjectInfo[] {
    return this.#native.objects();
  }

  /** Attaches what is loaded, save iterators and programs that are run by hand. */
  attach(): readonly ProgramInfo[] {
    this.#native.attach();
    return this.#native.programs();
  }

  /** Nothing when it is attached already. `program`: its name, or `object/name` where two have the same. */
  attachOne(program: string): ProgramInfo {
    this.#native.attachOne(program);
    const info = this.#native.programs().find(({ name, object }) => program === name || program === `${object}/${name}`);
    invariant(info !== undefined, `there is no program ${program}`);
    return info;
  }

  /** It stays loaded. */
  detach(program: string): void {
    this.#native.detach(program);
  }

  /** Into the section `.data.settings` from its beginning; before `load` they are what the programs start with. */
  writeSettings(object: string, bytes: Uint8Array): void {
    this.#native.writeSettings(object, bytes);
  }

  /** A map that keeps a value for each processor gets it on every one. */
  updateMap(map: string, key: Uint8Array, value: Uint8Array): void {
    this.#native.updateMap(map, key, value);
  }

  /** A key that is not there is no error. */
  deleteFromMap(map: string, key: Uint8Array): void {
    this.#native.deleteFromMap(map, key);
  }

  /** Whether a loaded object has it. */
  hasMap(map: string): boolean {
    return this.#native.hasMap(map);
  }

  dumpMap(map: string, into: ArrayBuffer): MapDump {
    return this.#native.dumpMap(map, into);
  }

  /**
   * Right after `dumpMap` of this map into this buffer: once a quarter of the map is used, takes out entries that were the same in this dump
   * and in `readingsMin` before it, at most 1,024. Answers them as a dump has them, with what they held at the end.
   */
  takeIdle(map: string, dumped: ArrayBuffer, readingsMin: number): Uint8Array<ArrayBuffer> {
    return this.#native.takeIdle(map, dumped, readingsMin);
  }

  /**
   * Copies whole records into the buffer and answers the bytes; see `recordPrefixBytes`. What does not fit stays in the ring.
   * A buffer that is smaller than the next record is a programmer's error.
   */
  drain(ring: string, into: ArrayBuffer): number {
    const bytes = this.#native.drain(ring, into);
    invariant(bytes >= 0, `a record of ring ${ring} needs a buffer of ${-bytes} bytes, not ${into.byteLength}`);
    return bytes;
  }

  /** Bytes that wait, with their prefixes. */
  waiting(ring: string): number {
    return this.#native.waiting(ring);
  }

  /** Blocks this thread until one of the rings has a record whose program woke the reader, or something waits already. */
  waitReadable(ring: string | readonly string[], timeoutMs: number): boolean {
    return this.#native.waitReadable(typeof ring === "string" ? [ring] : ring, timeoutMs);
  }

  /**
   * Everything that an `iter/*` program writes, at most 64 MiB; null when it cannot be run. `map`: what `iter/bpf_map_elem` or
   * `iter/bpf_sk_storage_map` walks, the same one each time.
   */
  runIterator(program: string, map: string | null = null): Uint8Array | null {
    const { failed, left, bytes } = this.#native.runIterator(program, map);
    if (left) this.#iteratorsCut += 1;
    return failed === 0 ? bytes : null;
  }

  /** Iterator runs that wrote more than is read. */
  get iteratorsCut(): number {
    return this.#iteratorsCut;
  }

  /** Runs a program of section `syscall` once; the context is read and written by it. Answers what it returned. */
  runProgram(program: string, context: Uint8Array): number {
    return this.#native.runProgram(program, context);
  }

  /** From now on the kernel counts runs of all its programs, at a cost of some 50 ns a run, until `disableStats` or `close`. */
  enableStats(): void {
    this.#native.enableStats();
  }

  disableStats(): void {
    this.#native.disableStats();
  }

  stats(): readonly ProgramInfo[] {
    return this.#native.programs();
  }

  /** Both clocks, read as close to each other as can be. */
  clock(): KernelClock {
    invariant(loaded?.ok, "the addon is not loaded");
    return loaded.module.clock();
  }

  /** Of the calling thread. */
  static heldCapabilities(): bigint {
    invariant(loaded?.ok, "the addon is not loaded");
    return loaded.module.heldCapabilities();
  }

  /**
   * The kernel keeps rights for each thread: this one keeps `here` of what it has, all others of the process `elsewhere`, for good. Neither
   * they nor what they start can gain rights again.
   */
  dropPrivileges(keep: { readonly here: bigint; readonly elsewhere: bigint }): Privileges {
    invariant(loaded?.ok, "the addon is not loaded");
    return loaded.module.dropPrivileges(keep.here, keep.elsewhere);
  }

  /** Detaches and unloads everything. Idempotent. */
  close(): void {
    this.#native.close();
  }
}

/**
 * The thread that reads the kernel: loads and attaches, pulls rings and maps into buffers that go to the main thread and come back.
 * Nothing here knows what a record says.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { InvariantError, invariant } from "../../contract/invariant.ts";
import { KernelProbe, type MapDump } from "../../native/kernel-probe.ts";
import { prefixRecords } from "./iterator-records.ts";
import type {
  FromKernelReader,
  IteratorReading,
  KernelCall,
  KernelReaderCounts,
  KernelReaderOptions,
  MapReading,
  RingReading,
  ToKernelReader,
} from "./kernel-message.ts";
import { takenOut, whenAsked } from "./kernel-message.ts";

/** A thread that waits for the kernel hears nothing else meanwhile. */
const wakeWaitMs = 10;
/** While no buffer is free, waiting for a ring that has something would spin. */
const wakePauseMs = 2;
const mapBytesFirst = 65_536;
/** Timers that are due within so long are one. */
const togetherMs = 5;

/** A ring that a timer reads, and when next. */
interface PacedRing {
  readonly reading: RingReading;
  pauseMs: number;
  dueMs: number;
}

/** Reads for as long as it is open. */
class KernelReader {
  readonly #probe = new KernelProbe();
  readonly #port: MessagePort;
  readonly #options: KernelReaderOptions;
  readonly #free: ArrayBuffer[];
  /** Null while the buffer is with the main thread. */
  readonly #mapBuffers = new Map<string, ArrayBuffer | null>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #counts = { batches: 0, bytes: 0, ringsPaused: 0, dumpsSkipped: 0, dumpsCut: 0, entriesTakenOut: 0, readsFailed: 0 };
  /** Rings whose last reading found no free buffer: they are read on as soon as one comes back. */
  readonly #paused = new Set<string>();
  #wakeRings: string[] = [];
  #pacedRings: PacedRing[] = [];
  #ringTimer: NodeJS.Timeout | undefined;
  #detachTimer: NodeJS.Timeout | undefined;
  #isOpen = true;

  constructor(port: MessagePort, options: KernelReaderOptions) {
    this.#port = port;
    this.#options = options;
    this.#free = Array.from({ length: options.batchesInFlightMax }, () => new ArrayBuffer(options.batchBytes));
  }

  start(): void {
    const { objects, ringBytes, mapEntriesMax, programs, settings, rings, maps, iterators } = this.#options;
    const wanted = programs === null ? null : new Set(programs);
    this.#probe.open({ objects, ringBytes, mapEntriesMax, ...(wanted !== null && { programs: (name: string) => wanted.has(name) }) });
    const refused = new Set(this.#probe.objects().flatMap(({ name, errno }) => (errno === 0 ? [] : [name])));
    for (const [object, bytes] of Object.entries(settings)) if (!refused.has(object)) this.#probe.writeSettings(object, bytes);
    this.#probe.load();
    const infos = this.#probe.attach();
    this.#send({ kind: "ready", objects: this.#probe.objects(), programs: infos });
    const there = new Set(infos.filter(({ loaded }) => loaded).map(({ name }) => name));
    for (const iterator of iterators) if (there.has(iterator.program)) this.#runIterator(iterator);
    const present = rings.filter(({ name }) => this.#probe.hasMap(name));
    this.#wakeRings = present.filter(({ by }) => by === "wake").map(({ name }) => name);
    this.#pacedRings = present.flatMap((reading) => (reading.by === "timer" ? [{ reading, pauseMs: reading.everyMs, dueMs: 0 }] : []));
    if (this.#pacedRings.length > 0) this.#readPacedRings();
    for (const map of maps) if (map.everyMs < whenAsked && this.#probe.hasMap(map.name)) this.#every(map.everyMs, () => this.#dump(map));
    if (this.#wakeRings.length > 0) this.#waitForWake();
  }

  receive(message: ToKernelReader): void {
    if (message.kind === "close") {
      this.#close();
    } else if (message.kind === "returned") {
      this.#takeBack(message);
    } else {
      const { id, call } = message;
      try {
        this.#send({ kind: "answer", id, value: this.#call(call) });
      } catch (error) {
        this.#send({ kind: "failed", id, reason: error instanceof Error ? error.message : String(error) });
      }
    }
  }

  #takeBack({ owner, name, buffer }: Extract<ToKernelReader, { kind: "returned" }>): void {
    if (owner === "map") this.#mapBuffers.set(name, buffer);
    if (owner !== "pool") return;
    this.#free.push(buffer);
    // A ring that finds no buffer again comes back into the set, so the walk is over those that waited now.
    for (const paused of [...this.#paused]) this.#guarded(() => this.#drain(paused));
  }

  #call(call: KernelCall): unknown {
    const probe = this.#probe;
    switch (call.method) {
      case "programs":
        return probe.stats();
      case "objects":
        return probe.objects();
      case "counts":
        return { ...this.#counts, iteratorsCut: probe.iteratorsCut } satisfies KernelReaderCounts;
      case "readNow":
        return this.#readNow();
      case "attach":
        return probe.attachOne(call.program);
      case "detach":
        return probe.detach(call.program);
      case "attachFor":
        return this.#attachFor(call);
      case "dropPrivileges":
        return probe.dropPrivileges(call);
      case "runIterator":
        return this.#runIterator(call);
      case "runProgram":
        return { returned: probe.runProgram(call.program, call.context), context: call.context };
      case "writeSettings":
        return probe.writeSettings(call.object, call.bytes);
      case "updateMap":
        return probe.updateMap(call.map, call.key, call.value);
      case "deleteFromMap":
        return probe.deleteFromMap(call.map, call.key);
      case "countRuns":
        return call.state === "on" ? probe.enableStats() : probe.disableStats();
    }
  }

  #readNow(): void {
    for (const { name } of this.#options.rings) if (this.#probe.hasMap(name)) this.#drain(name);
    for (const map of this.#options.maps) if (this.#probe.hasMap(map.name)) this.#dump(map);
  }

  /** Programs that are told their settings and attached for a while; what is still attached at the end of the thread ends with it. */
  #attachFor({ programs, ms, settings }: Extract<KernelCall, { method: "attachFor" }>): void {
    this.#probe.writeSettings(settings.object, settings.bytes);
    for (const program of programs) this.#probe.attachOne(program);
    const detach = () => {
      if (this.#isOpen) for (const program of programs) this.#guarded(() => this.#probe.detach(program));
    };
    this.#detachTimer = setTimeout(detach, ms);
  }

  /** One timer for all rings: a thread that wakes up costs more than the look into a ring. */
  #readPacedRings(): void {
    const nowMs = performance.now();
    for (const ring of this.#pacedRings) {
      if (ring.dueMs > nowMs + togetherMs) continue;
      const { name, everyMs, idleMs = everyMs } = ring.reading;
      const before = this.#counts.batches;
      this.#guarded(() => this.#drain(name));
      const isBusy = this.#counts.batches > before || this.#paused.has(name);
      ring.pauseMs = isBusy ? everyMs : Math.min(ring.pauseMs * 2, idleMs);
      ring.dueMs = nowMs + ring.pauseMs;
    }
    const nextMs = Math.min(...this.#pacedRings.map(({ dueMs }) => dueMs));
    this.#ringTimer = setTimeout(() => this.#readPacedRings(), Math.max(1, nextMs - performance.now()));
  }

  #every(everyMs: number, read: () => void): void {
    this.#timers.push(setInterval(() => this.#guarded(read), everyMs));
  }

  /** A reading that the kernel refuses is counted; the next one may work. */
  #guarded(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#counts.readsFailed += 1;
    }
  }

  /** Until the ring is empty or no buffer is free. */
  #drain(name: string): void {
    this.#paused.delete(name);
    while (this.#probe.waiting(name) > 0) {
      const buffer = this.#free.pop();
      if (buffer === undefined) {
        this.#counts.ringsPaused += 1;
        this.#paused.add(name);
        return;
      }
      const byteCount = this.#probe.drain(name, buffer);
      if (byteCount === 0) {
        this.#free.push(buffer);
        return;
      }
      this.#sendRecords(name, { buffer, byteCount, owner: "pool" });
    }
  }

  #sendRecords(name: string, part: { buffer: ArrayBuffer; byteCount: number; owner: "pool" | "none" }): void {
    this.#count(part.byteCount);
    const { atMs, offsetNs } = this.#probe.clock();
    const batch = { kind: "records", name, atMs, clockOffsetNs: offsetNs, keyBytes: 0, valueBytes: 0, cpus: 0 } as const;
    this.#send({ kind: "batch", batch, ...part }, [part.buffer]);
  }

  #dump({ name, before, idleReadings }: MapReading): void {
    const known = this.#mapBuffers.get(name);
    if (known === null) {
      this.#counts.dumpsSkipped += 1;
      return;
    }
    if (before !== undefined && this.#probe.runIterator(before.program, before.map) === null) this.#counts.readsFailed += 1;
    let buffer = known ?? new ArrayBuffer(mapBytesFirst);
    let dump = this.#probe.dumpMap(name, buffer);
    while (dump.left && buffer.byteLength < this.#options.mapBytesMax) {
      buffer = new ArrayBuffer(Math.min(buffer.byteLength * 2, this.#options.mapBytesMax));
      dump = this.#probe.dumpMap(name, buffer);
    }
    if (dump.left) this.#counts.dumpsCut += 1;
    const taken = idleReadings === undefined ? null : this.#probe.takeIdle(name, buffer, idleReadings);
    this.#mapBuffers.set(name, null);
    const entryBytes = dump.keyBytes + dump.valueBytes * dump.cpus;
    this.#sendEntries(name, dump, { buffer, byteCount: dump.entries * entryBytes, owner: "map" });
    if (taken === null || taken.length === 0) return;
    this.#counts.entriesTakenOut += taken.length / entryBytes;
    this.#sendEntries(takenOut(name), dump, { buffer: taken.buffer, byteCount: taken.length, owner: "none" });
  }

  #sendEntries(name: string, dump: MapDump, part: { buffer: ArrayBuffer; byteCount: number; owner: "map" | "none" }): void {
    const { keyBytes, valueBytes, cpus } = dump;
    this.#count(part.byteCount);
    const { atMs, offsetNs } = this.#probe.clock();
    const batch = { kind: "entries", name, atMs, clockOffsetNs: offsetNs, keyBytes, valueBytes, cpus } as const;
    this.#send({ kind: "batch", batch, ...part }, [part.buffer]);
  }

  /** Answers the records that it wrote, null when the kernel refused it. */
  #runIterator({ program, recordBytes }: IteratorReading): number | null {
    const written = this.#probe.runIterator(program);
    if (written === null) {
      this.#counts.readsFailed += 1;
      return null;
    }
    const { bytes, records } = prefixRecords(written, recordBytes);
    if (records > 0) this.#sendRecords(program, { buffer: bytes.buffer, byteCount: bytes.length, owner: "none" });
    return records;
  }

  #waitForWake(): void {
    if (!this.#isOpen) return;
    if (this.#free.length === 0) {
      setTimeout(() => this.#waitForWake(), wakePauseMs);
      return;
    }
    this.#guarded(() => {
      if (this.#probe.waitReadable(this.#wakeRings, wakeWaitMs)) for (const name of this.#wakeRings) this.#drain(name);
    });
    setImmediate(() => this.#waitForWake());
  }

  #count(bytes: number): void {
    this.#counts.batches += 1;
    this.#counts.bytes += bytes;
  }

  #send(message: FromKernelReader, transferred: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transferred);
  }

  #close(): void {
    this.#isOpen = false;
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#ringTimer);
    clearTimeout(this.#detachTimer);
    this.#probe.close();
    this.#port.close();
  }
}

function run(): void {
  invariant(parentPort !== null, "kernel-worker runs in a worker thread");
  const port = parentPort;
  const able = KernelProbe.available();
  if (!able.ok) {
    port.postMessage({ kind: "refused", reason: able.reason } satisfies FromKernelReader);
    return;
  }
  const reader = new KernelReader(port, workerData as KernelReaderOptions);
  port.on("message", (message: ToKernelReader) => reader.receive(message));
  reader.start();
}

run();

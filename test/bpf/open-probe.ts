/** One compiled object in the kernel, opened by the addon and read by the decoders, for tests of programs. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { KernelProbe, type ProgramInfo } from "../../native/kernel-probe.ts";
import { decodeLosses, type MapEntries } from "../../services/agent/decode-counters.ts";
import { EventDecoder } from "../../services/agent/decode-events.ts";
import { eventNumbers } from "../../services/agent/event-layout.generated.ts";
import type { KernelEvent } from "../../services/agent/kernel-event.ts";
import { encodeSettings, type ProbeSettings, quietSettings, scopeKey, scopeValue } from "../../services/agent/probe-settings.ts";
import { compileObject } from "../native/bpf-object.ts";

/** All of an object with the quiet settings, save what is named here. */
export interface OpenOptions {
  readonly programs?: (name: string) => boolean;
  readonly ringBytes?: Readonly<Record<string, number>>;
  readonly mapEntriesMax?: Readonly<Record<string, number>>;
  readonly settings?: Partial<ProbeSettings>;
}

/** Programs of one object, attached. */
export class OpenProbe {
  readonly kernel = new KernelProbe();
  readonly programs: readonly ProgramInfo[];
  readonly decoder = new EventDecoder();
  readonly #name: string;
  readonly #buffer = new ArrayBuffer(4 << 20);
  #settings: ProbeSettings = quietSettings;

  constructor(name: string, path: string, options: OpenOptions) {
    this.#name = name;
    const { programs, ringBytes = {}, mapEntriesMax = {}, settings } = options;
    this.kernel.open({ objects: [{ name, path }], ringBytes, mapEntriesMax, ...(programs !== undefined && { programs }) });
    this.configure(settings ?? {});
    this.kernel.load();
    this.programs = this.kernel.attach();
  }

  configure(change: Partial<ProbeSettings>): void {
    this.#settings = { ...this.#settings, ...change };
    this.kernel.writeSettings(this.#name, encodeSettings(this.#settings));
  }

  watch(subject: { tgid: number } | { cgroup: bigint }): void {
    this.#scope(subject, "watch");
  }

  ignore(subject: { tgid: number } | { cgroup: bigint }): void {
    this.#scope(subject, "ignore");
  }

  /** What the ring holds by now. */
  drain(ring: string): KernelEvent[] {
    const events: KernelEvent[] = [];
    let bytes = this.kernel.drain(ring, this.#buffer);
    while (bytes > 0) {
      this.decoder.decode(new Uint8Array(this.#buffer, 0, bytes), (event) => events.push(event));
      bytes = this.kernel.drain(ring, this.#buffer);
    }
    return events;
  }

  /** The rows of a map. */
  rows<Row>(map: string, decode: (entries: MapEntries) => Row[] | null): Row[] {
    return decode(this.#entries(map)) ?? expect.fail(`map ${map} does not have the layout of bpf/event.h`);
  }

  /** What was lost at a place (`HW_LOSS_…`). */
  lost(where: keyof typeof eventNumbers): number {
    const losses = decodeLosses(this.#entries("losses")) ?? expect.fail("map losses does not have the layout of bpf/event.h");
    return losses.get(eventNumbers[where]) ?? 0;
  }

  #scope(subject: { tgid: number } | { cgroup: bigint }, verdict: "watch" | "ignore"): void {
    this.kernel.updateMap("scope", scopeKey(subject), scopeValue(verdict));
    this.configure({ scopeGeneration: this.#settings.scopeGeneration + 1 });
  }

  #entries(map: string): MapEntries {
    const dump = this.kernel.dumpMap(map, this.#buffer);
    expect(dump.left).toBe(false);
    const bytes = new Uint8Array(this.#buffer, 0, dump.entries * (dump.keyBytes + dump.valueBytes * dump.cpus));
    return { bytes, keyBytes: dump.keyBytes, valueBytes: dump.valueBytes, cpus: dump.cpus };
  }
}

/** Compiles `bpf/NAME.bpf.c` for the tests of a file and opens it on demand; what is open is closed after them. */
export function useProbe(name: string): (options?: OpenOptions) => OpenProbe {
  const open = openedUntilTheEnd((folder, options: OpenOptions) => new OpenProbe(name, objectIn(folder, name).path, options));
  return (options = {}) => open(options);
}

/** Opens probes with a folder for their objects; after the tests of the file they are closed and the folder is gone. */
export function openedUntilTheEnd<Options, Probe extends { readonly kernel: KernelProbe }>(
  open: (folder: string, options: Options) => Probe,
): (options: Options) => Probe {
  const opened: Probe[] = [];
  let folder: string | null = null;
  afterAll(() => {
    for (const probe of opened) probe.kernel.close();
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
  });
  return (options) => {
    folder ??= mkdtempSync(join(tmpdir(), "headwater-bpf-"));
    const probe = open(folder, options);
    opened.push(probe);
    return probe;
  };
}

/** The object of `bpf/NAME.bpf.c`, compiled into the folder when it is not there. */
export function objectIn(folder: string, name: string): { readonly name: string; readonly path: string } {
  const path = join(folder, `${name}.bpf.o`);
  return existsSync(path) ? { name, path } : compileObject(`bpf/${name}.bpf.c`, folder);
}

/** Compiles a C program and answers where it is. */
export function compileProgram(source: string, path: string): string {
  const gcc = spawnSync("gcc", ["-O1", "-static", "-no-pie", "-pthread", "-x", "c", "-", "-o", path], { input: source, encoding: "utf8" });
  if (gcc.status !== 0) expect.fail(gcc.stderr);
  return path;
}

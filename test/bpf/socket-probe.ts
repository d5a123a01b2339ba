/** The programs for connections and requests together, as the agent runs them: several objects that share their maps. */
import { createConnection, type Server, type Socket } from "node:net";
import { expect } from "vitest";
import { KernelProbe, type ProgramInfo } from "../../native/kernel-probe.ts";
import { decodeFlows, decodeLosses, type FlowCounter, type MapEntries } from "../../services/agent/decode-counters.ts";
import { EventDecoder } from "../../services/agent/decode-events.ts";
import { eventLayout, eventNumbers } from "../../services/agent/event-layout.generated.ts";
import { prefixRecords } from "../../services/agent/iterator-records.ts";
import type { Chunk, ConnectionClosed, ConnectionOpened, KernelEvent, Turn } from "../../services/agent/kernel-event.ts";
import { encodeSettings, type ProbeSettings, quietSettings, scopeKey, scopeValue } from "../../services/agent/probe-settings.ts";
import { objectIn, openedUntilTheEnd } from "./open-probe.ts";

/** Everything of `settings` is at its quiet value save what is named; the test's own process is what is watched. */
export interface SocketProbeOptions {
  readonly settings?: Partial<ProbeSettings>;
  readonly ringBytes?: Readonly<Record<string, number>>;
  readonly mapEntriesMax?: Readonly<Record<string, number>>;
  /** Processes to watch beside the test's own. */
  readonly watched?: readonly number[];
}

type Text<Event, Fields extends keyof Event> = Omit<Event, Fields> & { readonly [Field in Fields]: string };
/** Payload as latin1 text, kept beyond its batch. */
export type TurnText = Text<Turn, "request" | "response">;
export type ChunkText = Text<Chunk, "data">;

export class SocketProbe {
  readonly kernel = new KernelProbe();
  readonly programs: readonly ProgramInfo[];
  readonly turns: TurnText[] = [];
  readonly chunks: ChunkText[] = [];
  readonly opened: ConnectionOpened[] = [];
  readonly listeners: ConnectionOpened[] = [];
  readonly closed: ConnectionClosed[] = [];
  readonly decoder = new EventDecoder();
  readonly #names: readonly string[];
  readonly #buffer = new ArrayBuffer(4 << 20);
  #settings: ProbeSettings;
  #scopeGeneration = 0;

  constructor(folder: string, names: readonly string[], options: SocketProbeOptions) {
    this.#names = names;
    this.#settings = { ...quietSettings, scope: "watched", level: 3, ...options.settings };
    const objects = names.map((name) => objectIn(folder, name));
    this.kernel.open({ objects, ringBytes: options.ringBytes ?? {}, mapEntriesMax: options.mapEntriesMax ?? {} });
    this.configure({});
    this.kernel.load();
    for (const tgid of [process.pid, ...(options.watched ?? [])]) this.setScope({ tgid }, "watch");
    this.programs = this.kernel.attach();
  }

  configure(change: Partial<ProbeSettings>): void {
    this.#settings = { ...this.#settings, ...change };
    const bytes = Buffer.from(encodeSettings(this.#settings));
    bytes.writeUInt32LE(this.#scopeGeneration, eventLayout.settings.scopeGeneration);
    for (const name of this.#names) this.kernel.writeSettings(name, bytes);
  }

  setScope(subject: { tgid: number } | { cgroup: bigint }, verdict: "watch" | "ignore"): void {
    this.kernel.updateMap("scope", scopeKey(subject), scopeValue(verdict));
    this.#scopeGeneration += 1;
    this.configure({});
  }

  /** Takes what the rings hold by now. */
  drain(): void {
    for (const ring of ["lifecycle_ring", "data_ring"]) {
      if (!this.kernel.hasMap(ring)) continue;
      for (let bytes = this.kernel.drain(ring, this.#buffer); bytes > 0; bytes = this.kernel.drain(ring, this.#buffer)) {
        this.decoder.decode(new Uint8Array(this.#buffer, 0, bytes), (event) => this.#take(event));
      }
    }
    expect(this.decoder.rejected).toEqual({ cut: 0, short: 0, version: 0, type: 0, length: 0 });
  }

  /** Runs an iterator and takes the records that it wrote. Answers how many. */
  iterate(program: string): number {
    const written = this.kernel.runIterator(program) ?? expect.fail(`${program} cannot be run`);
    const { bytes, records } = prefixRecords(written, eventLayout.connection.structBytes);
    this.decoder.decode(bytes, (event) => this.#take(event));
    return records;
  }

  /** Counters of all dependencies, brought up to date. */
  flows(): FlowCounter[] {
    expect(this.kernel.runIterator("hw_read_flows", "connections")).not.toBeNull();
    return decodeFlows(this.#entries("flows")) ?? expect.fail("map flows does not have the layout of bpf/event.h");
  }

  /** What was lost at a place (`HW_LOSS_…`). */
  lost(where: keyof typeof eventNumbers): number {
    const losses = decodeLosses(this.#entries("losses")) ?? expect.fail("map losses does not have the layout of bpf/event.h");
    return losses.get(eventNumbers[where]) ?? 0;
  }

  /** Everything lost, by number of place; empty when nothing was. */
  losses(): [number, number][] {
    return [...(decodeLosses(this.#entries("losses")) ?? [])].filter(([, count]) => count > 0);
  }

  #take(event: KernelEvent): void {
    switch (event.type) {
      case "turn":
        this.turns.push({ ...event, request: latin1(event.request), response: latin1(event.response) });
        break;
      case "chunk":
        this.chunks.push({ ...event, data: latin1(event.data) });
        break;
      case "connection-opened":
        this.opened.push(event);
        break;
      case "listener":
        this.listeners.push(event);
        break;
      case "connection-closed":
        this.closed.push(event);
        break;
      default:
        expect.fail(`a record of type ${event.type}`);
    }
  }

  #entries(map: string): MapEntries {
    const dump = this.kernel.dumpMap(map, this.#buffer);
    expect(dump.left).toBe(false);
    const bytes = new Uint8Array(this.#buffer, 0, dump.entries * (dump.keyBytes + dump.valueBytes * dump.cpus));
    return { bytes, keyBytes: dump.keyBytes, valueBytes: dump.valueBytes, cpus: dump.cpus };
  }
}

/** Opens the objects of these names on demand; what is open is closed after the tests of the file. */
export function useSocketProbe(...names: readonly string[]): (options?: SocketProbeOptions) => SocketProbe {
  const open = openedUntilTheEnd((folder, options: SocketProbeOptions) => new SocketProbe(folder, names, options));
  return (options = {}) => open(options);
}

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** The port that a server got. */
export function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : expect.fail("the server does not listen");
}

export function listening(server: Server, options: { readonly host?: string; readonly path?: string } = {}): Promise<void> {
  const where = options.path !== undefined ? { path: options.path } : { port: 0, host: options.host ?? "127.0.0.1" };
  return new Promise((resolve) => server.listen(where, resolve));
}

export function connected(target: { readonly port: number; readonly host?: string } | { readonly path: string }): Promise<Socket> {
  const where = "path" in target ? target : { host: "127.0.0.1", ...target };
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...where, noDelay: true }, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Reads until so many bytes came. */
export function read(socket: Socket, bytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const settle = (error: Error | null) => {
      socket.off("data", take).off("error", settle).off("close", end);
      if (error === null) resolve(text);
      else reject(error);
    };
    const end = () => settle(new Error(`closed after ${text.length} of ${bytes} bytes`));
    const take = (data: Buffer) => {
      text += data.toString("latin1");
      if (text.length >= bytes) settle(null);
    };
    socket.on("data", take).on("error", settle).on("close", end);
  });
}

export function closing(thing: Server | Socket): Promise<void> {
  return new Promise((resolve) => {
    thing.once("close", () => resolve());
    if ("listening" in thing) thing.close();
    else thing.end();
  });
}

/** Waits, at most five seconds, until the condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!condition()) {
    if (performance.now() > deadline) expect.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

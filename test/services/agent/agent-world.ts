/** A kernel by hand: records and maps as the programs write them, a made /proc, and an agent that reads both. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProbeBatch, ProbeSource } from "../../../contract/port.ts";
import type { Signal, TelemetryBatch } from "../../../contract/telemetry.ts";
import { Agent, type AgentOptions } from "../../../services/agent/agent.ts";
import { CgroupFiles } from "../../../services/agent/cgroup-files.ts";
import { eventLayout, eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { createMetrics, ManualClock, type Platform } from "../../../services/platform.ts";
import { type RawHeader, rawBatch, rawRecord, writeAddress } from "./raw-records.ts";

/** Monotonic 0 in wall time. */
export const bootMs = 1_800_000_000_000;
const roles = { unknown: 0, client: 1, server: 2 } as const;

interface End {
  readonly cookie: number;
  readonly role: keyof typeof roles;
  readonly tgid: number;
  readonly netns?: number;
  readonly cgroup?: number;
}

interface Opened extends End {
  readonly local: string;
  readonly remote: string;
  readonly flags?: number;
}

function header(type: number, end: End, atMs: number): RawHeader {
  return {
    type,
    atNs: BigInt(Math.round(atMs * 1e6)),
    cookie: BigInt(end.cookie),
    cgroup: BigInt(end.cgroup ?? 0),
    tgid: end.tgid,
    tid: end.tgid,
    netns: end.netns ?? 1,
    role: roles[end.role],
    transport: eventNumbers.HW_TCP,
  };
}

export function putAddress(bytes: Buffer, at: number, text: string): void {
  const [ip = "", port = "0"] = text.split(":");
  writeAddress(bytes, at, { ip: ip.split(".").map(Number), port: Number(port), family: eventNumbers.HW_IPV4 });
}

export function rawOpened(opened: Opened, atMs: number, type: number = eventNumbers.HW_CONNECTION_OPENED): Buffer {
  const layout = eventLayout.connection;
  return rawRecord(layout.structBytes, { ...header(type, opened, atMs), flags: opened.flags ?? 0 }, (bytes) => {
    putAddress(bytes, layout.local, opened.local);
    putAddress(bytes, layout.remote, opened.remote);
  });
}

export function rawClosed(opened: Opened, atMs: number, of: { failed?: number; error?: number } = {}): Buffer {
  const layout = eventLayout.connectionEnd;
  return rawRecord(layout.structBytes, header(eventNumbers.HW_CONNECTION_CLOSED, opened, atMs), (bytes) => {
    putAddress(bytes, layout.local, opened.local);
    putAddress(bytes, layout.remote, opened.remote);
    bytes.writeUInt16LE(of.error ?? 0, layout.error);
    bytes.writeUInt8(of.failed ?? 0, layout.failed);
  });
}

export function rawHttp(end: End, of: { request: string; status: number; startMs: number; endMs: number; sequence: number }): Buffer {
  const layout = eventLayout.turn;
  const request = Buffer.from(`${of.request} HTTP/1.1\r\nhost: a\r\n\r\n`);
  const response = Buffer.from(`HTTP/1.1 ${of.status} X\r\n\r\n`);
  return rawRecord(
    layout.structBytes,
    header(eventNumbers.HW_TURN, end, of.endMs),
    (bytes) => {
      bytes.writeBigUInt64LE(BigInt(Math.round(of.startMs * 1e6)), layout.requestNs);
      bytes.writeBigUInt64LE(BigInt(Math.round(of.endMs * 1e6)), layout.responseNs);
      bytes.writeUInt32LE(request.length, layout.requestBytes);
      bytes.writeUInt32LE(response.length, layout.responseBytes);
      bytes.writeUInt16LE(request.length, layout.requestLength);
      bytes.writeUInt16LE(response.length, layout.responseLength);
      bytes.writeUInt32LE(of.sequence, layout.sequence);
    },
    Buffer.concat([request, response]),
  );
}

export function rawPiece(
  end: End,
  of: { direction: "received" | "sent"; data: string; offset: number; sequence: number; atMs: number },
): Buffer {
  const layout = eventLayout.chunk;
  const direction = of.direction === "sent" ? eventNumbers.HW_SENT : eventNumbers.HW_RECEIVED;
  const data = Buffer.from(of.data);
  return rawRecord(
    layout.structBytes,
    { ...header(eventNumbers.HW_CHUNK, end, of.atMs), direction },
    (bytes) => {
      bytes.writeBigUInt64LE(BigInt(of.offset), layout.offset);
      bytes.writeUInt32LE(data.length, layout.bytes);
      bytes.writeUInt32LE(of.sequence, layout.sequence);
    },
    data,
  );
}

export function records(name: string, atMs: number, list: readonly Uint8Array[]): ProbeBatch {
  const bytes = new Uint8Array(rawBatch(list));
  return { kind: "records", name, atMs: bootMs + atMs, clockOffsetNs: bootMs * 1e6, keyBytes: 0, valueBytes: 0, cpus: 0, bytes };
}

/** A map of one processor. */
export function entries(
  name: string,
  atMs: number,
  rows: readonly Uint8Array[],
  sizes: { keyBytes: number; valueBytes: number },
): ProbeBatch {
  const bytes = new Uint8Array(Buffer.concat(rows));
  return { kind: "entries", name, atMs: bootMs + atMs, clockOffsetNs: bootMs * 1e6, ...sizes, cpus: 1, bytes };
}

/** Hands out batches, then ends. */
export class ListSource implements ProbeSource {
  readonly #batches: ProbeBatch[];

  constructor(batches: readonly ProbeBatch[]) {
    this.#batches = [...batches];
  }

  next(): Promise<ProbeBatch | null> {
    return Promise.resolve(this.#batches.shift() ?? null);
  }

  close(): Promise<void> {
    this.#batches.length = 0;
    return Promise.resolve();
  }
}

export interface MadeProcess {
  readonly pid: number;
  readonly command: string;
  readonly parent?: number;
  readonly environment?: Readonly<Record<string, string>>;
  readonly cgroup?: string;
  readonly startTicks?: number;
}

/** Processes as /proc shows them. */
export function makeProc(root: string, processes: readonly MadeProcess[]): void {
  for (const { pid, command, parent = 1, environment = {}, cgroup = "0::/\n", startTicks = 1_000 + pid } of processes) {
    const folder = join(root, String(pid));
    mkdirSync(join(folder, "fd"), { recursive: true });
    const fields = ["S", parent, ...Array.from({ length: 17 }, () => 0), startTicks, 0, 0];
    writeFileSync(join(folder, "stat"), `${pid} (${command}) ${fields.join(" ")}\n`);
    writeFileSync(join(folder, "statm"), "1000 500 100 1 0 300 0\n");
    writeFileSync(join(folder, "status"), `Name:\t${command}\nThreads:\t7\n`);
    writeFileSync(join(folder, "cgroup"), cgroup);
    writeFileSync(
      join(folder, "environ"),
      Object.entries(environment)
        .map(([key, value]) => `${key}=${value}\0`)
        .join(""),
    );
    for (const file of ["0", "1", "2"]) writeFileSync(join(folder, "fd", file), "");
  }
}

export interface SentBody {
  readonly signal: Signal;
  readonly body: Uint8Array<ArrayBuffer>;
}

export interface AgentWorld {
  readonly agent: Agent;
  readonly sent: SentBody[];
  readonly platform: Platform;
}

export function silentPlatform(clock = new ManualClock(bootMs)): Platform & { readonly lines: string[] } {
  const lines: string[] = [];
  const line = (fields: object, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  return { clock, logger: { debug: line, info: line, warn: line, error: line }, metrics: createMetrics(), random: () => 0.5, lines };
}

export function agentOf(source: ProbeSource, procRoot: string, changed: Partial<AgentOptions> = {}): AgentWorld {
  const sent: SentBody[] = [];
  const platform = silentPlatform();
  const agent = new Agent({
    platform,
    source,
    control: null,
    send: (signal, body) => sent.push({ signal, body: Uint8Array.from(body) }),
    places: {
      processes: new ProcessFiles(procRoot),
      cgroups: new CgroupFiles(join(procRoot, "no-cgroups")),
      interfaceNames: () => ({ netns: 1, names: new Map([[2, "eth0"]]) }),
      dropReasons: new Map([[3, "no_socket"]]),
    },
    host: "host-1",
    version: "0.0.0",
    intervalMs: 1_000,
    syscallScale: 1,
    cgroups: [],
    level: "payload",
    cpuBudget: 1,
    memoryMaxBytes: 1e12,
    usage: () => ({ cpuUs: 0, memoryBytes: 50_000_000 }),
    ...changed,
  });
  return { agent, sent, platform };
}

/** As the gateway would number them. */
export function batchesOf(sent: readonly SentBody[], receivedAtMs: number): TelemetryBatch[] {
  return sent.map(({ signal, body }, sequence) => ({
    id: `g-${sequence}`,
    tenant: "default",
    gateway: "g",
    source: "0123456789abcdef",
    sequence,
    signal,
    encoding: "protobuf",
    receivedAtMs,
    body,
  }));
}

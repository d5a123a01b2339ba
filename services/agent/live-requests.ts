/** Requests for people: each once, with who asked and who answered, however many ends of its connection this host has. */
import type { ProbeBatch } from "../../contract/port.ts";
import { type ConnectionEnd, ConnectionTable } from "./connection-table.ts";
import { EventDecoder } from "./decode-events.ts";
import { EventIntake } from "./event-intake.ts";
import { IdentityBook, type IdentityOptions, type ServiceIdentity } from "./identity.ts";
import type { EndAddress, ProcessEvent } from "./kernel-event.ts";
import { wallTime } from "./live-text.ts";
import type { ObservedExchange } from "./observed-exchange.ts";
import type { ProcessReader } from "./process-files.ts";
import type { Protocol } from "./protocol/exchange.ts";
import { errorTypeOf, type Side, systemOf } from "./request-naming.ts";
import { addressKey } from "./socket-address.ts";
import { StreamTable } from "./stream-table.ts";

export interface RequestLine {
  /** When the request began. */
  readonly at: string;
  /** Name of a service, command of a process, or address of whoever is elsewhere; null where the connection is not known. */
  readonly caller: string | null;
  readonly callee: string | null;
  readonly protocol: Protocol;
  readonly operation: string;
  readonly status: string;
  readonly failed: "yes" | "no";
  readonly latencyNs: number;
  /** Whose end measured: the server's where this host has it. */
  readonly side: Side;
}

export interface LiveRequestsOptions {
  readonly processes: ProcessReader;
  readonly host: string;
  readonly selfTgid: number;
  /** Nothing more will come of this connection. */
  readonly onOpaque: (cookie: bigint) => void;
}

/** The other end is told by other records, which come a moment later. */
const holdNs = 300_000_000;
const heldMax = 20_000;
const lingerNs = 2_000_000_000;
const bounds = { processesMax: 8_192, readsPerSecondMax: 200 } as const;
const tables = { endsMax: 65_536, listenersMax: 8_192, streamsMax: 20_000, ownersMax: 1_000 } as const;
const waits = { waitingMax: 20_000, waitNs: 200_000_000 } as const;

export class LiveRequests {
  readonly #identities: LiveIdentities;
  readonly #connections: ConnectionTable;
  readonly #streams: StreamTable;
  readonly #intake: EventIntake;
  readonly #decoders = new Map<string, EventDecoder>();
  readonly #lost = new Map<string, number>();
  #held: ObservedExchange[] = [];
  #nowNs = 0;

  constructor({ processes, host, selfTgid, onOpaque }: LiveRequestsOptions) {
    const onCounted = (what: string, amount = 1) => this.#lost.set(what, (this.#lost.get(what) ?? 0) + amount);
    this.#identities = new LiveIdentities({ files: processes, host, cgroups: [], selfTgid, ...bounds, onCounted });
    this.#connections = new ConnectionTable({ ...tables, lingerNs, onCounted });
    this.#streams = new StreamTable({ ...tables, identities: this.#identities, onOpaque, onCounted });
    this.#intake = new EventIntake({
      ...waits,
      connections: this.#connections,
      identities: this.#identities,
      streams: this.#streams,
      events: { refused: () => undefined, syscall: () => undefined, process: () => undefined },
      onExchange: (observed) => this.#hold(observed, onCounted),
      onSystem: () => undefined,
      onCounted,
    });
  }

  /** What was not understood or did not fit, by name. */
  get lost(): Readonly<Record<string, number>> {
    const rejected = [...this.#decoders.values()].flatMap((decoder) => Object.values(decoder.rejected)).reduce((sum, one) => sum + one, 0);
    return { ...Object.fromEntries(this.#lost), ...(rejected === 0 ? {} : { "record-unreadable": rejected }) };
  }

  take(batch: ProbeBatch): void {
    if (batch.kind !== "records") return;
    let decoder = this.#decoders.get(batch.name);
    if (decoder === undefined) {
      decoder = new EventDecoder();
      this.#decoders.set(batch.name, decoder);
    }
    decoder.decode(batch.bytes, (event) => this.#intake.take(event, batch.clockOffsetNs));
    this.#intake.endBatch(batch.atMs * 1e6 - batch.clockOffsetNs);
  }

  /** Requests that ended long enough ago, in the order in which they began; at the end, all. `nowNs` is the kernel's clock. */
  ready(nowNs: number): RequestLine[] {
    this.#nowNs = nowNs;
    this.#intake.endBatch(nowNs);
    const ready = this.#held.filter(({ exchange }) => exchange.endNs + holdNs <= nowNs);
    this.#held = this.#held.filter(({ exchange }) => exchange.endNs + holdNs > nowNs);
    const lines = ready.sort((left, right) => left.exchange.startNs - right.exchange.startNs).flatMap((observed) => this.#line(observed));
    if (Number.isFinite(nowNs)) {
      this.#connections.expire(nowNs, (cookie) => this.#streams.close(cookie));
      this.#identities.expire(nowNs - lingerNs);
    }
    return lines;
  }

  #hold(observed: ObservedExchange, onCounted: (what: string) => void): void {
    if (this.#held.length >= heldMax) onCounted("requests-not-shown");
    else this.#held.push(observed);
  }

  /** None for a client's view of what the server's end has told as well. */
  #line({ exchange, who, side, end, server, clockOffsetNs }: ObservedExchange): RequestLine[] {
    const other = end === null ? null : this.#connections.peerOf(end, this.#nowNs);
    if (side === "client" && (other !== null || end?.transport === "local")) return [];
    const system = systemOf(exchange.protocol);
    const address = server === null || server.ip === "" ? null : addressKey(server);
    const elsewhere = address === null ? null : `${system === null ? "" : `${system}@`}${address}`;
    return [
      {
        at: wallTime(exchange.startNs, clockOffsetNs),
        caller: side === "client" ? who.name : this.#callerOf(end, other),
        callee: side === "client" ? elsewhere : who.name,
        protocol: exchange.protocol,
        operation: exchange.operation,
        status: errorTypeOf(exchange) ?? exchange.status,
        failed: exchange.failed,
        latencyNs: exchange.endNs - exchange.startNs,
        side,
      },
    ];
  }

  #callerOf(end: ConnectionEnd | null, other: ConnectionEnd | null): string | null {
    if (end === null) return null;
    const tgid = other?.tgid ?? (end.transport === "local" ? end.remote.peerTgid : 0);
    const who = tgid === 0 ? null : this.#identities.of(tgid, 0n, this.#nowNs);
    return who?.name ?? (end.remote.ip === "" ? null : end.remote.ip);
  }
}

/** For people a process that is no service has a name as well: its command. */
class LiveIdentities extends IdentityBook {
  readonly #files: ProcessReader;
  readonly #host: string;
  readonly #selfTgid: number;
  /** As processes called themselves when they began, for those that are gone before they are asked about; the oldest first. */
  readonly #commands = new Map<number, string>();

  constructor(options: IdentityOptions) {
    super(options);
    this.#files = options.files;
    this.#host = options.host;
    this.#selfTgid = options.selfTgid;
  }

  override of(tgid: number, cgroup: bigint, atNs: number): ServiceIdentity | null {
    const known = super.of(tgid, cgroup, atNs);
    if (known !== null || tgid === this.#selfTgid || tgid === 0) return known;
    const name = this.#commands.get(tgid) ?? this.#files.facts(tgid)?.command ?? "";
    if (name === "") return null;
    this.#remember(tgid, name);
    const instance = `${this.#host}:${tgid}`;
    const none = { namespace: null, version: null, zone: null, containerId: null, podUid: null };
    return { key: `\n${name}\n${instance}`, name, instance, host: this.#host, source: "command", ...none };
  }

  override ofServer(tgid: number, cgroup: bigint, local: EndAddress, atNs: number): ServiceIdentity | null {
    return super.ofServer(tgid, cgroup, local, atNs) ?? this.of(tgid, cgroup, atNs);
  }

  override observe(event: ProcessEvent): void {
    if (event.type === "exec") this.#remember(event.tgid, event.command);
    if (event.type === "fork") this.#commands.delete(event.childTgid);
    super.observe(event);
  }

  #remember(tgid: number, command: string): void {
    if (this.#commands.size >= bounds.processesMax) {
      for (const oldest of this.#commands.keys()) {
        this.#commands.delete(oldest);
        break;
      }
    }
    this.#commands.delete(tgid);
    this.#commands.set(tgid, command);
  }
}

/** What one caller asked one callee for in the time that a table is of. */
export interface DependencyRow {
  readonly caller: string | null;
  readonly callee: string | null;
  readonly protocol: Protocol;
  readonly requestsPerSecond: number;
  readonly failuresPerSecond: number;
  readonly p50Ns: number;
  readonly p95Ns: number;
  /** The slowest one's. */
  readonly slowestOperation: string;
}

const rowRequestsMax = 100_000;

/** The last seconds of requests. */
export class DependencyRates {
  readonly #windowMs: number;
  #lines: { readonly atMs: number; readonly line: RequestLine }[] = [];
  #left = 0;
  #sinceMs: number | null = null;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** Requests that did not fit into the table. */
  get left(): number {
    return this.#left;
  }

  add(lines: readonly RequestLine[], atMs: number): void {
    this.#sinceMs ??= atMs;
    for (const line of lines) {
      if (this.#lines.length < rowRequestsMax) this.#lines.push({ atMs, line });
      else this.#left += 1;
    }
  }

  /** The most frequent first. */
  rows(nowMs: number): DependencyRow[] {
    this.#lines = this.#lines.filter(({ atMs }) => atMs > nowMs - this.#windowMs);
    const groups = new Map<string, RequestLine[]>();
    for (const { line } of this.#lines) {
      const key = JSON.stringify([line.caller, line.callee, line.protocol]);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [line]);
      else group.push(line);
    }
    const seconds = Math.max(1, Math.min(this.#windowMs, nowMs - (this.#sinceMs ?? nowMs))) / 1e3;
    const rows = [...groups.values()].map((lines) => dependencyRow(lines, seconds));
    return rows.sort((left, right) => right.requestsPerSecond - left.requestsPerSecond);
  }
}

function dependencyRow(lines: RequestLine[], seconds: number): DependencyRow {
  const slow = lines.sort((left, right) => left.latencyNs - right.latencyNs);
  const at = (quantile: number) => slow[Math.min(slow.length - 1, Math.floor(quantile * slow.length))]?.latencyNs ?? 0;
  const [first, slowest] = [slow[0], slow.at(-1)];
  return {
    caller: first?.caller ?? null,
    callee: first?.callee ?? null,
    protocol: first?.protocol ?? "http",
    requestsPerSecond: lines.length / seconds,
    failuresPerSecond: lines.filter(({ failed }) => failed === "yes").length / seconds,
    p50Ns: at(0.5),
    p95Ns: at(0.95),
    slowestOperation: slowest?.operation ?? "",
  };
}

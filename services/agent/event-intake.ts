/** From kernel events to exchanges of services: which connection, which process, which side. */
import type { ConnectionEnd, ConnectionTable } from "./connection-table.ts";
import type { IdentityBook } from "./identity.ts";
import type { Chunk, EndAddress, KernelEvent, Role, Turn } from "./kernel-event.ts";
import type { KernelEvents } from "./kernel-events.ts";
import type { ObservedExchange } from "./observed-exchange.ts";
import type { Exchange } from "./protocol/exchange.ts";
import { systemOf } from "./request-naming.ts";
import { plainAddress } from "./socket-address.ts";
import type { StreamTable } from "./stream-table.ts";
import { noTelemetryPlaces, type TelemetryPlaces } from "./telemetry-places.ts";

export interface EventIntakeOptions {
  readonly connections: ConnectionTable;
  readonly identities: IdentityBook;
  readonly streams: StreamTable;
  readonly events: Pick<KernelEvents, "refused" | "syscall" | "process">;
  /** What is said there is telemetry, and no request of anybody's. */
  readonly telemetry?: TelemetryPlaces;
  readonly onTelemetry?: (cookie: bigint) => void;
  /** Exchanges that wait for their connection to be told, at most, and for how long. */
  readonly waitingMax: number;
  readonly waitNs: number;
  readonly onExchange: (observed: ObservedExchange) => void;
  /** A datastore or broker answers at this address. */
  readonly onSystem: (server: EndAddress, system: string) => void;
  readonly onCounted: (what: "connection-unknown" | "role-unknown" | "exchanges-not-waited-for") => void;
}

/** An exchange with what its record said of where it was seen. */
interface Seen {
  readonly exchange: Exchange;
  readonly cookie: bigint;
  readonly role: Role;
  readonly tgid: number;
  readonly cgroup: bigint;
  readonly clockOffsetNs: number;
  readonly seenNs: number;
}

/** Rings are read one after another: the last bytes of a connection have been told so long after its end. */
const settleNs = 150_000_000;

export class EventIntake {
  readonly #options: EventIntakeOptions;
  #clockOffsetNs = 0;
  #waiting: Seen[] = [];
  #nowNs = 0;

  constructor(options: EventIntakeOptions) {
    this.#options = options;
  }

  /** `clockOffsetNs` adds up to wall time. */
  take(event: KernelEvent, clockOffsetNs: number): void {
    const { connections, identities, events } = this.#options;
    if (event.atNs > this.#nowNs) this.#nowNs = event.atNs;
    this.#clockOffsetNs = clockOffsetNs;
    switch (event.type) {
      case "listener":
        connections.listener(event);
        identities.listens(event.tgid, event.local, event.atNs);
        return;
      case "connection-opened": {
        const end = connections.opened(event);
        if (end !== null && this.#isTelemetry(end)) this.#options.onTelemetry?.(end.cookie);
        else if (end?.role === "server") identities.listens(end.tgid, end.local, event.atNs);
        return;
      }
      case "connection-closed":
        if (!this.#isTelemetry(event)) events.refused(event, clockOffsetNs);
        // Its last bytes are told by another ring, a moment later, so that the parser stays for as long as the end is remembered.
        connections.closed(event);
        return;
      case "turn":
      case "chunk":
        this.#bytes(event, clockOffsetNs);
        return;
      case "syscall":
        events.syscall(event, clockOffsetNs);
        return;
      default:
        if (event.type !== "exit") identities.observe(event);
        events.process(event, clockOffsetNs);
        if (event.type === "exit") identities.observe(event);
    }
  }

  /** After each batch: what waited for its connection, or for its end, once that is told or has had time to be. */
  endBatch(nowNs: number): void {
    if (nowNs > this.#nowNs) this.#nowNs = nowNs;
    this.#options.connections.settle(this.#nowNs - settleNs, (end) => this.#ended(end));
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const seen of waiting) this.#see(seen, this.#options.connections.end(seen.cookie));
  }

  /** By either end, as both sides are seen here where the gateway is. */
  #isTelemetry({ local, remote, role, netns }: Pick<ConnectionEnd, "local" | "remote" | "role" | "netns">): boolean {
    const { telemetry = noTelemetryPlaces } = this.#options;
    const isAt = (address: EndAddress) => telemetry.includes(plainAddress(address), netns);
    if (role === "unknown") return isAt(remote) || isAt(local);
    return isAt(role === "client" ? remote : local);
  }

  #bytes(event: Turn | Chunk, clockOffsetNs: number): void {
    const { cookie, tgid, cgroup, atNs } = event;
    const { streams, connections } = this.#options;
    const end = connections.end(cookie);
    const exchanges = streams.take(event, end);
    if (exchanges.length === 0) return;
    const role = event.role === "unknown" ? streams.roleOf(cookie) : event.role;
    for (const exchange of exchanges) this.#see({ exchange, cookie, role, tgid, cgroup, clockOffsetNs, seenNs: atNs }, end);
  }

  /** What was in flight has failed. The server's end of a local socket has only heard that nobody asks any more: it may still answer. */
  #ended(end: ConnectionEnd): void {
    const { cookie, outcome, closedNs, transport } = end;
    if (closedNs === null || (transport === "local" && end.role === "server")) return;
    const open = this.#options.streams.end(cookie, outcome === "closed" ? "closed" : "reset", closedNs);
    if (open === null) return;
    const { exchanges, role, tgid, cgroup } = open;
    const seen = { cookie, role, tgid, cgroup, clockOffsetNs: this.#clockOffsetNs, seenNs: closedNs };
    for (const exchange of exchanges) this.#attribute({ ...seen, exchange }, end);
  }

  /** Rings are read one after another, so that a request may come before the connection that it was on. */
  #see(seen: Seen, end: ConnectionEnd | null): void {
    const { waitingMax, waitNs, onCounted } = this.#options;
    if (end === null && this.#nowNs - seen.seenNs < waitNs) {
      if (this.#waiting.length < waitingMax) {
        this.#waiting.push(seen);
        return;
      }
      onCounted("exchanges-not-waited-for");
    }
    this.#attribute(seen, end);
  }

  #attribute({ exchange, role, tgid, cgroup, clockOffsetNs, seenNs }: Seen, end: ConnectionEnd | null): void {
    const { identities, onCounted, onExchange } = this.#options;
    if (end === null) onCounted("connection-unknown");
    const side = role === "unknown" ? (end?.role ?? "unknown") : role;
    if (side === "unknown") {
      onCounted("role-unknown");
      return;
    }
    if (end !== null && this.#isTelemetry(end)) return;
    const server = end === null ? null : side === "client" ? end.remote : end.local;
    const system = systemOf(exchange.protocol);
    if (system !== null && server !== null && side === "client") this.#options.onSystem(server, system);
    if (side === "server" && system !== null && server !== null) identities.speaks(tgid, system, server, seenNs);
    const who =
      side === "server" && server !== null ? identities.ofServer(tgid, cgroup, server, seenNs) : identities.of(tgid, cgroup, seenNs);
    // A caller that is no service is the outside; its side of the exchange is nobody's to report.
    if (who !== null) onExchange({ exchange, who, side, end, server, clockOffsetNs, isSent: false });
  }
}

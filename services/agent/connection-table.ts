/**
 * Both ends of every connection that this host sees, and which two ends are one connection. A wrong pair would be a dependency that does not
 * exist, so that whatever can be read in two ways is no pair.
 */
import type { ConnectionClosed, ConnectionOpened, EndAddress, Role, Transport } from "./kernel-event.ts";
import { addressKey, isLoopbackAddress, isWildcard, plainAddress } from "./socket-address.ts";

/** One end, as its process sees it. */
export interface ConnectionEnd {
  readonly cookie: bigint;
  readonly transport: Transport;
  readonly netns: number;
  readonly local: EndAddress;
  readonly remote: EndAddress;
  role: Role;
  tgid: number;
  /** 0 where it is not known: it was there before the agent. */
  readonly openedNs: number;
  /** Null while it is open. */
  closedNs: number | null;
  /** How; null while it is open. */
  outcome: ConnectionClosed["outcome"] | null;
  /** Its other end, once that is certain. */
  peer: ConnectionEnd | null;
  /** The stretch of time in which a span of it was sent alone last; see `span-choice.ts`. */
  reportedBucket: number;
}

export interface ConnectionTableOptions {
  readonly endsMax: number;
  readonly listenersMax: number;
  /** How long an end is remembered after it closed, because its requests are told by another ring. */
  readonly lingerNs: number;
  readonly onCounted: (what: "ends-refused" | "listeners-refused" | "ambiguous") => void;
}

/** `enum hw_flag`. */
const flagExisting = 2;
/** Through address translation the two ends name different servers; then they have to begin at the same time. */
const translatedWithinNs = 1_000_000_000;
const translationSettlesNs = 200_000_000;
/** Clocks are one, but the ends of a connection are told a moment apart. */
const overlapSlackNs = 50_000_000;

export class ConnectionTable {
  readonly #options: ConnectionTableOptions;
  readonly #ends = new Map<bigint, ConnectionEnd>();
  /** Ends by the address of their client: the one thing that both sides agree on. */
  readonly #byClient = new Map<string, ConnectionEnd[]>();
  /** Closed ends in the order in which they closed. */
  #closed: ConnectionEnd[] = [];
  /** So many of them are settled. */
  #settled = 0;
  /** `netns ip port` of what listens, with the process. */
  readonly #listeners = new Map<string, number>();

  constructor(options: ConnectionTableOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#ends.size;
  }

  end(cookie: bigint): ConnectionEnd | null {
    return this.#ends.get(cookie) ?? null;
  }

  listener(event: ConnectionOpened): void {
    const local = plainAddress(event.local);
    const key = listenerKey(event.netns, local);
    if (!this.#listeners.has(key) && this.#listeners.size >= this.#options.listenersMax) {
      this.#options.onCounted("listeners-refused");
      return;
    }
    this.#listeners.set(key, event.tgid);
  }

  /** Who listens where an end is, or null. */
  listenerAt(netns: number, local: EndAddress): number | null {
    const exact = this.#listeners.get(listenerKey(netns, local));
    return exact ?? this.#listeners.get(`${netns} * ${local.port}`) ?? null;
  }

  /** A connection told twice keeps what was known first, but for the process, which a forked worker takes over. */
  opened(event: ConnectionOpened): ConnectionEnd | null {
    const known = this.#ends.get(event.cookie);
    if (known !== undefined) {
      if (event.tgid !== 0) known.tgid = event.tgid;
      if (known.role === "unknown" && event.role !== "unknown") this.#setRole(known, event.role);
      return known;
    }
    if (this.#ends.size >= this.#options.endsMax) {
      this.#options.onCounted("ends-refused");
      return null;
    }
    const end: ConnectionEnd = {
      cookie: event.cookie,
      transport: event.transport,
      netns: event.netns,
      local: plainAddress(event.local),
      remote: plainAddress(event.remote),
      role: event.role,
      tgid: event.tgid,
      openedNs: (event.flags & flagExisting) === 0 ? event.atNs : 0,
      closedNs: null,
      outcome: null,
      peer: null,
      reportedBucket: -1,
    };
    if (end.role === "unknown") end.role = this.#guessRole(end);
    this.#ends.set(end.cookie, end);
    this.#index(end);
    // What was there before comes in any order, so that the first that fits need not be the only one.
    if (end.role !== "unknown" && end.transport !== "local" && end.openedNs > 0) this.#pair(end, isSameServer);
    return end;
  }

  /** Answers the end that closed, or null of one that is not known. */
  closed(event: ConnectionClosed): ConnectionEnd | null {
    const end = this.#ends.get(event.cookie);
    if (end === undefined || end.closedNs !== null) return end ?? null;
    end.closedNs = event.atNs;
    end.outcome = event.outcome;
    this.#closed.push(end);
    return end;
  }

  /**
   * The other end, when there is exactly one that it can be; decided once, and for both. Ask some time after the connection opened: through
   * address translation the ends are told apart by who else is there, so that everybody has to be known.
   */
  peerOf(end: ConnectionEnd, nowNs: number): ConnectionEnd | null {
    if (end.peer !== null || end.role === "unknown" || end.transport === "local") return end.peer;
    const exact = this.#pair(end, isSameServer);
    if (exact !== null || nowNs - end.openedNs < translationSettlesNs) return exact;
    return this.#isAloneAtItsAddress(end) ? this.#pair(end, isTranslated) : null;
  }

  /** Tells each end that closed by then, once. */
  settle(closedByNs: number, onSettled: (end: ConnectionEnd) => void): void {
    for (let end = this.#closed[this.#settled]; end !== undefined; end = this.#closed[this.#settled]) {
      if ((end.closedNs ?? 0) > closedByNs) return;
      this.#settled += 1;
      onSettled(end);
    }
  }

  /** Forgets ends that closed long enough ago, telling each. */
  expire(nowNs: number, onExpired: (cookie: bigint) => void = () => undefined): void {
    let expired = 0;
    for (const end of this.#closed) {
      if ((end.closedNs ?? nowNs) + this.#options.lingerNs > nowNs) break;
      this.#ends.delete(end.cookie);
      this.#unindex(end);
      onExpired(end.cookie);
      expired += 1;
    }
    if (expired === 0) return;
    this.#closed = this.#closed.slice(expired);
    this.#settled = Math.max(0, this.#settled - expired);
  }

  #setRole(end: ConnectionEnd, role: Role): void {
    this.#unindex(end);
    end.role = role;
    this.#index(end);
  }

  /** Of a connection that was there before the agent, the end at a port that is listened on is the server's. */
  #guessRole(end: ConnectionEnd): Role {
    const isServer = this.listenerAt(end.netns, end.local) !== null;
    const callsListener = this.listenerAt(end.netns, end.remote) !== null;
    if (isServer === callsListener) return "unknown";
    return isServer ? "server" : "client";
  }

  /** Pairs two ends that are each other's only choice. */
  #pair(end: ConnectionEnd, fits: (left: ConnectionEnd, right: ConnectionEnd) => boolean): ConnectionEnd | null {
    const found = this.#onlyOther(end, fits);
    if (found === null || this.#onlyOther(found, fits) !== end) return null;
    end.peer = found;
    found.peer = end;
    return found;
  }

  #onlyOther(end: ConnectionEnd, fits: (left: ConnectionEnd, right: ConnectionEnd) => boolean): ConnectionEnd | null {
    let found: ConnectionEnd | null = null;
    for (const other of this.#byClient.get(clientKey(end)) ?? []) {
      if (other.role === end.role || other.peer !== null || !fits(end, other)) continue;
      if (found !== null) {
        this.#options.onCounted("ambiguous");
        return null;
      }
      found = other;
    }
    return found;
  }

  /** Two clients, or two servers, with one client's address at the same time cannot be told apart by it. */
  #isAloneAtItsAddress(end: ConnectionEnd): boolean {
    let clients = 0;
    let servers = 0;
    for (const other of this.#byClient.get(clientKey(end)) ?? []) {
      if (other !== end && (other.peer !== null || !overlap(end, other, 0))) continue;
      if (other.role === "client") clients += 1;
      else servers += 1;
    }
    return clients === 1 && servers === 1;
  }

  #index(end: ConnectionEnd): void {
    if (end.role === "unknown" || end.transport === "local") return;
    const key = clientKey(end);
    const ends = this.#byClient.get(key);
    if (ends === undefined) this.#byClient.set(key, [end]);
    else ends.push(end);
  }

  #unindex(end: ConnectionEnd): void {
    if (end.role === "unknown" || end.transport === "local") return;
    const key = clientKey(end);
    const left = this.#byClient.get(key)?.filter((other) => other !== end) ?? [];
    if (left.length === 0) this.#byClient.delete(key);
    else this.#byClient.set(key, left);
  }
}

/** Address of the client of a connection; within one namespace where it means nothing elsewhere. */
function clientKey(end: ConnectionEnd): string {
  const client = end.role === "client" ? end.local : end.remote;
  const within = isLoopbackAddress(client.ip) ? `${end.netns} ` : "";
  return `${within}${end.transport} ${addressKey(client)}`;
}

function listenerKey(netns: number, local: EndAddress): string {
  return isWildcard(local.ip) ? `${netns} * ${local.port}` : `${netns} ${addressKey(local)}`;
}

function serverOf(end: ConnectionEnd): EndAddress {
  return end.role === "client" ? end.remote : end.local;
}

function isSameServer(left: ConnectionEnd, right: ConnectionEnd): boolean {
  const [a, b] = [serverOf(left), serverOf(right)];
  return a.ip === b.ip && a.port === b.port && overlap(left, right, overlapSlackNs);
}

/** Reached under another address than its own: then the ends began at the same time, and both are known from their beginning. */
function isTranslated(left: ConnectionEnd, right: ConnectionEnd): boolean {
  if (left.openedNs === 0 || right.openedNs === 0 || !overlap(left, right, 0)) return false;
  return Math.abs(left.openedNs - right.openedNs) <= translatedWithinNs;
}

function overlap(left: ConnectionEnd, right: ConnectionEnd, slackNs: number): boolean {
  const leftEnd = left.closedNs ?? Number.POSITIVE_INFINITY;
  const rightEnd = right.closedNs ?? Number.POSITIVE_INFINITY;
  return left.openedNs <= rightEnd + slackNs && right.openedNs <= leftEnd + slackNs;
}

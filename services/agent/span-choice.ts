/**
 * A few exchanges of an interval become spans: for each dependency both sides of at least one, those that failed, the slowest. Topology joins
 * them as it joins anybody's spans. Of a connection whose other end is on another host, the agents there and here name the same trace and
 * parent without talking to each other, because both are a hash of what both see.
 */
import { createHash } from "node:crypto";
import { compareCodeUnits } from "../../contract/canonical.ts";
import type { ConnectionEnd, ConnectionTable } from "./connection-table.ts";
import { resourceOf, type ServiceIdentity } from "./identity.ts";
import type { ObservedExchange } from "./observed-exchange.ts";
import type { Attributes, ResourceItems, SpanItem } from "./otlp-item.ts";
import { operationAttributes, serverAttributes, statusAttributes } from "./request-naming.ts";
import { addressKey, isLoopbackAddress } from "./socket-address.ts";

export interface SpanChoiceOptions {
  /** Exchanges of one interval that are looked at; those beyond are in the histograms only. */
  readonly exchangesMax: number;
  /** Connections with an unknown other end that are reported in one interval, by each side. */
  readonly aloneMax: number;
  /** Failed exchanges of one service and second. */
  readonly failedPerSecondMax: number;
  /** Slowest exchanges of an operation of a service and side. */
  readonly slowestPerOperation: number;
  /** Operations of which the slowest are kept. */
  readonly operationsMax: number;
  readonly host: string;
  readonly onCounted: (what: "exchanges-passed-over" | "failed-passed-over" | "alone-passed-over") => void;
}

/** A connection is reported alone once in so many nanoseconds of wall time. */
const bucketNs = 10_000_000_000;
/** An end notes when a call returned, which may be a moment after the other end has already gone on. */
const slackNs = 1_000_000;
/** How sure the pair of a local socket is: which of several connections between two processes it was on is not known. */
const localConfidence = 0.8;

export class SpanChoice {
  readonly #options: SpanChoiceOptions;
  readonly #all: ObservedExchange[] = [];

  constructor(options: SpanChoiceOptions) {
    this.#options = options;
  }

  add(observed: ObservedExchange): void {
    if (this.#all.length >= this.#options.exchangesMax) {
      this.#options.onCounted("exchanges-passed-over");
      return;
    }
    this.#all.push(observed);
  }

  /** Spans of the interval. `later` are the exchanges of the next one so far: an answer may have left in one and arrived in the other. */
  spans(from: { connections: ConnectionTable; nowNs: number; seconds: number; later: SpanChoice | null }): ResourceItems<SpanItem>[] {
    const book = new ExchangeBook([...this.#all, ...(from.later === null ? [] : from.later.#all)], from);
    const spans = new SpanList(this.#options.host);
    this.#addPairs(book, spans);
    for (const observed of [...this.#failed(from.seconds), ...this.#slowest()]) this.#addOne(observed, book, spans);
    this.#addAlone(book, spans);
    return spans.resources();
  }

  /** One of each dependency of which both sides are seen here. */
  #addPairs(book: ExchangeBook, spans: SpanList): void {
    const told = new Set<string>();
    for (const client of this.#all) {
      if (client.side !== "client" || client.isSent) continue;
      const callee = book.calleeOf(client);
      if (callee === null || told.has(`${client.who.key}\n${callee}`)) continue;
      const server = book.counterpart(client);
      if (server === null) continue;
      told.add(`${client.who.key}\n${server.who.key}`);
      told.add(`${client.who.key}\n${callee}`);
      spans.addPair(client, server, book.isLocal(client));
    }
  }

  /** What was chosen for itself: with its other side where that is seen here. */
  #addOne(observed: ObservedExchange, book: ExchangeBook, spans: SpanList): void {
    if (observed.isSent) return;
    const other = book.counterpart(observed);
    if (other !== null) spans.addPair(...ordered(observed, other), book.isLocal(observed));
    // The other side is here and has none that fits: one side alone would look like a call from nowhere.
    else if (!book.isJoined(observed)) spans.addAlone(observed);
  }

  #addAlone(book: ExchangeBook, spans: SpanList): void {
    const bySide = { client: new Map<ConnectionEnd, ObservedExchange>(), server: new Map<ConnectionEnd, ObservedExchange>() };
    for (const observed of this.#all) {
      const { end, side } = observed;
      if (end === null || observed.isSent || end.reportedBucket === bucketOf(observed)) continue;
      if (bySide[side].has(end) || book.isJoined(observed)) continue;
      bySide[side].set(end, observed);
    }
    for (const ends of Object.values(bySide)) {
      const candidates = [...ends.values()].map((observed) => ({ observed, hash: hashOf(seedAlone(observed, this.#options.host)) }));
      candidates.sort((left, right) => compareCodeUnits(left.hash, right.hash));
      for (const { observed } of candidates.slice(0, this.#options.aloneMax)) spans.addAlone(observed);
      for (let left = candidates.length; left > this.#options.aloneMax; left -= 1) this.#options.onCounted("alone-passed-over");
    }
  }

  #failed(seconds: number): ObservedExchange[] {
    const left = new Map<string, number>();
    return this.#all.filter((observed) => {
      if (observed.exchange.failed === "no") return false;
      const { key } = observed.who;
      const room = left.get(key) ?? Math.ceil(this.#options.failedPerSecondMax * seconds);
      left.set(key, room - 1);
      if (room <= 0) this.#options.onCounted("failed-passed-over");
      return room > 0;
    });
  }

  #slowest(): ObservedExchange[] {
    const { slowestPerOperation, operationsMax } = this.#options;
    const byOperation = new Map<string, ObservedExchange[]>();
    for (const observed of this.#all) {
      const { exchange, side, who } = observed;
      const key = `${who.key}\n${side} ${exchange.protocol} ${exchange.operation}`;
      const slow = byOperation.get(key);
      if (slow === undefined) {
        if (byOperation.size < operationsMax) byOperation.set(key, [observed]);
        continue;
      }
      const last = slow.at(-1);
      if (slow.length >= slowestPerOperation && last !== undefined && durationOf(observed) <= durationOf(last)) continue;
      slow.push(observed);
      slow.sort((left, right) => durationOf(right) - durationOf(left));
      if (slow.length > slowestPerOperation) slow.pop();
    }
    return [...byOperation.values()].flat();
  }
}

/** Exchanges by connection, to find the other side of one. */
class ExchangeBook {
  readonly #connections: ConnectionTable;
  readonly #nowNs: number;
  readonly #byPlace = new Map<ConnectionEnd | string, ObservedExchange[]>();
  /** Of an end; the same for all exchanges on it. */
  readonly #callees = new Map<ConnectionEnd, string | null>();

  constructor(all: readonly ObservedExchange[], from: { connections: ConnectionTable; nowNs: number }) {
    this.#connections = from.connections;
    this.#nowNs = from.nowNs;
    for (const observed of all) {
      const { end } = observed;
      if (end === null) continue;
      const place = this.isLocal(observed) ? localPlace(end.tgid, peerTgid(end), observed.side) : end;
      const list = this.#byPlace.get(place);
      if (list === undefined) this.#byPlace.set(place, [observed]);
      else list.push(observed);
    }
  }

  isLocal({ end }: ObservedExchange): boolean {
    return end !== null && end.transport === "local";
  }

  /** Whether the other end is on this host and known. */
  isJoined(observed: ObservedExchange): boolean {
    return this.calleeOf(observed) !== null;
  }

  /** A name of the other end's process; null where it is not known. */
  calleeOf(observed: ObservedExchange): string | null {
    const { end } = observed;
    if (end === null) return null;
    if (this.isLocal(observed)) {
      return this.#byPlace.has(localPlace(peerTgid(end), end.tgid, otherSide(observed))) ? `local ${peerTgid(end)}` : null;
    }
    const known = this.#callees.get(end);
    if (known !== undefined) return known;
    const peer = this.#connections.peerOf(end, this.#nowNs);
    // An end of nobody's (a load generator's) has no exchanges here, and its calls come from outside.
    const callee = peer === null || !this.#byPlace.has(peer) ? null : `${peer.tgid} ${peer.local.port}`;
    this.#callees.set(end, callee);
    return callee;
  }

  /** The same exchange as the other side saw it: the client's began before it, and ended after it if it was answered. */
  counterpart(observed: ObservedExchange): ObservedExchange | null {
    const { end, exchange } = observed;
    if (end === null) return null;
    const place = this.isLocal(observed)
      ? localPlace(peerTgid(end), end.tgid, otherSide(observed))
      : this.#connections.peerOf(end, this.#nowNs);
    let best: ObservedExchange | null = null;
    let bestNs = Number.POSITIVE_INFINITY;
    for (const other of place === null ? [] : (this.#byPlace.get(place) ?? [])) {
      if (other.isSent || other.side === observed.side || other.exchange.operation !== exchange.operation) continue;
      const [client, server] = ordered(observed, other);
      if (server.exchange.startNs < client.exchange.startNs - slackNs) continue;
      // Who was not answered did not wait for the end.
      if (client.exchange.unanswered === undefined && server.exchange.endNs > client.exchange.endNs + slackNs) continue;
      const distanceNs = Math.abs(server.exchange.startNs - client.exchange.startNs);
      if (distanceNs >= bestNs) continue;
      best = other;
      bestNs = distanceNs;
    }
    return best;
  }
}

/** Spans by the service that they belong to. */
class SpanList {
  readonly #host: string;
  readonly #services = new Map<string, { who: ServiceIdentity; items: SpanItem[] }>();

  constructor(host: string) {
    this.#host = host;
  }

  resources(): ResourceItems<SpanItem>[] {
    return [...this.#services.values()].map(({ who, items }) => ({ resource: resourceOf(who), items }));
  }

  addPair(client: ObservedExchange, server: ObservedExchange, isLocal: boolean): void {
    const ids = idsOf(
      `pair ${this.#host} ${client.end?.cookie} ${server.end?.cookie} ${client.exchange.startNs} ${server.exchange.startNs}`,
    );
    const inferred: Attributes = isLocal ? { "headwater.confidence": localConfidence } : {};
    const toServer = client.server === null || client.server.ip === "" ? server.server : client.server;
    this.#add(client, { traceId: ids.traceId, spanId: ids.clientSpanId, parentSpanId: null }, serverAttributes(toServer));
    this.#add(server, { traceId: ids.traceId, spanId: ids.serverSpanId, parentSpanId: ids.clientSpanId }, inferred);
  }

  /** The first of a connection and bucket is the one that the other host's agent can name too; others hang on the same parent. */
  addAlone(observed: ObservedExchange): void {
    const ids = idsOf(seedAlone(observed, this.#host));
    const isFirst = observed.end === null || observed.end.reportedBucket !== bucketOf(observed);
    if (observed.end !== null) observed.end.reportedBucket = bucketOf(observed);
    const own = isFirst ? null : idsOf(`${observed.side} ${ids.traceId} ${observed.exchange.startNs} ${observed.exchange.endNs}`);
    const { traceId, clientSpanId } = ids;
    if (observed.side === "client") {
      this.#add(observed, { traceId, spanId: own?.clientSpanId ?? clientSpanId, parentSpanId: null }, serverAttributes(observed.server));
    } else this.#add(observed, { traceId, spanId: own?.serverSpanId ?? ids.serverSpanId, parentSpanId: clientSpanId }, {});
  }

  #add(observed: ObservedExchange, ids: Pick<SpanItem, "traceId" | "spanId" | "parentSpanId">, more: Attributes): void {
    observed.isSent = true;
    const { exchange, who, side, clockOffsetNs, end } = observed;
    const offset = BigInt(Math.round(clockOffsetNs));
    const item: SpanItem = {
      ...ids,
      name: exchange.operation,
      kind: side,
      startNs: BigInt(Math.round(exchange.startNs)) + offset,
      endNs: BigInt(Math.round(Math.max(exchange.startNs, exchange.endNs))) + offset,
      attributes: {
        ...operationAttributes(exchange.protocol, exchange.operation),
        ...statusAttributes(exchange),
        ...(end === null || end.remote.ip === "" ? {} : { "network.peer.address": end.remote.ip, "network.peer.port": end.remote.port }),
        ...more,
      },
      failed: exchange.failed,
    };
    const service = this.#services.get(who.key);
    if (service === undefined) this.#services.set(who.key, { who, items: [item] });
    else service.items.push(item);
  }
}

function ordered(one: ObservedExchange, other: ObservedExchange): [client: ObservedExchange, server: ObservedExchange] {
  return one.side === "client" ? [one, other] : [other, one];
}

function otherSide({ side }: ObservedExchange): "client" | "server" {
  return side === "client" ? "server" : "client";
}

function localPlace(tgid: number, peer: number, side: "client" | "server"): string {
  return `${side} ${tgid} ${peer}`;
}

function peerTgid({ local, remote }: ConnectionEnd): number {
  return remote.peerTgid === 0 ? local.peerTgid : remote.peerTgid;
}

function durationOf({ exchange }: ObservedExchange): number {
  return exchange.endNs - exchange.startNs;
}

function bucketOf({ exchange, clockOffsetNs }: ObservedExchange): number {
  return Math.floor((exchange.endNs + clockOffsetNs) / bucketNs);
}

/**
 * What both ends of a connection see of it, wherever they are. An address of the machine itself is the host's own, or two hosts would find
 * each other in it.
 */
function seedAlone(observed: ObservedExchange, host: string): string {
  const { end, side, exchange } = observed;
  if (end === null || end.transport === "local") return `${host} ${side} ${observed.who.key} ${exchange.startNs} ${end?.cookie ?? ""}`;
  const [client, server] = side === "client" ? [end.local, end.remote] : [end.remote, end.local];
  const within = isLoopbackAddress(client.ip) ? `${host} ${end.netns}` : "";
  return `${within} ${end.transport} ${addressKey(client)} ${addressKey(server)} ${bucketOf(observed)}`;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function idsOf(seed: string): { traceId: string; clientSpanId: string; serverSpanId: string } {
  const hash = hashOf(seed);
  return { traceId: hash.slice(0, 32), clientSpanId: hash.slice(32, 48), serverSpanId: hash.slice(48, 64) };
}

/** The people who use the shop: an open-loop load that never waits for answers, and what it saw. */
import { Agent, request } from "node:http";
import type { Place } from "./address.ts";
import type { Felt } from "./protocol.ts";
import { Random, seedFrom } from "./random.ts";
import { type EntrySpec, type OperationSpec, type ShopSpec, serviceOf } from "./spec.ts";

/** Requests of one entry that are under way at most; more are dropped and counted. */
const inFlightMax = 300;
const timeoutMs = 5_000;
/** A day of the shop, compressed, and how far its load swings around the mean. */
const dayMs = 240_000;
const dayAmplitude = 0.25;
/** Answers of one entry that are remembered. */
const outcomesMax = 500;
/** Fewer answers say nothing about their 95th percentile. */
const quantileAnswersMin = 40;

interface Outcome {
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly ok: boolean;
}

/** One entry service under load. */
class EntryLoad {
  readonly service: string;
  readonly #rate: number;
  readonly #place: Place;
  readonly #operations: readonly OperationSpec[];
  readonly #random: Random;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #startedAtMs = Date.now();
  readonly #factor: () => number;
  #outcomes: Outcome[] = [];
  #timer: NodeJS.Timeout | null = null;
  #inFlight = 0;
  /** Arrivals that found too many others under way. */
  dropped = 0;
  answered = 0;
  failed = 0;

  constructor(options: { shop: ShopSpec; entry: EntrySpec; place: Place; factor: () => number }) {
    this.service = options.entry.service;
    this.#rate = options.entry.requestsPerSecond;
    this.#place = options.place;
    this.#operations = serviceOf(options.shop, options.entry.service).operations;
    this.#random = new Random(seedFrom("load", options.shop.seed, options.entry.service));
    this.#factor = options.factor;
    this.#next(performance.now());
  }

  /** Arrivals keep their own clock, so that a late timer shifts none of those that follow. */
  #next(afterMs: number): void {
    const phase = (2 * Math.PI * (Date.now() - this.#startedAtMs)) / dayMs;
    const rate = this.#rate * this.#factor() * (1 + dayAmplitude * Math.sin(phase));
    const dueMs = Math.max(afterMs + this.#random.exponential(1_000 / rate), performance.now() - 1_000);
    this.#timer = setTimeout(
      () => {
        this.#arrive();
        this.#next(dueMs);
      },
      Math.max(0, dueMs - performance.now()),
    );
  }

  #pick(): OperationSpec {
    const total = this.#operations.reduce((sum, operation) => sum + operation.weight, 0);
    let at = this.#random.next() * total;
    for (const operation of this.#operations) {
      at -= operation.weight;
      if (at < 0) return operation;
    }
    return this.#random.pick(this.#operations);
  }

  #arrive(): void {
    const operation = this.#pick();
    const path = operation.route.replace("{id}", String(this.#random.integer(1, 1_000)));
    if (this.#inFlight >= inFlightMax) {
      this.dropped += 1;
      return;
    }
    this.#inFlight += 1;
    const startedAtMs = Date.now();
    const startedMs = performance.now();
    let open = true;
    const finish = (ok: boolean): void => {
      if (!open) return;
      open = false;
      this.#inFlight -= 1;
      this.answered += 1;
      if (!ok) this.failed += 1;
      this.#outcomes.push({ startedAtMs, durationMs: performance.now() - startedMs, ok });
      if (this.#outcomes.length > outcomesMax) this.#outcomes.shift();
    };
    const sent = request({ ...this.#place, method: operation.method, path, agent: this.#agent, timeout: timeoutMs });
    sent.on("timeout", () => sent.destroy(new Error("timeout")));
    sent.on("error", () => finish(false));
    sent.on("response", (response) => {
      response.resume();
      response.on("end", () => finish((response.statusCode ?? 500) < 500));
      response.on("error", () => finish(false));
    });
    sent.end();
  }

  /** What is known of requests that began at or after a moment. */
  since(atMs: number): { count: number; failed: number; durationsMs: number[] } {
    const recent = this.#outcomes.filter((outcome) => outcome.startedAtMs >= atMs);
    return {
      count: recent.length,
      failed: recent.filter((outcome) => !outcome.ok).length,
      durationsMs: recent.map((outcome) => outcome.durationMs),
    };
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#agent.destroy();
  }
}

/** The load of a whole shop; runs from construction until `stop`. */
export class Load {
  readonly #entries: readonly EntryLoad[];
  /** Multiplies the rate of every entry; 1 as drawn. */
  factor = 1;
  #healthyFromMs = 0;

  constructor(shop: ShopSpec, placeOf: (service: string) => Place) {
    this.#entries = shop.entries.map((entry) => new EntryLoad({ shop, entry, place: placeOf(entry.service), factor: () => this.factor }));
  }

  /** Says that all is well from now on: what was seen before is no measure of it. */
  markHealthy(): void {
    this.#healthyFromMs = Date.now();
  }

  /** The 95th percentile of an entry's latest answers while all was well, milliseconds; 0 while there are too few. */
  p95Ms(service: string): number {
    const { durationsMs } = this.#since(service, this.#healthyFromMs);
    return durationsMs.length < quantileAnswersMin ? 0 : p95Of(durationsMs);
  }

  /** What users of an entry have had since a moment. */
  felt(service: string, sinceMs: number): Omit<Felt, "usualP95Ms"> {
    const { count, failed, durationsMs } = this.#since(service, sinceMs);
    return { requests: count, failed, p95Ms: Math.round(p95Of(durationsMs)) };
  }

  #since(service: string, atMs: number): ReturnType<EntryLoad["since"]> {
    return this.#entries.find((entry) => entry.service === service)?.since(atMs) ?? { count: 0, failed: 0, durationsMs: [] };
  }

  /** Whether every entry answered enough requests that began after a moment, and the latest of them all well. */
  isHealthySince(atMs: number, options: { answersMin: number }): boolean {
    return this.#entries.every((entry) => {
      const seen = entry.since(atMs);
      return seen.count >= options.answersMin && seen.failed === 0;
    });
  }

  /** What has been answered, failed, and dropped for want of room, since the load began. */
  totals(): { answered: number; failed: number; dropped: number } {
    const sum = (of: (entry: EntryLoad) => number): number => this.#entries.reduce((total, entry) => total + of(entry), 0);
    return { answered: sum((entry) => entry.answered), failed: sum((entry) => entry.failed), dropped: sum((entry) => entry.dropped) };
  }

  stop(): void {
    for (const entry of this.#entries) entry.stop();
  }
}

function p95Of(durationsMs: readonly number[]): number {
  const sorted = [...durationsMs].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length * 0.95)] ?? 0;
}

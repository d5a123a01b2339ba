/**
 * A small shop that exists in numbers only: requests run through services with work, a cache, a database behind a pool
 * and calls, and leave spans, lines and gauges of the kind the lab leaves. For tests of the ranker.
 */
import type { ShopRandom } from "./shop-random.ts";

export type FaultName = "slow-code" | "exception-deploy" | "pool-leak" | "crash" | "slow-dependency" | "bad-flag";

export interface SimCall {
  readonly callee: string;
  readonly operation: string;
  readonly probability: number;
  readonly required: boolean;
  readonly timeoutMs: number;
  /** Further attempts after a refused connection. */
  readonly retriesMax: number;
}

export interface SimOperation {
  readonly name: string;
  readonly weight: number;
  readonly workMs: number;
  readonly cache: boolean;
  readonly database: boolean;
  readonly calls: readonly SimCall[];
}

export interface SimService {
  readonly name: string;
  readonly layer: number;
  readonly host: string;
  readonly poolMax: number | null;
  readonly operations: readonly SimOperation[];
}

export interface SimShop {
  readonly services: readonly SimService[];
  readonly entries: readonly { readonly service: string; readonly requestsPerSecond: number }[];
  readonly database: string;
  readonly cache: string;
}

export interface SimFault {
  readonly name: FaultName;
  readonly service: string;
  /** Caller of the slow edge. */
  readonly caller: string | null;
  readonly magnitude: number;
  readonly variant: "errors" | "slowness";
  readonly atMs: number;
}

export interface SimSpan {
  readonly entity: string;
  readonly operation: string;
  readonly side: "server" | "client" | "internal";
  readonly callee: string | null;
  readonly endMs: number;
  readonly durationMs: number;
  readonly selfMs: number;
  readonly failed: boolean;
  readonly origin: boolean;
  readonly exception: string | null;
}

export interface SimLine {
  readonly entity: string;
  readonly severity: "ERROR" | "WARN" | "INFO";
  readonly text: string;
  readonly atMs: number;
}

export interface SimPool {
  used: number;
  kept: number;
  readonly waits: { readonly fromMs: number; readonly toMs: number }[];
}

export interface SimRun {
  readonly spans: SimSpan[];
  readonly lines: SimLine[];
  readonly pools: Map<string, SimPool>;
}

/** A shop of `count` services in layers; names are random letters. */
export function drawSimShop(random: ShopRandom, count = 9): SimShop {
  const names = Array.from({ length: count }, () => random.name());
  const entryCount = random.integer(1, 2);
  const layerCount = random.integer(2, 3);
  const layers = names.map((_, index) =>
    index < entryCount ? 0 : index - entryCount < layerCount ? index - entryCount + 1 : random.integer(1, layerCount),
  );
  const hosts = [random.name(), random.name(), random.name()];
  const calls = names.map((): { to: number; probability: number; required: boolean }[] => []);
  for (let index = entryCount; index < count; index += 1) {
    const above = names.map((_, other) => other).filter((other) => (layers[other] ?? 0) < (layers[index] ?? 0));
    const near = above.filter((other) => layers[other] === (layers[index] ?? 0) - 1);
    calls[random.pick(near.length > 0 && random.chance(0.8) ? near : above)]?.push({ to: index, probability: 1, required: true });
  }
  for (let extra = random.integer(0, 3); extra > 0; extra -= 1) {
    const from = random.integer(0, count - 1);
    const below = names.map((_, other) => other).filter((other) => (layers[other] ?? 0) > (layers[from] ?? 0));
    if (below.length > 0) calls[from]?.push({ to: random.pick(below), probability: random.between(0.3, 1), required: random.chance(0.7) });
  }
  const operations = names.map(() =>
    random.chance(0.7) ? [`GET /${random.name()}/{id}`, `POST /${random.name()}/{id}`] : [`GET /${random.name()}/{id}`],
  );
  const stored = new Set(random.shuffled(names.map((_, index) => index)).slice(0, Math.max(4, Math.round(count * 0.55))));
  const services = names.map((name, index): SimService => {
    const cached = random.chance(0.45);
    return {
      name,
      layer: layers[index] ?? 0,
      host: random.pick(hosts),
      poolMax: stored.has(index) ? random.integer(3, 5) : null,
      operations: (operations[index] ?? []).map((operation, place, all) => ({
        name: operation,
        weight: place === 0 ? 0.65 : 0.35,
        workMs: random.between(2, 15),
        cache: cached && place === 0,
        database: stored.has(index),
        calls: (calls[index] ?? [])
          .filter((call) => call.probability === 1 || place === all.length - 1)
          .map((call) => ({
            callee: names[call.to] ?? "",
            operation: random.pick(operations[call.to] ?? []),
            probability: call.probability,
            required: call.required,
            retriesMax: random.chance(0.3) ? 1 : 0,
            timeoutMs: 1_000 + 300 * Math.max(0, layerCount - 1 - (layers[index] ?? 0)),
          })),
      })),
    };
  });
  const entries = names.slice(0, entryCount).map((service) => ({ service, requestsPerSecond: random.between(4, 6) }));
  return { services, entries, database: `postgresql@${random.name()}:5432`, cache: `redis@${random.name()}:6379` };
}

interface Outcome {
  readonly durationMs: number;
  readonly failure: string | null;
}

const acquireWaitMs = 700;
const retryAfterMs = 20;
const refused = "CallConnectionError: connection refused";

/** Plays the shop from 0 to `toMs`. */
export class ShopSimulation {
  readonly #random: ShopRandom;
  readonly #shop: SimShop;
  readonly #fault: SimFault | null;
  readonly #services: ReadonlyMap<string, SimService>;
  readonly run: SimRun = { spans: [], lines: [], pools: new Map() };
  /** The machine is noisier at some times than at others. */
  #busy = 1;

  constructor(random: ShopRandom, shop: SimShop, fault: SimFault | null) {
    this.#random = random;
    this.#shop = shop;
    this.#fault = fault;
    this.#services = new Map(shop.services.map((service) => [service.name, service]));
    for (const service of shop.services) if (service.poolMax !== null) this.run.pools.set(service.name, { used: 0, kept: 0, waits: [] });
  }

  play(toMs: number): SimRun {
    for (let second = 0; second < toMs; second += 1_000) {
      this.#busy = Math.max(
        0.9,
        this.#busy * 0.7 + 0.3 * (1 + (this.#random.chance(0.06) ? this.#random.between(0.3, 2) : this.#random.between(0, 0.15))),
      );
      for (const entry of this.#shop.entries) {
        const count = Math.max(0, Math.round(entry.requestsPerSecond * (1 + 0.15 * Math.sin(second / 30_000)) + this.#random.normal()));
        for (let index = 0; index < count; index += 1) {
          const service = this.#services.get(entry.service);
          if (service !== undefined) this.#serve(service, this.#chosen(service), second + ((index + this.#random.next()) / count) * 1_000);
        }
      }
    }
    return this.run;
  }

  #chosen(service: SimService): SimOperation {
    const total = service.operations.reduce((sum, operation) => sum + operation.weight, 0);
    let left = this.#random.next() * total;
    for (const operation of service.operations) {
      left -= operation.weight;
      if (left <= 0) return operation;
    }
    return service.operations[0] as SimOperation;
  }

  #noise(): number {
    const tail = this.#random.chance(0.02) ? this.#random.between(1.5, 4) : 1;
    return this.#busy * this.#random.between(0.8, 1.4) * tail;
  }

  #hits(service: string, atMs: number): SimFault | null {
    const fault = this.#fault;
    return fault !== null && fault.service === service && atMs >= fault.atMs ? fault : null;
  }

  #serve(service: SimService, operation: SimOperation, startMs: number): Outcome {
    let at = startMs;
    let ownMs = 0.3 * this.#noise();
    at += ownMs;
    let failure: string | null = null;
    let origin = false;
    if (operation.cache) at += this.#leaf(service, { name: "GET", callee: this.#shop.cache, ms: 0.6, at });
    const work = this.#work(service, operation, at);
    at += work.durationMs;
    failure = work.failure;
    if (failure === null && operation.database) {
      const outcome = this.#database(service, at);
      at += outcome.durationMs;
      failure = outcome.failure;
    }
    for (const call of operation.calls) {
      if (failure !== null) break;
      if (!this.#random.chance(call.probability)) continue;
      let outcome = this.#call(service, call, at);
      at += outcome.durationMs;
      if (outcome.failure === refused && call.retriesMax > 0) {
        ownMs += retryAfterMs;
        at += retryAfterMs;
        outcome = this.#call(service, call, at);
        at += outcome.durationMs;
      }
      if (outcome.failure !== null && call.required) failure = outcome.failure;
      else if (outcome.failure !== null) this.#line(service.name, "WARN", "call failed, going on without its answer", at);
    }
    const tail = 0.2 * this.#noise();
    ownMs += tail;
    at += tail;
    origin = false;
    if (failure !== null) this.#line(service.name, "ERROR", `${operation.name} failed: ${failure}`, at);
    this.#line(service.name, "INFO", `${operation.name} answered ${failure === null ? 200 : 500} in <number> ms`, at);
    const durationMs = at - startMs;
    this.run.spans.push({
      entity: service.name,
      operation: operation.name,
      side: "server",
      callee: null,
      endMs: at,
      durationMs,
      selfMs: ownMs,
      failed: failure !== null,
      origin,
      exception: failure,
    });
    return { durationMs, failure };
  }

  #work(service: SimService, operation: SimOperation, startMs: number): Outcome {
    let durationMs = operation.workMs * this.#random.between(0.7, 1.4) * (0.5 + 0.5 * this.#noise());
    const fault = this.#hits(service.name, startMs);
    let failure: string | null = null;
    if (fault?.name === "slow-code" || (fault?.name === "bad-flag" && fault.variant === "slowness")) {
      durationMs += fault.magnitude * this.#random.between(0.9, 1.15);
    } else if ((fault?.name === "exception-deploy" || fault?.name === "bad-flag") && this.#random.chance(fault.magnitude)) {
      failure = fault.name === "bad-flag" ? "ValidationError: the field is required" : "TypeError: cannot read properties of undefined";
    }
    this.run.spans.push({
      entity: service.name,
      operation: `process ${operation.name.slice(4)}`,
      side: "internal",
      callee: null,
      endMs: startMs + durationMs,
      durationMs,
      selfMs: durationMs,
      failed: failure !== null,
      origin: failure !== null,
      exception: failure,
    });
    return { durationMs, failure };
  }

  #leaf(service: SimService, call: { name: string; callee: string; ms: number; at: number }): number {
    const durationMs = call.ms * this.#noise();
    this.run.spans.push({
      entity: service.name,
      operation: call.name,
      side: "client",
      callee: call.callee,
      endMs: call.at + durationMs,
      durationMs,
      selfMs: durationMs,
      failed: false,
      origin: false,
      exception: null,
    });
    return durationMs;
  }

  #database(service: SimService, startMs: number): Outcome {
    const pool = this.run.pools.get(service.name);
    const fault = this.#hits(service.name, startMs);
    if (pool !== undefined && fault?.name === "pool-leak") {
      if (pool.kept >= (service.poolMax ?? 1)) {
        const waitedMs = acquireWaitMs + this.#random.between(0, 10);
        pool.waits.push({ fromMs: startMs, toMs: startMs + waitedMs });
        const failure = "PoolTimeoutError: no database connection became free";
        this.run.spans.push({
          entity: service.name,
          operation: "pool.acquire",
          side: "internal",
          callee: null,
          endMs: startMs + waitedMs,
          durationMs: waitedMs,
          selfMs: waitedMs,
          failed: true,
          origin: true,
          exception: failure,
        });
        return { durationMs: waitedMs, failure };
      }
      if (this.#random.chance(fault.magnitude)) pool.kept += 1;
    }
    return {
      durationMs: this.#leaf(service, { name: `SELECT ${service.name}`, callee: this.#shop.database, ms: 1.2, at: startMs }),
      failure: null,
    };
  }

  #call(service: SimService, call: SimCall, startMs: number): Outcome {
    const callee = this.#services.get(call.callee);
    const operation = callee?.operations.find((other) => other.name === call.operation);
    if (callee === undefined || operation === undefined) return { durationMs: 0, failure: null };
    const fault = this.#hits(call.callee, startMs);
    const hop = 0.8 * this.#noise();
    let durationMs: number;
    let failure: string | null;
    let origin = false;
    if (fault?.name === "crash") {
      durationMs = hop;
      failure = refused;
      origin = true;
    } else {
      const delayMs = fault?.name === "slow-dependency" && fault.caller === service.name ? fault.magnitude : 0;
      const answer = this.#serve(callee, operation, startMs + hop / 2 + delayMs / 2);
      durationMs = hop + delayMs + answer.durationMs;
      failure = answer.failure === null ? null : "CallAnsweredError: answered 500";
      if (durationMs > call.timeoutMs) {
        durationMs = call.timeoutMs + this.#random.next();
        failure = "CallTimeoutError: no answer in time";
        origin = answer.failure === null;
      }
    }
    this.run.spans.push({
      entity: service.name,
      operation: call.operation,
      side: "client",
      callee: call.callee,
      endMs: startMs + durationMs,
      durationMs,
      selfMs: durationMs,
      failed: failure !== null,
      origin,
      exception: failure,
    });
    return { durationMs, failure };
  }

  #line(entity: string, severity: SimLine["severity"], text: string, atMs: number): void {
    this.run.lines.push({ entity, severity, text, atMs });
  }
}

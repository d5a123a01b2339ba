/** All that a stage may use besides its ports and options: clock, logger, metrics, random. */
import { type Logger as PinoLogger, pino } from "pino";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "../contract/port.ts";

export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Prometheus metrics of this process. Names begin with `headwater_`, end in their unit; labels are closed sets. */
export interface Metrics {
  readonly registry: Registry;
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  gauge(name: string, help: string, labels?: readonly string[]): Gauge;
  histogram(name: string, help: string, buckets: readonly number[], labels?: readonly string[]): Histogram;
}

export interface Platform {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Uniform in [0, 1). */
  random(): number;
}

/** The machine's own time. */
export class SystemClock implements Clock {
  nowMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  }
}

/** Time that stands still until it is told to go on; for replays and tests. */
export class ManualClock implements Clock {
  #nowMs: number;
  #timers: { atMs: number; callback: () => void }[] = [];

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Moves on, running what is due, in order of time. Never moves back. */
  advanceTo(atMs: number): void {
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= atMs).sort((left, right) => left.atMs - right.atMs)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.callback();
    }
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const find = <T>(name: string, create: () => T): T => (registry.getSingleMetric(name) as T | undefined) ?? create();
  return {
    registry,
    counter: (name, help, labels = []) => find(name, () => new Counter({ name, help, labelNames: [...labels], registers: [registry] })),
    gauge: (name, help, labels = []) => find(name, () => new Gauge({ name, help, labelNames: [...labels], registers: [registry] })),
    histogram: (name, help, buckets, labels = []) =>
      find(name, () => new Histogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers: [registry] })),
  };
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** JSON lines on standard error; tokens and authorization headers are never written. */
export function createLogger(level: LogLevel): Logger {
  const logger: PinoLogger = pino(
    { level, base: null, redact: ["token", "*.token", "headers.authorization", "*.headers.authorization"] },
    pino.destination({ fd: 2, sync: true }),
  );
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  };
}

/** A platform for production: system clock, logger at `level`, fresh metrics. */
export function createPlatform(options: { level: LogLevel; clock?: Clock }): Platform {
  return { clock: options.clock ?? new SystemClock(), logger: createLogger(options.level), metrics: createMetrics(), random: Math.random };
}

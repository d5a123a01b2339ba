/** What a service's process reports of itself, and its connection pool: read when the metric reader asks. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { Meter } from "@opentelemetry/api";

export interface PoolCounts {
  readonly used: number;
  readonly idle: number;
  readonly pending: number;
  readonly max: number;
}

const delayResolutionMs = 10;

/** Registers the observable instruments with a meter; they stop with its provider, and `stop` ends what runs beside them. */
export class ProcessGauges {
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: delayResolutionMs });
  #cpuUs = 0;
  #cpuAtMs = performance.now();

  constructor(meter: Meter, pool: () => PoolCounts | null) {
    this.#delay.enable();
    const spent = process.cpuUsage();
    this.#cpuUs = spent.user + spent.system;
    meter
      .createObservableGauge("process.cpu.utilization", { unit: "1", description: "Share of one core used since the last report" })
      .addCallback((result) => result.observe(this.#utilization()));
    meter
      .createObservableUpDownCounter("process.memory.usage", { unit: "By", description: "Resident memory" })
      .addCallback((result) => result.observe(process.memoryUsage.rss()));
    meter
      .createObservableGauge("nodejs.eventloop.delay.p99", { unit: "s", description: "Event loop delay since the last report" })
      .addCallback((result) => result.observe(this.#delayP99()));
    meter
      .createObservableGauge("process.uptime", { unit: "s", description: "Time since the process started" })
      .addCallback((result) => result.observe(process.uptime()));
    if (pool() !== null) registerPool(meter, pool);
  }

  #utilization(): number {
    const spent = process.cpuUsage();
    const [cpuUs, atMs] = [spent.user + spent.system, performance.now()];
    const elapsedUs = Math.max(1, (atMs - this.#cpuAtMs) * 1_000);
    const ratio = (cpuUs - this.#cpuUs) / elapsedUs;
    this.#cpuUs = cpuUs;
    this.#cpuAtMs = atMs;
    return ratio;
  }

  /** Beyond the timer's own resolution, in seconds. */
  #delayP99(): number {
    const ns = this.#delay.count > 0 ? this.#delay.percentile(99) - delayResolutionMs * 1e6 : 0;
    this.#delay.reset();
    return Math.max(0, ns) / 1e9;
  }

  stop(): void {
    this.#delay.disable();
  }
}

function registerPool(meter: Meter, pool: () => PoolCounts | null): void {
  const name = { "db.client.connection.pool.name": "main" };
  meter.createObservableUpDownCounter("db.client.connection.count", { unit: "{connection}" }).addCallback((result) => {
    const counts = pool();
    if (counts === null) return;
    result.observe(counts.used, { ...name, "db.client.connection.state": "used" });
    result.observe(counts.idle, { ...name, "db.client.connection.state": "idle" });
  });
  meter.createObservableUpDownCounter("db.client.connection.pending_requests", { unit: "{request}" }).addCallback((result) => {
    const counts = pool();
    if (counts !== null) result.observe(counts.pending, name);
  });
  meter.createObservableUpDownCounter("db.client.connection.max", { unit: "{connection}" }).addCallback((result) => {
    const counts = pool();
    if (counts !== null) result.observe(counts.max, name);
  });
}

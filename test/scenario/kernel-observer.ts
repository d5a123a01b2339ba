/** The agent's way from the kernel to exchanges, in this process: kernel source, decoder, parsers, tables. What it would count is kept one by one. */

import { AgentMetrics } from "../../services/agent/agent-metrics.ts";
import { AgentParts } from "../../services/agent/agent-parts.ts";
import { CgroupFiles } from "../../services/agent/cgroup-files.ts";
import { EventDecoder } from "../../services/agent/decode-events.ts";
import { type LiveKernel, openLiveKernel } from "../../services/agent/live-kernel.ts";
import { MetricSums } from "../../services/agent/metric-sums.ts";
import type { ObservedExchange } from "../../services/agent/observed-exchange.ts";
import { ProcessFiles } from "../../services/agent/process-files.ts";
import { createMetrics, SystemClock } from "../../services/platform.ts";
import { startFromTypeScript } from "../services/agent/typescript-worker.ts";

export interface ObserverOptions {
  /** Path of the group below which everything is observed, each child of it a service. */
  readonly group: string;
  readonly requests: "best" | "fallback";
  /** Of the ring of requests; the agent's own without it. */
  readonly dataRingBytes?: number;
}

const groupsMax = 100;
const silentLogger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

export class KernelObserver {
  readonly exchanges: ObservedExchange[] = [];
  /** What was lost or passed over, by where; only what is not zero. */
  readonly losses = new Map<string, number>();
  readonly parts: AgentParts;
  readonly #kernel: LiveKernel;
  readonly #decoders = new Map<string, EventDecoder>();
  readonly #metrics = new CountedMetrics(createMetrics(), this.losses);
  readonly #work: Promise<void>;
  #nowNs = 0;

  private constructor(kernel: LiveKernel, options: ObserverOptions) {
    this.#kernel = kernel;
    this.parts = new AgentParts({
      places: {
        processes: new ProcessFiles(),
        cgroups: new CgroupFiles(),
        interfaceNames: () => ({ netns: 0, names: new Map() }),
        dropReasons: new Map(),
      },
      host: "host",
      cgroups: [options.group],
      metrics: this.#metrics,
      hostOwner: { key: "host", resource: {} },
      lingerNs: 60_000_000_000,
      syscallScale: 1,
      onOpaque: (cookie) => kernel.ignore(cookie),
      onExchange: (observed) => this.exchanges.push(observed),
      onLifecycleLoss: () => this.parts.identities.verify(),
    });
    this.#work = this.#read();
  }

  static async open(options: ObserverOptions): Promise<KernelObserver> {
    const platform = { clock: new SystemClock(), logger: silentLogger, metrics: createMetrics(), random: () => 0.5 };
    const cgroups = new CgroupFiles();
    const { dataRingBytes } = options;
    const opened = await openLiveKernel({
      platform,
      level: "streams",
      syscalls: "off",
      requests: options.requests,
      watchedGroups: () => cgroups.idsBelow([options.group], groupsMax),
      startWorker: (reader) =>
        startFromTypeScript(
          dataRingBytes === undefined ? reader : { ...reader, ringBytes: { ...reader.ringBytes, data_ring: dataRingBytes } },
        ),
    });
    if (!opened.ok) throw new Error(opened.reason);
    const missing = await opened.kernel.missing();
    if (missing.length > 0) throw new Error(missing.join("; "));
    await opened.kernel.start();
    return new KernelObserver(opened.kernel, options);
  }

  /** On the kernel's clock, when it was read last. */
  get nowNs(): number {
    return this.#nowNs;
  }

  get source(): LiveKernel["source"] {
    return this.#kernel.source;
  }

  /** Everything that happened until now is in `exchanges` afterwards. */
  async settle(): Promise<void> {
    let before = -1;
    while (this.exchanges.length !== before) {
      before = this.exchanges.length;
      await this.#kernel.source.readNow();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    this.parts.intake.endBatch(Number.POSITIVE_INFINITY);
  }

  async close(): Promise<void> {
    await this.#kernel.close();
    await this.#work;
  }

  async #read(): Promise<void> {
    const { source } = this.#kernel;
    for (let batch = await source.next(); batch !== null; batch = await source.next()) {
      this.#nowNs = batch.atMs * 1e6 - batch.clockOffsetNs;
      if (batch.kind === "records") {
        const decoder = this.#decoders.get(batch.name) ?? new EventDecoder();
        this.#decoders.set(batch.name, decoder);
        const { clockOffsetNs } = batch;
        decoder.decode(batch.bytes, (event) => this.parts.intake.take(event, clockOffsetNs));
      } else this.parts.counters.take(batch, new MetricSums({ pointsMax: 10_000, onCounted: () => undefined }));
      this.parts.intake.endBatch(this.#nowNs);
    }
  }
}

class CountedMetrics extends AgentMetrics {
  readonly #losses: Map<string, number>;

  constructor(metrics: ReturnType<typeof createMetrics>, losses: Map<string, number>) {
    super(metrics);
    this.#losses = losses;
  }

  override dropped(where: string, amount: number): void {
    super.dropped(where, amount);
    if (amount > 0) this.#losses.set(where, (this.#losses.get(where) ?? 0) + amount);
  }
}

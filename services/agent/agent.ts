/**
 * The agent without kernel and network: batches of a ProbeSource in, OTLP bodies out, one interval after another. Time is that of the batches,
 * so that a recording gives the same bodies as the kernel that it was made from.
 */
import { HeadwaterError } from "../../contract/error.ts";
import { kernelEvent } from "../../contract/kernel-telemetry.ts";
import type { ProbeBatch, ProbeSource } from "../../contract/port.ts";
import type { Signal } from "../../contract/telemetry.ts";
import type { Platform } from "../platform.ts";
import { AgentInterval } from "./agent-interval.ts";
import { AgentMetrics } from "./agent-metrics.ts";
import { AgentParts, type AgentPlaces } from "./agent-parts.ts";
import { EventDecoder, type RejectReason } from "./decode-events.ts";
import { type Cost, Governor, type KernelSignal, type Level, levels } from "./governor.ts";
import { takenOutOf } from "./kernel-message.ts";
import type { MetricOwner } from "./metric-sums.ts";
import type { Interval, LogItem, ResourceItems, SpanItem } from "./otlp-item.ts";
import { OtlpWriter } from "./otlp-writer.ts";
import type { TelemetryPlaces } from "./telemetry-places.ts";

/** What the agent can ask of a live kernel; a recording has none of it. */
export interface KernelControl {
  setLevel(level: Level): Promise<void>;
  /** These and no others are not observed from now on. */
  giveUp(signals: readonly KernelSignal[]): Promise<void>;
  /** Nothing will come of what this connection says. */
  ignore(cookie: bigint): void;
  /** What our programs used when it was measured last; null before that. */
  programsCpu(): Promise<ProgramsCpu | null>;
}

/** Shares of one core. */
export interface ProgramsCpu {
  readonly all: number;
  readonly signals: ReadonlyMap<KernelSignal, number>;
}

export interface AgentOptions {
  readonly platform: Platform;
  readonly source: ProbeSource;
  readonly control: KernelControl | null;
  readonly send: (signal: Signal, body: Uint8Array) => void;
  readonly places: AgentPlaces;
  readonly host: string;
  readonly version: string;
  readonly intervalMs: number;
  /** How many times as much happened as the map of system calls counts. */
  readonly syscallScale: number;
  /** Programs that should be attached and are not; what they tell is missing from the start. */
  readonly programsMissing?: readonly string[];
  /** Where services send their telemetry. */
  readonly telemetry?: TelemetryPlaces;
  /** Nobody, as the agent itself is: the platform that started it. */
  readonly platformTgid?: number;
  readonly cgroups: readonly string[];
  readonly level: Level;
  readonly cpuBudget: number;
  readonly memoryMaxBytes: number;
  /** Processor time of this process, µs, and its resident memory. */
  readonly usage: () => { readonly cpuUs: number; readonly memoryBytes: number };
}

/** What an interval's records and maps take to arrive; then it is closed. */
const graceMs = 250;
const bodyBytesMax = 1_048_576;
/** Processes are compared with /proc so often, in case the end of one was not told. */
const verifyEveryMs = 60_000;
/** What ended is forgotten so often: short connections would fill the tables before an interval is over. */
const expireEveryNs = 1e9;
/** Intervals that may be open at once: the clock of a recording may jump. */
const openMax = 3;
const signalMaps: Readonly<Record<KernelSignal, string>> = { schedule: "schedules", syscalls: "syscalls" };
const governor = { overMs: 5_000, calmMs: 30_000, returnShare: 0.6 } as const;

export class Agent {
  readonly #options: AgentOptions;
  readonly #metrics: AgentMetrics;
  readonly #parts: AgentParts;
  readonly #writer: OtlpWriter;
  readonly #governor: Governor;
  readonly #hostOwner: MetricOwner;
  readonly #decoders = new Map<string, { decoder: EventDecoder; rejected: number; decoded: number }>();
  /** By start, oldest first. */
  readonly #open: AgentInterval[] = [];
  /** When each map was read last, and the middle of the time that the reading stands for. */
  readonly #mapReadings = new Map<string, { readonly atMs: number; readonly middleMs: number }>();
  #closedThroughMs = 0;
  #verifiedAtMs = 0;
  #mustVerify = false;
  #nowNs = 0;
  #expiredNs = Number.NEGATIVE_INFINITY;
  #clockOffsetNs = 0;
  #used: { atMs: number; cpuUs: number } | null = null;
  #cost = { agent: 0, kernel: 0 };
  /** Readings of maps that are not told: of a signal that is given up, and the first one after that, which holds a part of an interval only. */
  readonly #untold = new Map<string, number>();
  #run: Promise<void> | null = null;
  #failure: HeadwaterError | null = null;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { host, version, level, cpuBudget, memoryMaxBytes, platform } = options;
    this.#hostOwner = { key: `host ${host}`, resource: { "host.name": host } };
    this.#metrics = new AgentMetrics(platform.metrics);
    this.#parts = new AgentParts({
      ...options,
      metrics: this.#metrics,
      hostOwner: this.#hostOwner,
      lingerNs: Math.max(2_000, options.intervalMs + 1_000) * 1e6,
      onExchange: (observed) => {
        const endMs = (observed.exchange.endNs + observed.clockOffsetNs) / 1e6;
        this.#intervalAt(endMs).add(observed);
        this.#metrics.read("exchanges", 1);
      },
      onOpaque: (cookie) => options.control?.ignore(cookie),
      onLifecycleLoss: () => {
        this.#mustVerify = true;
      },
    });
    const sender = { "service.name": "headwater-agent", "service.instance.id": host };
    this.#writer = new OtlpWriter({ bodyBytesMax, version, sender });
    this.#governor = new Governor({ wanted: level, cpuBudget, memoryMaxBytes, ...governor });
  }

  /** Works until the source ends; what is gathered by then is sent. Rejects with the source's error. */
  run(): Promise<void> {
    this.#run ??= this.#work();
    return this.#run;
  }

  /** Ends the source; resolves when everything gathered is handed to the sender. */
  async stop(): Promise<void> {
    await this.#options.source.close();
    await this.#run?.catch(() => undefined);
  }

  /** Why less is seen than was asked for, as sentences. */
  reasons(): readonly string[] {
    return [this.#failure?.message ?? null, this.#governor.reason].filter((reason) => reason !== null);
  }

  /** Since the start. */
  get total(): AgentMetrics["total"] {
    return this.#metrics.total;
  }

  async #work(): Promise<void> {
    try {
      for (let batch = await this.#options.source.next(); batch !== null; batch = await this.#options.source.next()) {
        await this.#take(batch);
      }
    } catch (error) {
      if (error instanceof HeadwaterError) this.#failure = error;
      throw error;
    } finally {
      this.#parts.intake.endBatch(Number.POSITIVE_INFINITY);
      while (this.#open.length > 0) await this.#closeOldest();
    }
  }

  async #take(batch: ProbeBatch): Promise<void> {
    this.#nowNs = batch.atMs * 1e6 - batch.clockOffsetNs;
    this.#clockOffsetNs = batch.clockOffsetNs;
    if (batch.kind === "records") this.#takeRecords(batch);
    // What a map holds grew since it was read before: most of that time lies in the interval of its middle.
    else this.#parts.counters.take(batch, this.#isUntold(batch) ? this.#unsent() : this.#intervalAt(this.#middleOf(batch)).sums);
    this.#parts.intake.endBatch(this.#nowNs);
    if (this.#nowNs - this.#expiredNs >= expireEveryNs) {
      this.#expiredNs = this.#nowNs;
      this.#parts.expire(this.#nowNs);
    }
    this.#intervalAt(batch.atMs);
    for (;;) {
      const oldest = this.#open[0];
      if (oldest === undefined || batch.atMs < oldest.endMs + graceMs) return;
      await this.#closeOldest();
    }
  }

  /** Of the time since the map was read before. */
  #middleOf({ name, atMs }: ProbeBatch): number {
    const goneFrom = takenOutOf(name);
    const before = this.#mapReadings.get(goneFrom ?? name);
    if (goneFrom !== null) return before?.middleMs ?? atMs;
    const middleMs = before === undefined ? atMs - mapMiddleMs : (before.atMs + atMs) / 2;
    if (before !== undefined || this.#mapReadings.size < mapsMax) this.#mapReadings.set(name, { atMs, middleMs });
    return middleMs;
  }

  #takeRecords(batch: ProbeBatch): void {
    let state = this.#decoders.get(batch.name);
    if (state === undefined) {
      state = { decoder: new EventDecoder(), rejected: 0, decoded: 0 };
      this.#decoders.set(batch.name, state);
    }
    const { decoder } = state;
    decoder.decode(batch.bytes, (event) => this.#parts.intake.take(event, batch.clockOffsetNs));
    const rejected = Object.keys(decoder.rejected).reduce((sum, reason) => sum + decoder.rejected[reason as RejectReason], 0);
    this.#metrics.dropped("record-unreadable", rejected - state.rejected);
    this.#metrics.read("events", decoder.decoded - state.decoded);
    state.rejected = rejected;
    state.decoded = decoder.decoded;
  }

  /** The open interval of a moment; the oldest open one of what comes late, the newest of what is ahead of its time. */
  #intervalAt(atMs: number): AgentInterval {
    const { intervalMs, host } = this.#options;
    const startMs = Math.floor(atMs / intervalMs) * intervalMs;
    const oldest = this.#open[0];
    if (oldest !== undefined && startMs <= oldest.startMs) return oldest;
    const found = this.#open.find((interval) => interval.startMs === startMs);
    if (found !== undefined) return found;
    const newest = this.#open.at(-1);
    if (newest !== undefined && (startMs < newest.startMs || this.#open.length >= openMax)) return newest;
    const beginMs = Math.max(startMs, this.#closedThroughMs);
    const interval = new AgentInterval({ startMs: beginMs, endMs: beginMs + intervalMs }, { host, metrics: this.#metrics });
    this.#open.push(interval);
    return interval;
  }

  async #closeOldest(): Promise<void> {
    const interval = this.#open.shift();
    if (interval === undefined) return;
    this.#closedThroughMs = interval.endMs;
    const { parts, seconds } = { parts: this.#parts, seconds: this.#options.intervalMs / 1_000 };
    parts.processes.files(interval.endMs, interval.sums);
    await this.#govern(interval);
    const later = this.#open[0]?.spans ?? null;
    const spans = interval.spans.spans({ connections: parts.connections, nowNs: this.#nowNs, seconds, later });
    const endNs = BigInt(interval.endMs) * 1_000_000n - 1_000_000n;
    const logs = [this.#aliveRecord(interval, endNs), ...parts.events.take(endNs)];
    const metrics = [...interval.sums.metrics(), ...interval.requests.metrics()];
    this.#send("metrics", this.#writer.metrics(metrics, interval));
    this.#send("traces", this.#writer.traces([this.#aliveSpan(interval, endNs), ...spans]));
    this.#send("logs", this.#writer.logs(logs));
    this.#verify(interval.endMs);
  }

  #send(signal: Signal, bodies: readonly Uint8Array[]): void {
    for (const body of bodies) this.#options.send(signal, body);
  }

  #verify(atMs: number): void {
    if (!this.#mustVerify && atMs - this.#verifiedAtMs < verifyEveryMs) return;
    this.#mustVerify = false;
    this.#verifiedAtMs = atMs;
    this.#parts.identities.verify();
  }

  async #govern(interval: AgentInterval): Promise<void> {
    const { control, usage, level } = this.#options;
    const { cpuUs, memoryBytes } = usage();
    const atMs = this.#options.platform.clock.nowMs();
    const elapsedMs = this.#used === null ? 0 : atMs - this.#used.atMs;
    if (this.#used !== null && elapsedMs > 0) this.#cost.agent = (cpuUs - this.#used.cpuUs) / 1_000 / elapsedMs;
    this.#used = { atMs, cpuUs };
    const programs = (await control?.programsCpu()) ?? null;
    this.#cost.kernel = programs?.all ?? this.#cost.kernel;
    const { agent: agentCpu, kernel: kernelCpu } = this.#cost;
    const cost = { atMs, agentCpu, kernelCpu, signalsCpu: programs?.signals ?? new Map(), memoryBytes };
    if (control !== null) await this.#changeLevel(control, cost);
    const observed = levels.indexOf(this.#governor.level);
    const givenUp = [...levels.slice(observed + 1, levels.indexOf(level) + 1), ...this.#governor.signalsGivenUp];
    const state = { level: observed, givenUp, missing: this.#options.programsMissing ?? [], cpu: this.#cost, memoryBytes };
    this.#metrics.endInterval(interval.sums, { owner: this.#hostOwner, ...state });
  }

  async #changeLevel(control: KernelControl, cost: Cost): Promise<void> {
    const change = this.#governor.observe(cost);
    if (change === null) return;
    const { from, to, signal, reason } = change;
    this.#options.platform.logger.warn({ from, to, signal, reason }, "the agent observes more or less than before");
    if (signal === null) {
      await control.setLevel(to);
      return;
    }
    const { signalsGivenUp } = this.#governor;
    this.#untold.set(signalMaps[signal], signalsGivenUp.includes(signal) ? Number.POSITIVE_INFINITY : 1);
    await control.giveUp(signalsGivenUp);
  }

  #isUntold({ name }: ProbeBatch): boolean {
    const goneFrom = takenOutOf(name);
    const map = goneFrom ?? name;
    const left = this.#untold.get(map) ?? 0;
    if (left > 0 && goneFrom === null) this.#untold.set(map, left - 1);
    return left > 0;
  }

  /** For readings that move on what later ones are compared with, and are not told. */
  #unsent(): AgentInterval["sums"] {
    return new AgentInterval({ startMs: 0, endMs: 0 }, { host: this.#options.host, metrics: this.#metrics }).sums;
  }

  /**
   * A source of telemetry that has nothing to say would hold everybody's windows open until it counts as silent, so each signal says at
   * least that the interval is over.
   */
  #aliveSpan(interval: Interval, endNs: bigint): ResourceItems<SpanItem> {
    const ids = this.#parts.aliveIds(interval.startMs);
    const times = { startNs: endNs - 1n, endNs };
    const span: SpanItem = { ...ids, ...times, parentSpanId: null, name: "interval", kind: "internal", attributes: {}, failed: "no" };
    return { resource: this.#hostOwner.resource, items: [span] };
  }

  #aliveRecord({ requests }: AgentInterval, endNs: bigint): ResourceItems<LogItem> {
    const reason = this.#governor.reason;
    const attributes = { "headwater.exchanges": requests.count, ...(reason === null ? {} : { "headwater.reason": reason }) };
    const body = reason === null ? "the agent observes everything it was asked to" : `the agent observes less: ${reason}`;
    const severity = reason === null ? ("DEBUG" as const) : ("WARN" as const);
    return {
      resource: this.#hostOwner.resource,
      items: [{ atNs: endNs, severity, event: kernelEvent.interval, body, attributes }],
    };
  }
}

/** Half of the time that a first reading is taken to stand for. */
const mapMiddleMs = 500;
/** Maps of a recording are named by its file. */
const mapsMax = 100;

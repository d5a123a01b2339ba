/** What the agent says of itself: to Prometheus as counters of the process, and as metrics of its host along with everything else. */
import type { Counter } from "prom-client";
import { agentMetric } from "../../contract/kernel-telemetry.ts";
import type { Metrics } from "../platform.ts";
import type { MetricOwner, MetricSums } from "./metric-sums.ts";

/** What an agent is like at the end of an interval. */
export interface AgentState {
  /** Whose metrics they are. */
  readonly owner: MetricOwner;
  /** Place of what is observed among all levels. */
  readonly level: number;
  /** Levels that were asked for and are not observed. */
  readonly givenUp: readonly string[];
  /** Programs that should be attached and are not. */
  readonly missing: readonly string[];
  /** Shares of one core. */
  readonly cpu: { readonly agent: number; readonly kernel: number };
  readonly memoryBytes: number;
}

/** Programs without which nothing is observed are many; as many are named. */
const missingMax = 40;
/** Where something did not fit, was not read, or was not sent; a closed set in practice, bounded all the same. */
const placesMax = 200;

export class AgentMetrics {
  readonly #events: Counter;
  readonly #dropped: Counter;
  readonly #sent: Counter;
  readonly #level;
  readonly #cpu;
  readonly #memory;
  /** Since the last interval, by name and place. */
  #interval = new Map<string, number>();
  #places = new Set<string>();
  #total = { events: 0, exchanges: 0, dropped: 0 };

  constructor(metrics: Metrics) {
    this.#events = metrics.counter("headwater_agent_records_total", "Records and map entries read from the kernel, and exchanges found", [
      "kind",
    ]);
    this.#dropped = metrics.counter("headwater_agent_dropped_total", "What did not fit, could not be read or sent, by where", ["where"]);
    this.#sent = metrics.counter("headwater_agent_sent_total", "Bodies sent to the gateway", ["signal"]);
    this.#level = metrics.gauge("headwater_agent_level", "What is observed: 1 connections, 2 requests, 3 streams, 4 payload", []);
    this.#cpu = metrics.gauge("headwater_agent_cpu_ratio", "Processor time of agent and kernel programs, share of one core", ["part"]);
    this.#memory = metrics.gauge("headwater_agent_memory_bytes", "Resident memory of the agent", []);
  }

  /** Of this process since its start. */
  get total(): { readonly events: number; readonly exchanges: number; readonly dropped: number } {
    return this.#total;
  }

  read(kind: "events" | "entries" | "exchanges", amount: number): void {
    if (amount <= 0) return;
    this.#events.inc({ kind }, amount);
    if (kind !== "entries") this.#total[kind] += amount;
    this.#note(`headwater.agent.${kind}`, amount);
  }

  dropped(where: string, amount: number): void {
    if (amount <= 0) return;
    const place = this.#places.has(where) || this.#places.size < placesMax ? where : "other";
    this.#places.add(place);
    this.#dropped.inc({ where: place }, amount);
    this.#total.dropped += amount;
    this.#note(`${agentMetric.dropped}\n${place}`, amount);
  }

  sent(signal: string): void {
    this.#sent.inc({ signal });
  }

  /** Adds the interval's figures to the host's own, and begins the next interval. */
  endInterval(sums: MetricSums, state: AgentState): void {
    const { owner, level, givenUp, missing, cpu, memoryBytes } = state;
    this.#level.set(level);
    this.#cpu.set({ part: "agent" }, cpu.agent);
    this.#cpu.set({ part: "kernel" }, cpu.kernel);
    this.#memory.set(memoryBytes);
    for (const [key, amount] of this.#interval) {
      const [name = "", place] = key.split("\n");
      sums.add({ owner, name, unit: "1", attributes: place === undefined ? {} : { state: place } }, amount);
    }
    this.#interval = new Map();
    const plain = { owner, attributes: {} };
    sums.gauge({ ...plain, name: agentMetric.level, unit: "1" }, level);
    for (const state of givenUp) sums.gauge({ owner, name: agentMetric.givenUp, unit: "1", attributes: { state } }, 1);
    for (const program of missing.slice(0, missingMax)) {
      sums.gauge({ owner, name: agentMetric.programMissing, unit: "1", attributes: { state: program } }, 1);
    }
    sums.gauge({ ...plain, name: agentMetric.cpuUtilization, unit: "1" }, cpu.agent + cpu.kernel);
    sums.gauge({ ...plain, name: agentMetric.memory, unit: "By" }, memoryBytes);
  }

  #note(key: string, amount: number): void {
    this.#interval.set(key, (this.#interval.get(key) ?? 0) + amount);
  }
}

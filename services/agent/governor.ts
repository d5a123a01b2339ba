/** Keeps what the agent costs below its budget: gives up the dearest part first, and takes it back when there is room for it. */

/** What is observed, the cheapest first. Each includes those before it. */
export const levels = ["nothing", "connections", "requests", "streams", "payload"] as const;
export type Level = (typeof levels)[number];

/** What is observed beside the levels and can be given up by itself. */
export const kernelSignals = ["schedule", "syscalls"] as const;
export type KernelSignal = (typeof kernelSignals)[number];

export interface GovernorOptions {
  /** The level that the configuration asks for. */
  readonly wanted: Level;
  /** Share of one core that agent and programs may use together. */
  readonly cpuBudget: number;
  readonly memoryMaxBytes: number;
  /** Above the budget for so long before something is given up. */
  readonly overMs: number;
  /** Below `returnShare` of the budget for so long before something is taken back; doubled after each time that it was too early. */
  readonly calmMs: number;
  readonly returnShare: number;
}

/** What the agent used since the last look. */
export interface Cost {
  readonly atMs: number;
  /** Shares of one core. */
  readonly agentCpu: number;
  readonly kernelCpu: number;
  /** Parts of `kernelCpu`, as measured; of signals that are not known to cost anything there is none. */
  readonly signalsCpu: ReadonlyMap<KernelSignal, number>;
  readonly memoryBytes: number;
}

export interface GovernorChange {
  readonly from: Level;
  readonly to: Level;
  /** Given up or taken back in place of a level, which then stays. */
  readonly signal: KernelSignal | null;
  /** A sentence for people. */
  readonly reason: string;
}

/** Taken back and given up again within this time was too early. */
const tooEarlyMs = 120_000;
const calmFactorMax = 32;
/** A signal that costs less than this share of the budget is kept: giving it up would help nobody. */
const signalShareMin = 0.1;
const requestsAt = levels.indexOf("requests");

export class Governor {
  readonly #options: GovernorOptions;
  #level: number;
  /** What was given up, in that order; the last one is taken back first. */
  readonly #steps: ("level" | KernelSignal)[] = [];
  #overSinceMs: number | null = null;
  #calmSinceMs: number | null = null;
  #calmFactor = 1;
  #takenBackMs = Number.NEGATIVE_INFINITY;
  #reason: string | null = null;

  constructor(options: GovernorOptions) {
    this.#options = options;
    this.#level = levels.indexOf(options.wanted);
  }

  get level(): Level {
    return levels[this.#level] ?? "nothing";
  }

  get signalsGivenUp(): readonly KernelSignal[] {
    return this.#steps.filter((step) => step !== "level");
  }

  /** Why less is observed than was asked for; null when nothing was given up. */
  get reason(): string | null {
    return this.#steps.length === 0 ? null : this.#reason;
  }

  /** Looks at the cost since the last look; answers a change to be made. One step at a time, so that each one's effect is seen. */
  observe(cost: Cost): GovernorChange | null {
    const { cpuBudget, memoryMaxBytes, overMs, calmMs, returnShare } = this.#options;
    const cpu = cost.agentCpu + cost.kernelCpu;
    const isOver = cpu > cpuBudget || cost.memoryBytes > memoryMaxBytes;
    const isCalm = cpu < cpuBudget * returnShare && cost.memoryBytes < memoryMaxBytes * returnShare;
    this.#overSinceMs = isOver ? (this.#overSinceMs ?? cost.atMs) : null;
    this.#calmSinceMs = isCalm ? (this.#calmSinceMs ?? cost.atMs) : null;
    if (this.#overSinceMs !== null && cost.atMs - this.#overSinceMs >= overMs) return this.#giveUp(cost, cpu);
    if (this.#steps.length === 0 || this.#calmSinceMs === null || cost.atMs - this.#calmSinceMs < calmMs * this.#calmFactor) return null;
    return this.#takeBack(cost);
  }

  #giveUp(cost: Cost, cpu: number): GovernorChange | null {
    const signal = this.#dearSignal(cost, cpu);
    if (signal === null && this.#level === 0) return null;
    if (cost.atMs - this.#takenBackMs < tooEarlyMs) this.#calmFactor = Math.min(this.#calmFactor * 2, calmFactorMax);
    const { cpuBudget, memoryMaxBytes } = this.#options;
    const why =
      cpu > cpuBudget
        ? `agent and programs use ${percent(cpu)} of a core, more than ${percent(cpuBudget)}`
        : `the agent uses ${mebibytes(cost.memoryBytes)}, more than ${mebibytes(memoryMaxBytes)}`;
    const what = signal === null ? this.level : `${signal}, which costs ${percent(cost.signalsCpu.get(signal) ?? 0)} of a core,`;
    this.#reason = `${what} is given up: ${why}`;
    this.#steps.push(signal ?? "level");
    return this.#changed(signal, { by: signal === null ? -1 : 0, reason: this.#reason });
  }

  /**
   * The dearest signal where it is to go before a level: when requests would be the next to go, and before that when it costs more than all
   * the rest. Memory is not theirs.
   */
  #dearSignal({ signalsCpu }: Cost, cpu: number): KernelSignal | null {
    const { cpuBudget } = this.#options;
    const kept = kernelSignals.filter((signal) => !this.#steps.includes(signal));
    const dear = kept.sort((left, right) => (signalsCpu.get(right) ?? 0) - (signalsCpu.get(left) ?? 0))[0];
    const itsCpu = dear === undefined ? 0 : (signalsCpu.get(dear) ?? 0);
    if (dear === undefined || cpu <= cpuBudget || itsCpu < cpuBudget * signalShareMin) return null;
    return this.#level <= requestsAt || itsCpu > cpu - itsCpu ? dear : null;
  }

  #takeBack(cost: Cost): GovernorChange | null {
    const step = this.#steps.pop();
    if (step === undefined) return null;
    this.#takenBackMs = cost.atMs;
    return this.#changed(step === "level" ? null : step, { by: step === "level" ? 1 : 0, reason: "there is room in the budget again" });
  }

  #changed(signal: KernelSignal | null, { by, reason }: { readonly by: -1 | 0 | 1; readonly reason: string }): GovernorChange {
    const from = this.level;
    this.#level += by;
    this.#overSinceMs = null;
    this.#calmSinceMs = null;
    return { from, to: this.level, signal, reason };
  }
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MiB`;
}

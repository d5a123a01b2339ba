/**
 * What is normal for one series, learned from its last few hundred values: the median with a robust spread, beside a slower local level.
 * It carries a series until the LSTM has warmed up (issue 7) and stays as the yardstick. Incremental: about a microsecond a value.
 */
import { Buffer } from "node:buffer";
import { invariant } from "../contract/invariant.ts";
import { countBelow, median, medianDeviation, SortedRing } from "./sorted-ring.ts";
import { deviationOfScore, scoreOfDeviation } from "./tail.ts";

/** Values kept as the reference. */
const referenceMax = 300;
/** Values after which a series is scored. */
const learnSamplesMin = 30;
/** Values in a row kept out of learning after which the new level is accepted and learned from the start. */
const skippedMax = 300;
/** Score at the edge of the band; an anomaly begins beyond it. */
export const bandScore = 2.5;
const bandDeviation = deviationOfScore(bandScore);
/** The local level follows over about this many values, its spread over six times as many. */
const levelSpan = 20;
const spreadSpan = 120;
/** A spread estimated from n values is trusted less the fewer they are: it is widened by 1 + 8/n. */
const smallSampleWidening = 8;
/** A gap that is longer than three times the longest usual one, and than this many windows, is a silence. */
const silentWindowsMin = 5;

/** Spreads below which a difference is of no interest whatever the series' own spread is. */
interface SpreadFloor {
  /** In the unit of the series; 0 = none known. */
  readonly absolute: number;
  /** Share of |median|. */
  readonly relative: number;
}

export interface Judgement {
  /** −log10 of how improbable the value is; null while too little was learned. */
  readonly score: number | null;
  readonly direction: "up" | "down" | "within";
  readonly lower: number | null;
  readonly upper: number | null;
}

type BaselineState = "learning" | "tracked" | "silent";

/** Compact and exact: a baseline that was written and read again goes on as if nothing had happened. */
export interface StoredBaseline {
  /** Base64 of the reference as little-endian float32, oldest first. */
  readonly reference: string;
  readonly level: number;
  readonly spread: number;
  readonly skipped: number;
  readonly missed: number;
  readonly gapMax: number;
}

const unknown: Judgement = { score: null, direction: "within", lower: null, upper: null };

/**
 * One value a window goes through `judge` first and then through `learn` or `skip`; a window without a value through `miss`.
 * Scale of a difference = the largest of MAD, IQR and the mean absolute step from the local level (each as a standard deviation), the floors,
 * and the sampling noise of this very value; the difference counts from the nearer of median and local level, so that a slow drift
 * that both follow is no anomaly. The score is the tail of Student's t with 4 degrees of freedom: heavy, and monotone in the difference.
 */
export class RobustBaseline {
  readonly #floor: SpreadFloor;
  #reference = new SortedRing(referenceMax);
  #level = 0;
  #spread = 0;
  #skipped = 0;
  #missed = 0;
  #gapMax = 1;

  constructor(floor: SpreadFloor) {
    this.#floor = floor;
  }

  get state(): BaselineState {
    if (this.#reference.size < learnSamplesMin) return "learning";
    return this.#missed >= this.#silentAfter() ? "silent" : "tracked";
  }

  /** Windows until the series is scored, at the cadence it has; 0 when it is. */
  get windowsToLearn(): number {
    return Math.max(0, Math.ceil((learnSamplesMin - this.#reference.size) * this.#gapMax));
  }

  /** Windows without a value since the last one. */
  get missed(): number {
    return this.#missed;
  }

  /** Median of the reference; 0 while it is empty. */
  get median(): number {
    return this.#reference.size === 0 ? 0 : median(this.#reference.sorted());
  }

  /** Changes nothing. `noise` is the standard error of the value itself where the caller knows it (few requests), else 0. */
  judge(value: number, noise: number): Judgement {
    if (this.#reference.size < learnSamplesMin) return unknown;
    const sorted = this.#reference.sorted();
    const middle = median(sorted);
    const low = Math.min(middle, this.#level);
    const high = Math.max(middle, this.#level);
    const distance = value > high ? value - high : Math.max(0, low - value);
    const direction = distance === 0 ? "within" : value > high ? "up" : "down";
    const scale = this.#scale(sorted, { value, noise });
    if (scale === 0) {
      // Only ever this one value, and no idea of the unit: another one is new, but says nothing of how much is much.
      const novelty = Math.min(Math.log10(this.#reference.size + 1), bandScore / 2);
      return { score: distance === 0 ? 0 : novelty, direction, lower: null, upper: null };
    }
    const reach = bandDeviation * scale;
    const lower = (sorted[0] ?? 0) >= 0 ? Math.max(0, low - reach) : low - reach;
    return { score: scoreOfDeviation(distance / scale), direction, lower, upper: high + reach };
  }

  /**
   * −log10 of how improbable `run` windows of zero in a row are where `expected` events are usual per window: the smaller of what
   * independent events and what the reference itself say. Null while too little was learned.
   */
  judgeEmpty(run: number, expected: number): number | null {
    if (this.#reference.size < learnSamplesMin) return null;
    const sorted = this.#reference.sorted();
    const zeros = countBelow(sorted, Number.MIN_VALUE);
    const seen = -Math.log10((zeros + 1) / (sorted.length + 1));
    return run * Math.min(seen, expected * Math.LOG10E);
  }

  /** −log10 of how improbable the present silence is, were every window's value missing by chance; at most 6, because silences come in runs. */
  judgeSilence(): number {
    return Math.min(6, (this.#missed / this.#gapMax) * Math.log10(this.#reference.size + 1));
  }

  learn(value: number): void {
    invariant(Number.isFinite(value), `a baseline cannot learn ${value}`);
    this.#seen();
    this.#skipped = 0;
    const rounded = Math.fround(value) + 0;
    const count = this.#reference.size;
    const clipped = count < learnSamplesMin ? rounded : this.#clipped(rounded);
    if (count === 0) this.#level = rounded;
    const step = clipped - this.#level;
    this.#level += step * Math.max(2 / (levelSpan + 1), 1 / (count + 1));
    this.#spread += (Math.abs(step) - this.#spread) * Math.max(2 / (spreadSpan + 1), 1 / (count + 1));
    this.#reference.push(rounded);
  }

  /** The value belongs to an anomaly or an excluded stretch: it is not learned, unless this has gone on for so long that it is the new normal. */
  skip(): void {
    this.#seen();
    this.#skipped += 1;
    if (this.#skipped < skippedMax) return;
    this.#reference = new SortedRing(referenceMax);
    this.#level = 0;
    this.#spread = 0;
    this.#skipped = 0;
  }

  miss(): void {
    this.#missed += 1;
  }

  toJSON(): StoredBaseline {
    const values = this.#reference.values();
    return {
      reference: Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64"),
      level: this.#level,
      spread: this.#spread,
      skipped: this.#skipped,
      missed: this.#missed,
      gapMax: this.#gapMax,
    };
  }

  static fromJSON(floor: SpreadFloor, stored: StoredBaseline): RobustBaseline {
    const baseline = new RobustBaseline(floor);
    const bytes = Buffer.from(stored.reference, "base64");
    for (let offset = 0; offset + 4 <= bytes.length; offset += 4) baseline.#reference.push(bytes.readFloatLE(offset));
    baseline.#level = stored.level;
    baseline.#spread = stored.spread;
    baseline.#skipped = stored.skipped;
    baseline.#missed = stored.missed;
    baseline.#gapMax = stored.gapMax;
    return baseline;
  }

  /** Standard deviation against which a difference counts. */
  #scale(sorted: Float32Array, of: { value: number; noise: number }): number {
    const middle = median(sorted);
    const count = sorted.length;
    const quartiles = (sorted[Math.floor(0.75 * (count - 1))] ?? 0) - (sorted[Math.floor(0.25 * (count - 1))] ?? 0);
    const spread = Math.max(1.4826 * medianDeviation(sorted, middle), quartiles / 1.349, 1.2533 * this.#spread);
    // Counts of a few things move by whole ones; one or two more or less are not news.
    const whole = this.#reference.fractions === 0 && Number.isInteger(of.value) ? 0.5 : 0;
    const floor = Math.max(this.#floor.absolute, this.#floor.relative * Math.abs(middle), whole);
    return Math.max(spread * (1 + smallSampleWidening / count), floor, of.noise);
  }

  /** Within four spreads of the local level, so that one wild value that was learned does not drag it along. */
  #clipped(value: number): number {
    const reach = 4 * this.#scale(this.#reference.sorted(), { value, noise: 0 });
    return Math.min(this.#level + reach, Math.max(this.#level - reach, value));
  }

  #seen(): void {
    const gap = this.#missed + 1;
    this.#missed = 0;
    // One long outage must not teach that long gaps are usual.
    this.#gapMax = Math.max(1, Math.min(gap, 2 * this.#gapMax + 2), 0.98 * this.#gapMax);
  }

  #silentAfter(): number {
    return Math.max(silentWindowsMin, Math.ceil(3 * this.#gapMax));
  }
}

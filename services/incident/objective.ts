/**
 * The objectives of one entity: availability, and latency against twice its learned p95 (design §8).
 * Pure and driven by windows of event time; nothing here knows incidents or the graph.
 */
import type { RequestWindow } from "../../contract/anomaly.ts";
import { countAtLeast } from "../../graph/duration-histogram.ts";
import { History, type ObjectiveName, type ObjectiveWindow, type ServedWindow, type Totals } from "./history.ts";
import { Learned, type LearnedJson } from "./learned.ts";
import { badRatioFloor, badRequestsMin, slowFloorNs, type Timing, youngMs } from "./timing.ts";

export interface ObjectiveOptions {
  readonly availabilityTarget: number;
  readonly latencyTarget: number;
  readonly latencyFactor: number;
}

/** An objective whose both windows burn. */
export interface Burn {
  readonly objective: ObjectiveName;
  readonly factor: number;
  readonly onsetMs: number;
}

/** How bad the last short window was. */
export interface Badness {
  /** 0..1; 0 without requests. */
  readonly badRatio: number;
  readonly requests: number;
  readonly requestsPerSecond: number;
}

/** `good` and `bad` speak of requests; `silent`: there were none. */
export type Health = "good" | "bad" | "silent";

/** The checkpoint's form. */
export interface ObjectivesJson {
  readonly history: number[][];
  readonly learned: LearnedJson;
  readonly floors: { readonly availability: number; readonly latency: number };
}

export const objectiveNames: readonly ObjectiveName[] = ["availability", "latency"];

export class Objectives {
  #options: ObjectiveOptions;
  #timing: Timing;
  #history: History;
  #learned: Learned;
  /** Where an objective's history begins: after its last recovery, so that a fault that is over does not burn on. */
  #floors: Record<ObjectiveName, number>;

  constructor(options: ObjectiveOptions, timing: Timing, json: ObjectivesJson | null = null) {
    const windowsMax = Math.min(10_000, Math.ceil(timing.pairs[1].longMs / timing.windowMs) + 1);
    this.#options = options;
    this.#timing = timing;
    this.#history = json === null ? new History(windowsMax) : History.fromJson(json.history, windowsMax);
    this.#learned = json === null ? new Learned() : Learned.fromJson(json.learned);
    this.#floors = json === null ? { availability: 0, latency: 0 } : { ...json.floors };
  }

  get lastStartMs(): number | null {
    return this.#history.lastStartMs;
  }

  /** Takes in the next window. `learn` is "no" while an alert or an incident concerns the entity. */
  observe(window: RequestWindow, options: { learn: "yes" | "no" }): void {
    const last = this.#history.lastStartMs;
    if (last !== null && window.windowStartMs <= last) return;
    const thresholdNs = this.slowAboveNs;
    const served = {
      startMs: window.windowStartMs,
      count: window.count,
      failed: window.failed,
      judged: thresholdNs === null ? 0 : window.count,
      slow: thresholdNs === null ? 0 : Math.min(window.count, countAtLeast(window.buckets, thresholdNs)),
    };
    this.#history.append(served);
    if (options.learn === "no") {
      this.#learned.drop();
      return;
    }
    if (this.#calm(served)) this.#learned.add({ ...served, buckets: window.buckets });
    this.#learned.settle(window.windowStartMs + this.#timing.windowMs - this.#timing.learnDelayMs);
  }

  /** Forgets what waits to be learned: it may belong to what has begun to burn. */
  doubt(): void {
    this.#learned.drop();
  }

  /** Durations from which on a request is slow, in ns; null while the p95 is being learned. */
  get slowAboveNs(): number | null {
    const { p95Ns } = this.#learned;
    return p95Ns === null ? null : Math.max(p95Ns * this.#options.latencyFactor, p95Ns + slowFloorNs);
  }

  /** The fastest pair that burns at the end of window `tickMs`, with the moment it began; null when none does. */
  burn(objective: ObjectiveName, tickMs: number): Burn | null {
    const floorMs = this.#floors[objective];
    const seenMs = this.#history.firstStartMs("availability", 0);
    if (seenMs === null || tickMs - seenMs < youngMs) return null;
    const firstMs = this.#history.firstStartMs(objective, floorMs);
    if (firstMs === null) return null;
    const budget = 1 - this.#targetOf(objective);
    for (const { factor, longMs, shortMs } of this.#timing.pairs) {
      if (tickMs - firstMs < shortMs) continue;
      const short = this.#history.totals(objective, Math.max(floorMs, tickMs - shortMs));
      const long = this.#history.totals(objective, Math.max(floorMs, tickMs - longMs));
      const limit = factor * budget;
      if (short.bad < badRequestsMin || ratioOf(short) < limit || ratioOf(long) < limit) continue;
      return { objective, factor, onsetMs: this.#onset(objective, { tickMs, fromMs: Math.max(floorMs, tickMs - longMs), short }) };
    }
    return null;
  }

  /** Share of bad requests over the fast pair's short window. */
  badness(objective: ObjectiveName, tickMs: number): Badness {
    const { shortMs } = this.#timing.pairs[0];
    const short = this.#history.totals(objective, tickMs - shortMs);
    const served = this.#history.totals("availability", tickMs - shortMs);
    return { badRatio: ratioOf(short), requests: served.requests, requestsPerSecond: served.requests / (shortMs / 1_000) };
  }

  /** Whether the short window is as good as it usually is. */
  health(objective: ObjectiveName, tickMs: number): Health {
    const short = this.#history.totals(objective, tickMs - this.#timing.pairs[0].shortMs);
    if (short.requests === 0) return "silent";
    return this.#isGood(objective, short) ? "good" : "bad";
  }

  /** The objective has been met since `sinceMs`: what was before no longer counts. */
  recovered(objective: ObjectiveName, sinceMs: number): void {
    this.#floors[objective] = sinceMs;
  }

  toJson(): ObjectivesJson {
    return { history: this.#history.toJson(), learned: this.#learned.toJson(), floors: { ...this.#floors } };
  }

  /** A window that alone would burn the slow pair is not usual, even while nothing burns yet. */
  #calm({ count, failed, judged, slow }: ServedWindow): boolean {
    const { factor } = this.#timing.pairs[1];
    const tooMany = (bad: number, of: number, target: number): boolean => of > 0 && bad / of >= factor * (1 - target);
    return !tooMany(failed, count, this.#options.availabilityTarget) && !tooMany(slow, judged, this.#options.latencyTarget);
  }

  #targetOf(objective: ObjectiveName): number {
    return objective === "availability" ? this.#options.availabilityTarget : this.#options.latencyTarget;
  }

  #badAbove(objective: ObjectiveName): number {
    return Math.max(badRatioFloor, 3 * this.#learned.usualRatio(objective));
  }

  /**
   * Where the bad stretch began: the start from which bad requests exceed the allowed share by the largest amount in total
   * (the maximum of a cumulative sum, walking back). A good window within the stretch does not cut it off, a stray bad request
   * long before does not belong to it, and neither does an earlier stretch: what had been good for `recoverMs` was over.
   */
  #onset(objective: ObjectiveName, at: { tickMs: number; fromMs: number; short: Totals }): number {
    const allowed = Math.max(this.#badAbove(objective), ratioOf(at.short) / 10);
    let onsetMs = at.tickMs - this.#timing.windowMs;
    let excess = 0;
    let most = 0;
    let before: ObjectiveWindow[] = [];
    for (const window of this.#history.newestFirst(objective, at.fromMs)) {
      excess += window.bad - allowed * window.requests;
      if (excess > most) {
        most = excess;
        onsetMs = window.startMs;
        before = [];
        continue;
      }
      before.push(window);
      if (this.#wasOver(objective, before, onsetMs)) break;
    }
    return onsetMs;
  }

  /** Whether the oldest `recoverMs` of the windows before an onset were as good as usual; false while they are fewer. Newest first. */
  #wasOver(objective: ObjectiveName, before: readonly ObjectiveWindow[], onsetMs: number): boolean {
    const fromMs = before.at(-1)?.startMs ?? onsetMs;
    const toMs = fromMs + this.#timing.recoverMs;
    if (toMs > onsetMs) return false;
    let requests = 0;
    let bad = 0;
    for (let index = before.length - 1; index >= 0; index -= 1) {
      const window = before[index];
      if (window === undefined || window.startMs >= toMs) break;
      requests += window.requests;
      bad += window.bad;
    }
    return requests > 0 && this.#isGood(objective, { requests, bad });
  }

  /** One bad request alone is not a bad stretch. */
  #isGood(objective: ObjectiveName, totals: Totals): boolean {
    return totals.bad <= 1 || ratioOf(totals) <= this.#badAbove(objective);
  }
}

function ratioOf(totals: Totals): number {
  return totals.requests === 0 ? 0 : totals.bad / totals.requests;
}

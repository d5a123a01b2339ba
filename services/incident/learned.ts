/**
 * What is usual for an entity: the p95 of its requests and its share of bad ones, over the last half hour of windows in which
 * nothing burned. A window counts only after a delay, so that the first seconds of a fault do not become normal before it is seen.
 */

import type { Buckets } from "../../contract/window.ts";
import { addBuckets, type Histogram, histogramQuantile, toBuckets } from "../../graph/duration-histogram.ts";
import type { ObjectiveName, ServedWindow } from "./history.ts";
import { learnedMs, learnedRequestsMin, learnedSlotsMax } from "./timing.ts";

interface PendingWindow extends ServedWindow {
  readonly buckets: Buckets;
}

interface Slot {
  startMs: number;
  count: number;
  failed: number;
  judged: number;
  slow: number;
  histogram: Histogram;
}

/** The checkpoint's form. */
export interface LearnedJson {
  readonly pending: PendingWindow[];
  readonly slots: (ServedWindow & { readonly buckets: Buckets })[];
}

const slotMs = learnedMs / learnedSlotsMax;

export class Learned {
  #pending: PendingWindow[] = [];
  #slots: Slot[] = [];
  #p95Ns: number | null = null;

  /** Puts a window that nothing speaks against in the queue of those to learn from. */
  add(window: PendingWindow): void {
    this.#pending.push(window);
  }

  /** Forgets what waits to be learned: something burned. */
  drop(): void {
    this.#pending = [];
  }

  /** Learns the windows that have waited since `beforeMs` or longer, and forgets slots that are too old. */
  settle(beforeMs: number): void {
    let ready = 0;
    for (const window of this.#pending) {
      if (window.startMs >= beforeMs) break;
      this.#learn(window);
      ready += 1;
    }
    if (ready === 0) return;
    this.#pending.splice(0, ready);
    const newest = this.#slots.at(-1)?.startMs ?? 0;
    this.#slots = this.#slots.filter((slot) => slot.startMs > newest - learnedMs);
    this.#p95Ns = p95Of(this.#slots);
  }

  /** Null until enough requests have been learned from. */
  get p95Ns(): number | null {
    return this.#p95Ns;
  }

  /** The usual share of bad requests, 0 while nothing is known. */
  usualRatio(objective: ObjectiveName): number {
    let requests = 0;
    let bad = 0;
    for (const slot of this.#slots) {
      requests += objective === "availability" ? slot.count : slot.judged;
      bad += objective === "availability" ? slot.failed : slot.slow;
    }
    return requests === 0 ? 0 : bad / requests;
  }

  toJson(): LearnedJson {
    return { pending: this.#pending, slots: this.#slots.map(({ histogram, ...slot }) => ({ ...slot, buckets: toBuckets(histogram) })) };
  }

  static fromJson(json: LearnedJson): Learned {
    const learned = new Learned();
    learned.#pending = [...json.pending];
    learned.#slots = json.slots.map(({ buckets, ...slot }) => ({ ...slot, histogram: new Map(buckets) }));
    learned.#p95Ns = p95Of(learned.#slots);
    return learned;
  }

  #learn(window: PendingWindow): void {
    const startMs = Math.floor(window.startMs / slotMs) * slotMs;
    let slot = this.#slots.at(-1);
    if (slot === undefined || slot.startMs !== startMs) {
      slot = { startMs, count: 0, failed: 0, judged: 0, slow: 0, histogram: new Map() };
      this.#slots.push(slot);
    }
    slot.count += window.count;
    slot.failed += window.failed;
    slot.judged += window.judged;
    slot.slow += window.slow;
    addBuckets(slot.histogram, window.buckets);
  }
}

function p95Of(slots: readonly Slot[]): number | null {
  const count = slots.reduce((sum, slot) => sum + slot.count, 0);
  if (count < learnedRequestsMin) return null;
  const all: Histogram = new Map();
  for (const slot of slots) addBuckets(all, slot.histogram);
  return histogramQuantile(all, 0.95);
}

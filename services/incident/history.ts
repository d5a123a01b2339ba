/** What an entity served, window by window, with running sums so that a burn rate over any stretch is two look-ups. */

/** Requests of one window. `judged` are those a latency threshold was known for, `slow` those above it. */
export interface ServedWindow {
  readonly startMs: number;
  readonly count: number;
  readonly failed: number;
  readonly judged: number;
  readonly slow: number;
}

export type ObjectiveName = "availability" | "latency";

/** Requests that an objective speaks of, and those of them that were bad. */
export interface Totals {
  readonly requests: number;
  readonly bad: number;
}

/** What one window holds of an objective. */
export interface ObjectiveWindow extends Totals {
  readonly startMs: number;
}

/** Served windows in order of time, at most `windowsMax`; older ones are let go. */
export class History {
  #windowsMax: number;
  /** Cumulative sums up to and including each window; the first is what was let go. */
  #windows: ServedWindow[] = [];
  #before: ServedWindow = { startMs: 0, count: 0, failed: 0, judged: 0, slow: 0 };

  constructor(windowsMax: number) {
    this.#windowsMax = windowsMax;
  }

  /** Windows come in order of time; one that is not newer than the last is ignored. */
  append(window: ServedWindow): void {
    const last = this.#windows.at(-1) ?? this.#before;
    if (this.#windows.length > 0 && window.startMs <= last.startMs) return;
    this.#windows.push({
      startMs: window.startMs,
      count: last.count + window.count,
      failed: last.failed + window.failed,
      judged: last.judged + window.judged,
      slow: last.slow + window.slow,
    });
    // Let go in chunks, so that a full history costs nothing per window.
    if (this.#windows.length <= this.#windowsMax * 1.25) return;
    const gone = this.#windows.splice(0, this.#windows.length - this.#windowsMax);
    this.#before = gone.at(-1) ?? this.#before;
  }

  get lastStartMs(): number | null {
    return this.#windows.at(-1)?.startMs ?? null;
  }

  /** Start of the first window from `fromMs` on in which the objective had requests; null when there is none. */
  firstStartMs(objective: ObjectiveName, fromMs: number): number | null {
    const from = this.#indexFrom(fromMs);
    const base = requestsOf(this.#at(from - 1), objective);
    for (let index = from; index < this.#windows.length; index += 1) {
      const window = this.#at(index);
      if (requestsOf(window, objective) > base) return window.startMs;
    }
    return null;
  }

  /** Sums over the windows that start at or after `fromMs`. */
  totals(objective: ObjectiveName, fromMs: number): Totals {
    const end = this.#at(this.#windows.length - 1);
    const begin = this.#at(this.#indexFrom(fromMs) - 1);
    return { requests: requestsOf(end, objective) - requestsOf(begin, objective), bad: badOf(end, objective) - badOf(begin, objective) };
  }

  /** The windows that start at or after `fromMs`, newest first. */
  *newestFirst(objective: ObjectiveName, fromMs: number): Generator<ObjectiveWindow> {
    for (let index = this.#windows.length - 1; index >= 0; index -= 1) {
      const window = this.#at(index);
      if (window.startMs < fromMs) return;
      const before = this.#at(index - 1);
      yield {
        startMs: window.startMs,
        requests: requestsOf(window, objective) - requestsOf(before, objective),
        bad: badOf(window, objective) - badOf(before, objective),
      };
    }
  }

  /** For the checkpoint: one row of five numbers a window. */
  toJson(): number[][] {
    return [this.#before, ...this.#windows].map(({ startMs, count, failed, judged, slow }) => [startMs, count, failed, judged, slow]);
  }

  static fromJson(rows: readonly (readonly number[])[], windowsMax: number): History {
    const history = new History(windowsMax);
    const [before, ...windows] = rows.map(([startMs = 0, count = 0, failed = 0, judged = 0, slow = 0]) => ({
      startMs,
      count,
      failed,
      judged,
      slow,
    }));
    if (before !== undefined) history.#before = before;
    history.#windows = windows;
    return history;
  }

  #at(index: number): ServedWindow {
    return this.#windows[index] ?? this.#before;
  }

  #indexFrom(fromMs: number): number {
    let low = 0;
    let high = this.#windows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#at(middle).startMs < fromMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function requestsOf(window: ServedWindow, objective: ObjectiveName): number {
  return objective === "availability" ? window.count : window.judged;
}

function badOf(window: ServedWindow, objective: ObjectiveName): number {
  return objective === "availability" ? window.failed : window.slow;
}

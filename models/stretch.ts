/** When scores become an anomaly, and when it is over: n of m windows beyond the band, or one far beyond it (design §3). */
import { bandScore } from "./robust-baseline.ts";

/** An anomaly opens when this many of the last `windowsOfMax` windows left the band to the same side … */
const outsideMin = 2;
const windowsOfMax = 3;
/** … or one window scores this much. */
const extremeScore = 4.5;
/** It is over after this many windows inside the band in a row. */
const quietWindowsMin = 5;
/** While open, it is told again after this many windows, or when severity has risen by `severityStep`. */
const updateWindows = 5;
const severityStep = 1;

export type StretchDirection = "up" | "down" | "silent";

/** One judged window. `start` and `end` are event time, ms. */
export interface StretchInput {
  readonly startMs: number;
  readonly endMs: number;
  readonly score: number;
  readonly direction: StretchDirection | "within";
  readonly value: number;
  readonly lower: number | null;
  readonly upper: number | null;
  /** `no`: one wild window alone never opens (a p99 is one request). */
  readonly extreme: "yes" | "no";
}

/** The worst window of an open anomaly, and where it began. */
interface OpenStretch {
  readonly onsetMs: number;
  readonly direction: StretchDirection;
  severity: number;
  value: number;
  lower: number | null;
  upper: number | null;
  /** End of the last window outside. */
  lastOutsideMs: number;
  quiet: number;
  sinceTold: number;
  toldSeverity: number;
}

export interface StoredStretch {
  readonly recent: readonly StretchInput[];
  readonly open: OpenStretch | null;
}

export type StretchEvent = { readonly state: "open" | "update" | "close"; readonly stretch: OpenStretch };

/** Follows one series; every window is given once, in order. */
export class Stretch {
  #recent: StretchInput[] = [];
  #open: OpenStretch | null = null;

  /** The anomaly that is open now. */
  get open(): OpenStretch | null {
    return this.#open;
  }

  /** Answers what is to be told of this window, or null. */
  observe(input: StretchInput): StretchEvent | null {
    const outside = input.direction !== "within" && input.score >= bandScore;
    if (this.#open === null) return this.#maybeOpen(input, outside ? "outside" : "inside");
    const open = this.#open;
    open.sinceTold += 1;
    if (!outside) {
      open.quiet += 1;
      return open.quiet >= quietWindowsMin ? this.end() : this.#maybeUpdate(open);
    }
    open.quiet = 0;
    open.lastOutsideMs = input.endMs;
    worsen(open, input);
    return this.#maybeUpdate(open);
  }

  /** Ends the open anomaly at once: its series is gone, or its level has been accepted as normal. */
  end(): StretchEvent | null {
    const stretch = this.#open;
    this.#open = null;
    this.#recent = [];
    return stretch === null ? null : { state: "close", stretch };
  }

  toJSON(): StoredStretch {
    return { recent: this.#recent, open: this.#open };
  }

  static fromJSON(stored: StoredStretch): Stretch {
    const stretch = new Stretch();
    stretch.#recent = [...stored.recent];
    stretch.#open = stored.open === null ? null : { ...stored.open };
    return stretch;
  }

  #maybeOpen(input: StretchInput, where: "inside" | "outside"): StretchEvent | null {
    this.#recent.push(input);
    if (this.#recent.length > windowsOfMax) this.#recent.shift();
    if (where === "inside") return null;
    const outside = this.#recent.filter((recent) => recent.direction === input.direction && recent.score >= bandScore);
    const isExtreme = input.extreme === "yes" && input.score >= extremeScore;
    const first = outside[0];
    if (first === undefined || (outside.length < outsideMin && !isExtreme)) return null;
    const open: OpenStretch = {
      onsetMs: first.startMs,
      direction: input.direction === "within" ? "up" : input.direction,
      ...{ severity: first.score, value: first.value, lower: first.lower, upper: first.upper },
      ...{ lastOutsideMs: input.endMs, quiet: 0, sinceTold: 0, toldSeverity: 0 },
    };
    for (const recent of outside) worsen(open, recent);
    open.toldSeverity = open.severity;
    this.#open = open;
    this.#recent = [];
    return { state: "open", stretch: open };
  }

  #maybeUpdate(open: OpenStretch): StretchEvent | null {
    if (open.sinceTold < updateWindows && open.severity < open.toldSeverity + severityStep) return null;
    open.sinceTold = 0;
    open.toldSeverity = open.severity;
    return { state: "update", stretch: open };
  }
}

function worsen(open: OpenStretch, input: StretchInput): void {
  if (input.score <= open.severity) return;
  open.severity = input.score;
  open.value = input.value;
  open.lower = input.lower;
  open.upper = input.upper;
}

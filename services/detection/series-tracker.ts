/** One series: its baseline, the anomaly it may be in, and how much chance there is in each of its values. */
import { roundScore } from "../../contract/canonical.ts";
import { type MetricNature, metricKind } from "../../contract/metric-kind.ts";
import { type MetricKind, type Sample, type SeriesKey, type SeriesState, seriesId } from "../../contract/series.ts";
import { bandScore, type Judgement, RobustBaseline, type StoredBaseline } from "../../models/robust-baseline.ts";
import { type StoredStretch, Stretch, type StretchDirection, type StretchEvent } from "../../models/stretch.ts";

/** Share of |median| below which a spread is of no interest. */
const relativeFloors: { readonly [kind in MetricKind]?: number } = { latency: 0.05, traffic: 0.05, cpu: 0.05, network: 0.05, disk: 0.05 };
const relativeFloorElse = 0.02;
/** Windows after which a silent series is no news any more. */
const silentWindowsMax = 300;

export interface WindowSpan {
  readonly startMs: number;
  readonly endMs: number;
}

/** A value of a window and how many events it was made from; null where that is not known or means nothing. */
export interface MeterValue {
  readonly value: number;
  readonly events: number | null;
}

/** `events`: no value means nothing happened. `reports`: no value means that nobody told. */
export type SeriesNature = "events" | "reports";

export interface StoredTracker {
  readonly baseline: StoredBaseline;
  readonly stretch: StoredStretch;
  readonly emptyRun: number;
}

export class SeriesTracker {
  readonly key: SeriesKey;
  /** The series id of the key. */
  readonly id: string;
  readonly nature: MetricNature;
  readonly #isOf: SeriesNature;
  #baseline: RobustBaseline;
  #stretch = new Stretch();
  #emptyRun = 0;

  constructor(key: SeriesKey, isOf: SeriesNature) {
    this.key = key;
    this.id = seriesId(key);
    this.nature = metricKind(key.metric, key.statistic);
    this.#isOf = isOf;
    this.#baseline = new RobustBaseline(this.#floor());
  }

  get state(): SeriesState {
    return this.#baseline.state;
  }

  /** When a learning series will be scored, event time; null for others. */
  readyAtMs(window: WindowSpan): number | null {
    const windows = this.#baseline.windowsToLearn;
    return windows === 0 ? null : window.endMs + windows * (window.endMs - window.startMs);
  }

  /** Scores the value first, learns it afterwards, and only when it is not part of an anomaly. */
  observe({ value, events }: MeterValue, window: WindowSpan): { sample: Sample; event: StretchEvent | null } {
    const seconds = (window.endMs - window.startMs) / 1_000;
    const judged = this.#judged({ value, events }, seconds);
    let event: StretchEvent | null = null;
    if (judged.score !== null) {
      const extreme = this.key.statistic === "p99" ? "no" : "yes";
      // Requests had stopped when the first empty window began, whichever of them was the first to be improbable.
      const startMs = judged.direction === "silent" ? window.endMs - this.#emptyRun * seconds * 1_000 : window.startMs;
      const { direction, lower, upper } = judged;
      event = this.#stretch.observe({
        startMs,
        endMs: window.endMs,
        score: roundScore(judged.score),
        direction,
        value,
        lower,
        upper,
        extreme,
      });
    }
    if (judged.score === null || (this.#stretch.open === null && judged.score < bandScore)) {
      this.#baseline.learn(value);
    } else {
      this.#baseline.skip();
      // So long outside that this level is the new normal: it is learned from now on, and the anomaly is over.
      if (this.#baseline.state === "learning") event = this.#stretch.end() ?? event;
    }
    const { lower, upper } = judged;
    const score = judged.score === null ? null : roundScore(judged.score);
    return { sample: { windowStartMs: window.startMs, value, lower, upper, score }, event };
  }

  /** A window without a value. A series of reports that always came and has stopped is an anomaly of its own. */
  miss(window: WindowSpan): StretchEvent | null {
    this.#baseline.miss();
    if (this.#baseline.state !== "silent") return null;
    const open = this.#stretch.open;
    if (this.#isOf === "events") return open === null ? null : this.#stretch.end();
    if (open !== null && open.direction !== "silent") return this.#stretch.end();
    const missed = this.#baseline.missed;
    if (missed > silentWindowsMax) return this.#stretch.end();
    const windowMs = window.endMs - window.startMs;
    const startMs = open === null ? window.endMs - missed * windowMs : window.startMs;
    return this.#stretch.observe({
      ...{ startMs, endMs: window.endMs, score: roundScore(this.#baseline.judgeSilence()), direction: "silent", extreme: "yes" },
      ...{ value: roundScore(this.#baseline.median), lower: null, upper: null },
    });
  }

  /** The series is forgotten; what was open is over. */
  end(): StretchEvent | null {
    return this.#stretch.end();
  }

  toJSON(): StoredTracker {
    return { baseline: this.#baseline.toJSON(), stretch: this.#stretch.toJSON(), emptyRun: this.#emptyRun };
  }

  static fromJSON(key: SeriesKey, isOf: SeriesNature, stored: StoredTracker): SeriesTracker {
    const tracker = new SeriesTracker(key, isOf);
    tracker.#baseline = RobustBaseline.fromJSON(tracker.#floor(), stored.baseline);
    tracker.#stretch = Stretch.fromJSON(stored.stretch);
    tracker.#emptyRun = stored.emptyRun;
    return tracker;
  }

  #floor(): { absolute: number; relative: number } {
    return { absolute: this.nature.floor, relative: relativeFloors[this.nature.kind] ?? relativeFloorElse };
  }

  #judged({ value, events }: MeterValue, seconds: number): Omit<Judgement, "direction"> & { direction: StretchDirection | "within" } {
    const judged = this.#baseline.judge(value, this.#noise(events, seconds));
    if (this.#isOf !== "events" || this.key.statistic !== "rate" || value !== 0) {
      this.#emptyRun = 0;
      return judged;
    }
    this.#emptyRun += 1;
    const empty = this.#baseline.judgeEmpty(this.#emptyRun, this.#baseline.median * seconds);
    if (empty === null || judged.score === null || this.#baseline.median === 0) return judged;
    return { ...judged, score: Math.max(empty, judged.score), direction: "silent" };
  }

  /** Standard error of the value itself: a rate, a share or a quantile of few requests moves by chance alone. */
  #noise(events: number | null, seconds: number): number {
    const usual = this.#baseline.median;
    const { statistic } = this.key;
    if (statistic === "rate") {
      const counts = events !== null && ["traffic", "errors", "log"].includes(this.nature.kind);
      return counts ? Math.sqrt(Math.max(0, usual) * seconds + 1) / seconds : 0;
    }
    if (events === null || events <= 0) return 0;
    if (statistic === "error_ratio") {
      const share = Math.min(1, Math.max(0, usual));
      return Math.sqrt((share * (1 - share) + 1 / events) / events);
    }
    const factor = { mean: 0.5, p50: 0.5, p95: 1, p99: 1.5, value: 0 }[statistic];
    return (factor * Math.abs(usual)) / Math.sqrt(events);
  }
}

/** A window that was closed and scored, kept for a while so that what comes late can be added to what is stored, never to what was learned. */
import { sortedBy } from "../../contract/canonical.ts";
import { metricKind } from "../../contract/metric-kind.ts";
import type { SeriesSamples, TelemetryAppend } from "../../contract/port.ts";
import { type Sample, type Statistic, seriesId } from "../../contract/series.ts";
import type { KeptLine, KeptSpan, Partial, ShapeCount } from "../../contract/window.ts";
import type { SpanChoice } from "./kept-spans.ts";
import { type MeterBasis, statelessValues } from "./meter.ts";
import { durationWindows, seriesKeyOf, withTotals } from "./series-table.ts";
import type { WindowSpan } from "./series-tracker.ts";
import { type DroppedInWindow, meterKey, type StoredWindow, WindowAccumulator } from "./window-accumulator.ts";

export interface StoredClosedWindow {
  readonly span: WindowSpan;
  readonly gathered: StoredWindow;
  readonly series: readonly SeriesSamples[];
  readonly bases: readonly (readonly [string, MeterBasis])[];
}

export class ClosedWindow {
  readonly #span: WindowSpan;
  readonly #gathered: WindowAccumulator;
  /** What was told of each series when the window was closed; its band and score stay. */
  readonly #series = new Map<string, SeriesSamples>();
  readonly #bases: ReadonlyMap<string, MeterBasis>;
  readonly #touched = new Set<string>();
  #hasShapes = false;

  constructor(
    span: WindowSpan,
    gathered: WindowAccumulator,
    told?: { series: readonly SeriesSamples[]; bases: ReadonlyMap<string, MeterBasis> },
  ) {
    this.#span = span;
    this.#gathered = gathered;
    for (const series of told?.series ?? []) this.#series.set(seriesId(series.key), series);
    this.#bases = told?.bases ?? new Map();
  }

  /** Whether the partial could be added: cumulative points and histograms cannot, and cumulative ones need not, the next point tells all. */
  addLate(partial: Partial): boolean {
    if (partial.kind === "cumulative" || partial.kind === "histogram") return false;
    this.#gathered.addPartial(partial);
    this.#touched.add(meterKey(partial));
    if (partial.kind === "duration") this.#touched.add(meterKey({ ...partial, attributes: "" }));
    return true;
  }

  addShape(shape: ShapeCount): void {
    this.#gathered.addShape(shape);
    this.#hasShapes = true;
  }

  addSpan(span: KeptSpan): void {
    this.#gathered.addSpan(span);
  }

  addLine(line: KeptLine): void {
    this.#gathered.addLine(line);
  }

  /** What has to be stored in place of what was, and what is new, since the last call. */
  amendment(key: string, choice: SpanChoice): TelemetryAppend {
    const all = withTotals(this.#gathered.byMeter());
    const series: SeriesSamples[] = [];
    const durations: TelemetryAppend["durations"][number][] = [];
    for (const touched of sortedBy(this.#touched, (name) => name)) {
      const partials = all.get(touched) ?? [];
      series.push(...this.#amended(touched, partials));
      durations.push(...durationWindows(partials, this.#span));
    }
    const append = {
      ...{ key, windowStartMs: this.#span.startMs, series, durations },
      ...{
        spans: this.#gathered.spans(choice),
        templates: this.#hasShapes ? this.#gathered.templates() : [],
        lines: this.#gathered.lines(),
      },
    };
    this.#touched.clear();
    this.#hasShapes = false;
    this.#gathered.dropWhole();
    return append;
  }

  toJSON(): StoredClosedWindow {
    return { span: this.#span, gathered: this.#gathered.toJSON(), series: [...this.#series.values()], bases: [...this.#bases] };
  }

  static fromJSON(stored: StoredClosedWindow, onDropped: (what: DroppedInWindow) => void): ClosedWindow {
    const gathered = WindowAccumulator.fromJSON(stored.gathered, onDropped);
    return new ClosedWindow(stored.span, gathered, { series: stored.series, bases: new Map(stored.bases) });
  }

  #amended(key: string, partials: readonly Partial[]): SeriesSamples[] {
    const [first] = partials;
    if (first === undefined) return [];
    const basis = this.#bases.get(key) ?? { coveredMs: this.#span.endMs - this.#span.startMs, carried: [] };
    const values = [...statelessValues(first, partials, basis)];
    return values
      .filter(([, { value }]) => Number.isFinite(value))
      .map(([statistic, { value }]) => this.#replaced(first, statistic, value));
  }

  #replaced(partial: Partial, statistic: Statistic, value: number): SeriesSamples {
    const key = seriesKeyOf(partial, statistic);
    const told = this.#series.get(seriesId(key));
    const sample: Sample = { windowStartMs: this.#span.startMs, lower: null, upper: null, score: null, ...told?.samples[0], value };
    const { state = "learning" as const, readyAtMs = null } = told ?? {};
    return { key, unit: told?.unit ?? metricKind(key.metric, statistic).unit, state, readyAtMs, samples: [sample] };
  }
}

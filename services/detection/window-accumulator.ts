/** What came in for one window, merged exactly: the order in which partials arrive makes no difference. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import { invariant } from "../../contract/invariant.ts";
import type { TemplateCount } from "../../contract/port.ts";
import type { HistogramPartial, KeptLine, KeptSpan, Partial, ShapeCount } from "../../contract/window.ts";
import { mergeBuckets } from "../../models/histogram.ts";
import { chosenSpans, type SpanChoice } from "./kept-spans.ts";

const partialsMax = 50_000;
const spansMax = 20_000;
const linesMax = 20_000;
const shapesMax = 10_000;

/** What a bound of a window kept out. */
export type DroppedInWindow = "partial" | "span" | "line" | "shape";

/** A merged window as JSON; 64-bit sums are decimal strings already. */
export interface StoredWindow {
  readonly partials: readonly Partial[];
  readonly spans: readonly KeptSpan[];
  readonly shapes: readonly ShapeCount[];
  readonly lines: readonly KeptLine[];
}

/** Names a meter: one metric of one entity with one set of attributes, in one form. */
export function meterKey(of: { entity: string; metric: string; attributes: string; kind: Partial["kind"] }): string {
  return `${of.entity}\u0000${of.metric}\u0000${of.attributes}\u0000${of.kind}`;
}

export class WindowAccumulator {
  readonly #onDropped: (what: DroppedInWindow) => void;
  readonly #partials = new Map<string, Partial>();
  readonly #shapes = new Map<string, ShapeCount>();
  #spans: KeptSpan[] = [];
  #lines: KeptLine[] = [];

  constructor(onDropped: (what: DroppedInWindow) => void) {
    this.#onDropped = onDropped;
  }

  addPartial(partial: Partial): void {
    const key = partialKey(partial);
    const known = this.#partials.get(key);
    if (known === undefined && this.#partials.size >= partialsMax) this.#onDropped("partial");
    else this.#partials.set(key, known === undefined ? partial : mergePartials(known, partial));
  }

  addShape(shape: ShapeCount): void {
    const key = `${shape.entity}\u0000${shape.shape}\u0000${shape.severity}`;
    const known = this.#shapes.get(key);
    if (known === undefined && this.#shapes.size >= shapesMax) {
      this.#onDropped("shape");
      return;
    }
    // Masking the same line twice may give texts of different length; the first by code unit is as good as any and always the same.
    const text = known !== undefined && compareCodeUnits(known.text, shape.text) < 0 ? known.text : shape.text;
    this.#shapes.set(key, { ...shape, text, count: shape.count + (known?.count ?? 0) });
  }

  addSpan(span: KeptSpan): void {
    if (this.#spans.length >= spansMax) this.#onDropped("span");
    else this.#spans.push(span);
  }

  addLine(line: KeptLine): void {
    if (this.#lines.length >= linesMax) this.#onDropped("line");
    else this.#lines.push(line);
  }

  /** Merged partials of each meter, in no particular order. */
  byMeter(): Map<string, Partial[]> {
    const meters = new Map<string, Partial[]>();
    for (const partial of this.#partials.values()) {
      const key = meterKey(partial);
      const group = meters.get(key);
      if (group === undefined) meters.set(key, [partial]);
      else group.push(partial);
    }
    return meters;
  }

  /** Shapes as templates (until shapes are merged, a template is its shape), sorted by entity, template, severity. */
  templates(): TemplateCount[] {
    return sortedBy(this.#shapes, ([key]) => key).map(([, { shape, ...rest }]) => ({ ...rest, template: shape }));
  }

  /** Those of the spans that stay, sorted by start, trace id, span id. */
  spans(choice: SpanChoice): KeptSpan[] {
    return chosenSpans(this.#spans, choice);
  }

  lines(): KeptLine[] {
    return [...this.#lines].sort(
      (left, right) =>
        left.atUs - right.atUs ||
        compareCodeUnits(left.entity, right.entity) ||
        compareCodeUnits(left.body, right.body) ||
        compareCodeUnits(left.spanId ?? "", right.spanId ?? ""),
    );
  }

  /** Forgets spans and lines once they are stored; partials and shapes stay, so that late ones can be added to them. */
  dropWhole(): void {
    this.#spans = [];
    this.#lines = [];
  }

  toJSON(): StoredWindow {
    return { partials: [...this.#partials.values()], spans: this.#spans, shapes: [...this.#shapes.values()], lines: this.#lines };
  }

  static fromJSON(stored: StoredWindow, onDropped: (what: DroppedInWindow) => void): WindowAccumulator {
    const window = new WindowAccumulator(onDropped);
    for (const partial of stored.partials) window.addPartial(partial);
    for (const shape of stored.shapes) window.addShape(shape);
    window.#spans = [...stored.spans];
    window.#lines = [...stored.lines];
    return window;
  }
}

function partialKey(partial: Partial): string {
  const meter = meterKey(partial);
  if (partial.kind === "duration" || partial.kind === "count") return meter;
  if (partial.kind !== "histogram") return `${meter}\u0000${partial.stream}`;
  return `${meter}\u0000${partial.stream}\u0000${partial.delta}\u0000${partial.bounds.join(",")}`;
}

/** Both of one key; commutative and associative. */
export function mergePartials(left: Partial, right: Partial): Partial {
  if (left.kind === "duration" && right.kind === "duration") {
    return {
      ...left,
      count: left.count + right.count,
      failed: left.failed + right.failed,
      // Whole numbers below 2^53 add up the same in any order; beyond, the sum stays at the bound.
      sumNs: Math.min(left.sumNs + right.sumNs, Number.MAX_SAFE_INTEGER),
      minNs: left.count === 0 ? right.minNs : right.count === 0 ? left.minNs : Math.min(left.minNs, right.minNs),
      maxNs: Math.max(left.maxNs, right.maxNs),
      buckets: mergeBuckets(left.buckets, right.buckets),
    };
  }
  if (left.kind === "count" && right.kind === "count") {
    return { ...left, count: left.count + right.count, sum: addFixed(left.sum, right.sum) };
  }
  if (left.kind === "gauge" && right.kind === "gauge") {
    const { last, lastAtUs } = isLater(left, right) ? left : right;
    const extremes = { min: Math.min(left.min, right.min), max: Math.max(left.max, right.max) };
    return { ...left, ...extremes, count: left.count + right.count, last, lastAtUs };
  }
  if (left.kind === "cumulative" && right.kind === "cumulative") return isLater(left, right) ? left : right;
  invariant(left.kind === "histogram" && right.kind === "histogram", `a ${left.kind} cannot be merged with a ${right.kind}`);
  return mergeHistograms(left, right);
}

function mergeHistograms(left: HistogramPartial, right: HistogramPartial): HistogramPartial {
  const later = left.lastAtUs > right.lastAtUs || (left.lastAtUs === right.lastAtUs && left.count >= right.count) ? left : right;
  if (!left.delta) return later;
  return {
    ...later,
    startAtUs: Math.min(left.startAtUs, right.startAtUs),
    count: left.count + right.count,
    sum: addFixed(left.sum, right.sum),
    counts: left.counts.map((count, index) => count + (right.counts[index] ?? 0)),
  };
}

/** By (time, value, start): the order in which a stream's points count as newer. */
function isLater(left: { lastAtUs: number; last: number; startAtUs?: number }, right: typeof left): boolean {
  if (left.lastAtUs !== right.lastAtUs) return left.lastAtUs > right.lastAtUs;
  if (left.last !== right.last) return left.last > right.last;
  return (left.startAtUs ?? 0) >= (right.startAtUs ?? 0);
}

function addFixed(left: string, right: string): string {
  return (BigInt(left) + BigInt(right)).toString();
}

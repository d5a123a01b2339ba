/**
 * How far the sources of a partition have come, in event time (design §4, Time). Detection and topology both read it:
 * what lies before the lowest watermark of all live sources is complete.
 */
import { compareCodeUnits } from "./canonical.ts";
import type { SourceProgress } from "./window.ts";

const sequencesAheadMax = 4_096;

interface SourceState {
  /** The sequence that the watermark waits for. */
  next: number;
  /** Newest event time over contiguous sequences, µs; null until the first one has come. */
  watermarkUs: number | null;
  /** Newest and first event time of any of its batches, µs. */
  newestUs: number;
  firstUs: number;
  /** Batches beyond a gap: sequence → newest event time, µs. */
  ahead: Map<number, number>;
}

/** `[source, next, watermarkUs, newestUs, firstUs, ahead]`, sorted by source. */
type StoredSources = readonly (readonly [string, number, number | null, number, number, readonly (readonly [number, number])[]])[];

/** The checkpoint's form; the bare list is that of checkpoints without times of receipt. */
export type WatermarkState = { readonly newestReceivedMs: number; readonly sources: StoredSources } | StoredSources;

interface WatermarkOptions {
  /** A source whose newest event time is further than this behind the newest of all sources holds nothing back. */
  readonly silentMs: number;
  /** Sources remembered at most; beyond, the one silent for longest is forgotten. */
  readonly sourcesMax: number;
  /** `gap`: missing sequences were given up; `source`: a source was forgotten. */
  readonly onCounted: (what: "gap" | "source") => void;
}

/**
 * Watermarks of the sources of one partition; a pure function of the progress it was told, in the order it was told.
 * A gap in a source's sequences holds its watermark until the source is `silentMs` ahead of it, or 4,096 batches; then it is given up and
 * counted, so that one lost batch never stops the flow.
 */
export class SourceWatermarks {
  readonly #options: WatermarkOptions;
  readonly #sources = new Map<string, SourceState>();
  #newestUs: number | null = null;
  /** When the batch came that made the newest event time; 0 before the first. */
  #newestReceivedMs = 0;
  #firstUs: number | null = null;

  constructor(options: WatermarkOptions) {
    this.#options = options;
  }

  /** Newest event time of any source, µs; null before the first. */
  get newestUs(): number | null {
    return this.#newestUs;
  }

  /** Earliest of the first event times of all sources, µs; null before the first. */
  get firstUs(): number | null {
    return this.#firstUs;
  }

  observe(progress: SourceProgress): void {
    const { source, sequence, receivedAtMs } = progress;
    const atUs = progress.atUs === 0 ? this.#estimateUs(receivedAtMs) : progress.atUs;
    if (this.#newestUs === null || atUs > this.#newestUs) {
      this.#newestUs = atUs;
      this.#newestReceivedMs = receivedAtMs;
    }
    this.#firstUs = Math.min(this.#firstUs ?? atUs, atUs);
    let state = this.#sources.get(source);
    if (state === undefined) {
      // Sequences count from 0; a source that is far along when first seen was forgotten here, so waiting for 0 would be in vain.
      const next = sequence <= sequencesAheadMax ? 0 : sequence;
      state = { next, watermarkUs: null, newestUs: atUs, firstUs: atUs, ahead: new Map() };
      this.#sources.set(source, state);
      if (this.#sources.size > this.#options.sourcesMax) this.#forgetOldest(source);
    }
    if (sequence < state.next) {
      // A batch that came twice is never newer than all that was seen; one that is, comes from a source that counts anew.
      if (atUs <= state.newestUs) return;
      state.next = sequence;
      state.ahead.clear();
    }
    state.newestUs = Math.max(state.newestUs, atUs);
    state.ahead.set(sequence, Math.max(atUs, state.ahead.get(sequence) ?? atUs));
    this.#advance(state);
    this.#giveUpGaps(state);
  }

  /**
   * The lowest watermark of all live sources, µs: no live source will bring anything older in order.
   * Null while there is no source, or a live one whose first batch is missing.
   */
  lowUs(): number | null {
    if (this.#newestUs === null) return null;
    const liveSinceUs = this.#newestUs - this.#options.silentMs * 1_000;
    let lowUs: number | null = null;
    for (const state of this.#sources.values()) {
      if (state.newestUs < liveSinceUs) continue;
      if (state.watermarkUs === null) return null;
      if (lowUs === null || state.watermarkUs < lowUs) lowUs = state.watermarkUs;
    }
    return lowUs;
  }

  toJSON(): WatermarkState {
    const sources = [...this.#sources]
      .sort(([left], [right]) => compareCodeUnits(left, right))
      .map(
        ([source, { next, watermarkUs, newestUs, firstUs, ahead }]) => [source, next, watermarkUs, newestUs, firstUs, [...ahead]] as const,
      );
    return { newestReceivedMs: this.#newestReceivedMs, sources };
  }

  static fromJSON(state: WatermarkState, options: WatermarkOptions): SourceWatermarks {
    const watermarks = new SourceWatermarks(options);
    for (const [source, next, watermarkUs, newestUs, firstUs, ahead] of "sources" in state ? state.sources : state) {
      watermarks.#sources.set(source, { next, watermarkUs, newestUs, firstUs, ahead: new Map(ahead) });
      watermarks.#newestUs = Math.max(watermarks.#newestUs ?? newestUs, newestUs);
      watermarks.#firstUs = Math.min(watermarks.#firstUs ?? firstUs, firstUs);
    }
    watermarks.#newestReceivedMs = "sources" in state ? state.newestReceivedMs : Math.floor((watermarks.#newestUs ?? 0) / 1_000);
    return watermarks;
  }

  /** Event time at a moment of receipt: as far beyond the newest one as the moment is beyond its receipt, whatever clocks the sources have. */
  #estimateUs(receivedAtMs: number): number {
    if (this.#newestUs === null) return receivedAtMs * 1_000;
    return this.#newestUs + Math.max(0, receivedAtMs - this.#newestReceivedMs) * 1_000;
  }

  #advance(state: SourceState): void {
    for (;;) {
      const atUs = state.ahead.get(state.next);
      if (atUs === undefined) return;
      state.ahead.delete(state.next);
      state.next += 1;
      state.watermarkUs = Math.max(state.watermarkUs ?? atUs, atUs);
    }
  }

  #giveUpGaps(state: SourceState): void {
    while (state.ahead.size > 0) {
      const behindUs = state.newestUs - (state.watermarkUs ?? state.firstUs);
      if (behindUs <= this.#options.silentMs * 1_000 && state.ahead.size <= sequencesAheadMax) return;
      state.next = Math.min(...state.ahead.keys());
      this.#options.onCounted("gap");
      this.#advance(state);
    }
  }

  #forgetOldest(except: string): void {
    let oldest: string | null = null;
    let oldestUs = Number.POSITIVE_INFINITY;
    for (const [source, { newestUs }] of this.#sources) {
      if (source === except || newestUs > oldestUs) continue;
      if (newestUs === oldestUs && oldest !== null && compareCodeUnits(source, oldest) > 0) continue;
      oldest = source;
      oldestUs = newestUs;
    }
    if (oldest !== null) this.#sources.delete(oldest);
    this.#options.onCounted("source");
  }
}

/**
 * How far the sources of a partition have come, in event time (design §4, Time). Detection and topology both read it:
 * what lies before the lowest watermark of all live sources is complete.
 */
import { compareCodeUnits } from "./canonical.ts";
import type { LostBatches } from "./lost-batches.ts";
import type { SourceProgress } from "./window.ts";

const sequencesAheadMax = 4_096;
/** Event time between two looks for gaps of sources that have fallen silent. */
const silentLookUs = 1_000_000;
/** Where the log does not say which gateway numbers a source: it was written by an older version, or for another partition. */
const unknownGateway = "unknown";

interface SourceState {
  /** The gateway that numbers it, where the log says so. */
  gateway: string;
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

/** `[source, next, watermarkUs, newestUs, firstUs, ahead, gateway]`, sorted by source; the gateway only beside batches beyond a gap. */
type StoredSource = readonly [string, number, number | null, number, number, readonly (readonly [number, number])[], string?];
type StoredSources = readonly StoredSource[];

/** The checkpoint's form; the bare list is that of checkpoints without times of receipt. */
export type WatermarkState = { readonly newestReceivedMs: number; readonly sources: StoredSources } | StoredSources;

interface WatermarkOptions {
  /** A source whose newest event time is further than this behind the newest of all sources holds nothing back. */
  readonly silentMs: number;
  /** Sources remembered at most; beyond, the one silent for longest is forgotten. */
  readonly sourcesMax: number;
  /** `gap`: so many sequences were given up; `source`: a source was forgotten. */
  readonly onCounted: (what: "gap" | "source", count: number) => void;
  /** Keeps account of what was given up; it is no part of the watermarks' own checkpoint. */
  readonly lost?: LostBatches;
}

/**
 * Watermarks of the sources of one partition; a pure function of the progress it was told, in the order it was told.
 * A gap in a source's sequences holds its watermark until the source is `silentMs` ahead of it, or 4,096 batches, or has fallen silent; then
 * it is given up and counted, so that one lost batch never stops the flow.
 */
export class SourceWatermarks {
  readonly #options: WatermarkOptions;
  readonly #sources = new Map<string, SourceState>();
  /** Sources that have batches beyond a gap. */
  readonly #gapped = new Set<string>();
  /** Newest event time when gaps of silent sources were looked for last, µs. */
  #lookedUs = Number.NEGATIVE_INFINITY;
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
    this.#options.lost?.observe(receivedAtMs);
    const state = this.#stateOf(progress, atUs);
    if (sequence < state.next) this.#takeLate(state, progress, atUs);
    else {
      state.newestUs = Math.max(state.newestUs, atUs);
      state.ahead.set(sequence, Math.max(atUs, state.ahead.get(sequence) ?? atUs));
      this.#advance(state);
      this.#giveUpGaps(source, state);
    }
    this.#giveUpSilent();
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
      .map(([source, { gateway, next, watermarkUs, newestUs, firstUs, ahead }]): StoredSource => {
        const stored = [source, next, watermarkUs, newestUs, firstUs, [...ahead]] as const;
        return ahead.size === 0 || gateway === unknownGateway ? stored : [...stored, gateway];
      });
    return { newestReceivedMs: this.#newestReceivedMs, sources };
  }

  static fromJSON(state: WatermarkState, options: WatermarkOptions): SourceWatermarks {
    const watermarks = new SourceWatermarks(options);
    for (const [source, next, watermarkUs, newestUs, firstUs, ahead, gateway] of "sources" in state ? state.sources : state) {
      const times = { watermarkUs, newestUs, firstUs };
      watermarks.#sources.set(source, { gateway: gateway ?? unknownGateway, next, ...times, ahead: new Map(ahead) });
      if (ahead.length > 0) watermarks.#gapped.add(source);
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

  #stateOf({ source, sequence, gateway }: SourceProgress, atUs: number): SourceState {
    const known = this.#sources.get(source);
    if (known !== undefined) {
      if (gateway !== undefined) known.gateway = gateway;
      return known;
    }
    // Sequences count from 0; a source that is far along when first seen was forgotten here, so waiting for 0 would be in vain.
    const next = sequence <= sequencesAheadMax ? 0 : sequence;
    const state = { gateway: gateway ?? unknownGateway, next, watermarkUs: null, newestUs: atUs, firstUs: atUs, ahead: new Map() };
    this.#sources.set(source, state);
    if (this.#sources.size > this.#options.sourcesMax) this.#forgetOldest(source);
    return state;
  }

  /** A batch that came twice, or that was given up, or whose number was used for one before that nobody acknowledged. */
  #takeLate(state: SourceState, { source, sequence }: SourceProgress, atUs: number): void {
    this.#options.lost?.arrived(source, sequence);
    // A batch that came twice is never newer than all that was seen.
    if (atUs <= state.newestUs) return;
    state.newestUs = atUs;
    // One that is both newer than all and far behind all comes from a source that counts anew.
    if (state.next - sequence > sequencesAheadMax) {
      state.next = sequence + 1;
      state.ahead.clear();
    }
    if (state.ahead.size === 0) state.watermarkUs = Math.max(state.watermarkUs ?? atUs, atUs);
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

  #giveUpGaps(source: string, state: SourceState): void {
    while (state.ahead.size > 0) {
      const behindUs = state.newestUs - (state.watermarkUs ?? state.firstUs);
      if (behindUs <= this.#options.silentMs * 1_000 && state.ahead.size <= sequencesAheadMax) break;
      this.#giveUpGap(source, state);
    }
    if (state.ahead.size > 0) this.#gapped.add(source);
    else this.#gapped.delete(source);
  }

  #giveUpGap(source: string, state: SourceState): void {
    const [from, next] = [state.next, Math.min(...state.ahead.keys())];
    this.#options.onCounted("gap", next - from);
    const place = state.watermarkUs === null ? "first" : "between";
    this.#options.lost?.givenUp({ source, gateway: state.gateway, from, to: next - 1, place });
    state.next = next;
    this.#advance(state);
  }

  /** A source that has fallen silent holds nothing back, so its gaps change no watermark; but what is missing is to be known. */
  #giveUpSilent(): void {
    if (this.#gapped.size === 0 || this.#newestUs === null || this.#newestUs - this.#lookedUs < silentLookUs) return;
    this.#lookedUs = this.#newestUs;
    const liveSinceUs = this.#newestUs - this.#options.silentMs * 1_000;
    for (const source of this.#gapped) {
      const state = this.#sources.get(source);
      if (state === undefined || state.newestUs >= liveSinceUs) continue;
      while (state.ahead.size > 0) this.#giveUpGap(source, state);
      this.#gapped.delete(source);
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
    if (oldest !== null) {
      this.#sources.delete(oldest);
      this.#gapped.delete(oldest);
      this.#options.lost?.sourceForgotten(oldest);
    }
    this.#options.onCounted("source", 1);
  }
}

/**
 * One partition of the window log: gathers windows, closes them in order, each once, and keeps what must survive a restart.
 * Everything but `flush` is synchronous and a function of the entries alone.
 */
import { Buffer } from "node:buffer";
import type { AnomalyEntry } from "../../contract/anomaly.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { LostBatches, type LostBatchesState, type LostGroup, lostBatchesPartition } from "../../contract/lost-batches.ts";
import type { Outages } from "../../contract/outage.ts";
import type { PartitionWork } from "../../contract/partition-reader.ts";
import type { PartitionLog, StoredLogEntry, TelemetryAppend, TelemetryStore } from "../../contract/port.ts";
import { SourceWatermarks, type WatermarkState } from "../../contract/watermark.ts";
import type { WindowEntry } from "../../contract/window.ts";
import { ClosedWindow, type StoredClosedWindow } from "./closed-window.ts";
import type { SpanChoice } from "./kept-spans.ts";
import { SeriesTable } from "./series-table.ts";
import { type DroppedInWindow, type StoredWindow, WindowAccumulator } from "./window-accumulator.ts";

/** Windows that wait to be closed at most. */
const pendingWindowsMax = 1_024;
/** Closed windows that can still be amended at most, whatever `amendMs` says. */
const closedWindowsMax = 128;
/** Empty windows closed one by one at most; a longer hole in event time is skipped at once. */
const emptyWindowsMax = 1_000;
const sourcesMax = 10_000;

type DroppedReason = DroppedInWindow | "window" | "series" | "stream" | "value" | "lost-gap";
type LateWhat = "partial" | "span" | "shape" | "line";

/** What happened, to be counted. */
export interface DetectionCounts {
  dropped(reason: DroppedReason): void;
  late(what: LateWhat): void;
  amended(): void;
  windowClosed(anomalies: AnomalyEntry["anomalies"]): void;
  windowsSkipped(count: number): void;
  /** Told by one partition for all, since all see the same sources. */
  sourceGap(what: "gap" | "source", count: number): void;
}

interface DetectionPartitionOptions {
  readonly partition: number;
  readonly windowMs: number;
  readonly settleMs: number;
  readonly sourceSilentMs: number;
  readonly amendMs: number;
  readonly seriesMax: number;
  readonly spanChoice: SpanChoice;
  readonly log: PartitionLog;
  readonly telemetry: TelemetryStore;
  readonly counts: DetectionCounts;
  readonly outages: Outages;
}

/** Version of the checkpoint's chunks. */
const version = 1;

interface StoredCore {
  readonly version: number;
  readonly windowMs: number;
  /** Start of the window to be closed next; null before the first. */
  readonly nextMs: number | null;
  readonly sources: WatermarkState;
  /** In the partition that keeps the account. */
  readonly lost?: LostBatchesState;
}

/** The mark in the log that says that a window's anomaly entry was appended. */
function markOf(partition: number, windowStartMs: number): string {
  return `detection/${partition}/${windowStartMs}`;
}

export class DetectionPartition implements PartitionWork<"window"> {
  readonly #options: DetectionPartitionOptions;
  #sources: SourceWatermarks;
  /** Null in all partitions but one. */
  readonly #lost: LostBatches | null;
  readonly #series: SeriesTable;
  readonly #pending = new Map<number, WindowAccumulator>();
  readonly #closed = new Map<number, ClosedWindow>();
  /** Names of window chunks that the next snapshot has to write or remove. */
  readonly #changed = new Set<string>();
  #nextMs: number | null = null;
  #storedWindowMs: number;
  #telemetryDue: TelemetryAppend[] = [];
  #entriesDue: { readonly mark: string; readonly value: AnomalyEntry }[] = [];

  constructor(options: DetectionPartitionOptions) {
    this.#options = options;
    this.#storedWindowMs = options.windowMs;
    const onBound = (): void => options.counts.dropped("lost-gap");
    this.#lost = options.partition === lostBatchesPartition ? new LostBatches({ onBound }) : null;
    this.#sources = new SourceWatermarks(this.#sourceOptions());
    this.#series = new SeriesTable({ seriesMax: options.seriesMax, onDropped: (what) => options.counts.dropped(what) });
  }

  /** Series known now. */
  get seriesCount(): number {
    return this.#series.size;
  }

  /** Acknowledged batches that are missing; none in all partitions but one. */
  lostBatches(): readonly LostGroup[] {
    return this.#lost?.groups() ?? [];
  }

  restore(chunks: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, bytes] of chunks) {
      const stored: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
      const [kind, at] = name.split("/");
      if (kind === "core") this.#restoreCore(stored as StoredCore);
      else if (kind === "meters") this.#series.restore(stored);
      else if (kind === "pending") this.#pending.set(Number(at), WindowAccumulator.fromJSON(stored as StoredWindow, this.#onDropped));
      else if (kind === "closed") this.#closed.set(Number(at), ClosedWindow.fromJSON(stored as StoredClosedWindow, this.#onDropped));
    }
    if (this.#storedWindowMs !== this.#options.windowMs) this.#dropWindows();
  }

  apply({ offset, value }: StoredLogEntry<"window">): void {
    const amended = new Set<number>();
    this.#take(value, amended);
    for (const startMs of [...amended].sort((left, right) => left - right)) this.#amend(startMs, offset);
    for (const progress of value.progress) this.#sources.observe(progress);
    this.#closeDue();
  }

  /**
   * Telemetry first: its keys make writing twice harmless. The anomaly log has no keys, so each window's entry is appended together with a
   * mark, and an entry whose mark is there is not appended again. The incident stage may still rely on `closedThroughMs` alone: of one
   * partition it never has to take an entry whose `closedThroughMs` is not beyond the one it has.
   */
  async flush(): Promise<void> {
    const { log, telemetry } = this.#options;
    const windows = [...this.#telemetryDue];
    if (windows.length > 0) await telemetry.append(windows);
    this.#telemetryDue.splice(0, windows.length);
    const entries = [...this.#entriesDue];
    if (entries.length === 0) return;
    const appended = await log.reduced(entries.map(({ mark }) => mark));
    const missing = entries.filter(({ mark }) => !appended.has(mark));
    if ((await this.#append(missing)) === "appended before") for (const entry of missing) await this.#append([entry]);
    this.#entriesDue.splice(0, entries.length);
  }

  /**
   * `appended before`: nothing was appended now, because another owner, of whom one of the two does not know yet that it is fenced, was
   * faster with one of them. Both make the same of the same entries, and each in order, so whoever is first may be.
   */
  async #append(entries: readonly { readonly mark: string; readonly value: AnomalyEntry }[]): Promise<"appended" | "appended before"> {
    const { log, partition, outages } = this.#options;
    const appended = entries.map(({ value }) => ({ topic: "anomaly" as const, partition, value }));
    const reduced = entries.map(({ mark }) => mark);
    try {
      await outages.waiting("the anomaly log is full, because the incident stage is behind or does not run", () =>
        log.append(appended, { reduced }),
      );
      return "appended";
    } catch (error) {
      if (error instanceof HeadwaterError && error.code === "BATCH_REDUCED") return "appended before";
      throw error;
    }
  }

  flushed(): boolean {
    return this.#telemetryDue.length === 0 && this.#entriesDue.length === 0;
  }

  reachedMs(): number | null {
    return this.#sources.newestUs === null ? null : this.#sources.newestUs / 1_000;
  }

  snapshot(): ReadonlyMap<string, Uint8Array | null> {
    const changed = new Map<string, Uint8Array | null>();
    const lost = this.#lost === null ? {} : { lost: this.#lost.toJSON() };
    const core: StoredCore = { version, windowMs: this.#options.windowMs, nextMs: this.#nextMs, sources: this.#sources.toJSON(), ...lost };
    changed.set("core", encode(core));
    for (const [chunk, meters] of this.#series.snapshot()) changed.set(`meters/${chunk}`, meters === null ? null : encode(meters));
    for (const name of this.#changed) {
      const [kind, at] = name.split("/");
      const window = (kind === "pending" ? this.#pending : this.#closed).get(Number(at));
      changed.set(name, window === undefined ? null : encode(window));
    }
    this.#changed.clear();
    return changed;
  }

  #restoreCore(core: StoredCore): void {
    refuseUnknown(core.version);
    this.#sources = SourceWatermarks.fromJSON(core.sources, this.#sourceOptions());
    if (core.lost !== undefined) this.#lost?.restore(core.lost);
    this.#storedWindowMs = core.windowMs;
    this.#nextMs = core.nextMs;
  }

  /** The configured length has changed: windows of the old length cannot be closed any more, and the next begins at a boundary of the new. */
  #dropWindows(): void {
    const { windowMs, counts } = this.#options;
    for (const startMs of this.#pending.keys()) {
      counts.dropped("window");
      this.#changed.add(`pending/${startMs}`);
    }
    for (const startMs of this.#closed.keys()) this.#changed.add(`closed/${startMs}`);
    this.#pending.clear();
    this.#closed.clear();
    this.#nextMs = this.#nextMs === null ? null : Math.ceil(this.#nextMs / windowMs) * windowMs;
  }

  #sourceOptions(): ConstructorParameters<typeof SourceWatermarks>[0] {
    const { sourceSilentMs, counts } = this.#options;
    const shared = { silentMs: sourceSilentMs, sourcesMax };
    if (this.#lost === null) return { ...shared, onCounted: () => undefined };
    return { ...shared, onCounted: (what, count) => counts.sourceGap(what, count), lost: this.#lost };
  }

  readonly #onDropped = (what: DroppedInWindow): void => this.#options.counts.dropped(what);

  #take(entry: WindowEntry, amended: Set<number>): void {
    for (const partial of entry.partials) {
      const window = this.#windowFor(partial.windowStartMs, "partial");
      if (window instanceof ClosedWindow) {
        if (window.addLate(partial)) amended.add(this.#startOf(partial.windowStartMs));
        else this.#options.counts.late("partial");
      } else window?.addPartial(partial);
    }
    for (const shape of entry.shapes) {
      const window = this.#windowFor(shape.windowStartMs, "shape");
      if (window instanceof ClosedWindow) amended.add(this.#startOf(shape.windowStartMs));
      window?.addShape(shape);
    }
    for (const span of entry.spans) {
      const window = this.#windowFor(span.windowStartMs, "span");
      if (window instanceof ClosedWindow) amended.add(this.#startOf(span.windowStartMs));
      window?.addSpan(span);
    }
    for (const line of entry.lines) {
      const window = this.#windowFor(line.windowStartMs, "line");
      if (window instanceof ClosedWindow) amended.add(this.#startOf(line.windowStartMs));
      window?.addLine(line);
    }
  }

  #startOf(atMs: number): number {
    return Math.floor(atMs / this.#options.windowMs) * this.#options.windowMs;
  }

  /** The window that data belong to; null when it came too late for it, or too many windows wait. */
  #windowFor(atMs: number, what: LateWhat): WindowAccumulator | ClosedWindow | null {
    const startMs = this.#startOf(atMs);
    if (this.#nextMs !== null && startMs < this.#nextMs) return this.#closedFor(startMs, what);
    let window = this.#pending.get(startMs);
    if (window === undefined) {
      if (this.#pending.size >= pendingWindowsMax) {
        this.#options.counts.dropped("window");
        return null;
      }
      window = new WindowAccumulator(this.#onDropped);
      this.#pending.set(startMs, window);
    }
    this.#changed.add(`pending/${startMs}`);
    return window;
  }

  #closedFor(startMs: number, what: LateWhat): ClosedWindow | null {
    const { windowMs, amendMs, counts } = this.#options;
    if (this.#nextMs === null || startMs + windowMs + amendMs < this.#nextMs) {
      counts.late(what);
      return null;
    }
    let window = this.#closed.get(startMs);
    if (window === undefined) {
      window = new ClosedWindow({ startMs, endMs: startMs + windowMs }, new WindowAccumulator(this.#onDropped));
      this.#closed.set(startMs, window);
    }
    this.#changed.add(`closed/${startMs}`);
    return window;
  }

  /** The log's offset is the amendment's number: it rises, and re-reading the log gives the same one. */
  #amend(startMs: number, offset: number): void {
    const amendment = this.#closed.get(startMs)?.amendment(`${this.#options.partition}/${startMs}/${offset}`, this.#options.spanChoice);
    if (amendment === undefined) return;
    this.#telemetryDue.push(amendment);
    this.#options.counts.amended();
  }

  #closeDue(): void {
    const { windowMs, settleMs } = this.#options;
    const lowUs = this.#sources.lowUs();
    if (lowUs === null) return;
    const dueMs = Math.floor((lowUs / 1_000 - settleMs) / windowMs) * windowMs;
    this.#nextMs ??= this.#firstStart(dueMs);
    while (this.#nextMs !== null && this.#nextMs < dueMs) {
      this.#closeWindow(this.#nextMs);
      this.#nextMs += windowMs;
      this.#skipHole(dueMs);
    }
  }

  /** Where the first window begins; null while it cannot be closed anyway, because an earlier one may still turn up. */
  #firstStart(dueMs: number): number | null {
    const firstMs = Math.min(...this.#pending.keys(), this.#startOf((this.#sources.firstUs ?? 0) / 1_000));
    return firstMs < dueMs ? firstMs : null;
  }

  #skipHole(dueMs: number): void {
    const { windowMs, counts } = this.#options;
    if (this.#nextMs === null || dueMs - this.#nextMs <= emptyWindowsMax * windowMs) return;
    const dataMs = Math.min(dueMs - windowMs, ...this.#pending.keys());
    const skipped = (dataMs - this.#nextMs) / windowMs;
    if (skipped <= emptyWindowsMax) return;
    counts.windowsSkipped(skipped);
    this.#nextMs = dataMs;
  }

  #closeWindow(startMs: number): void {
    const { windowMs, partition, counts } = this.#options;
    const span = { startMs, endMs: startMs + windowMs };
    const gathered = this.#pending.get(startMs) ?? new WindowAccumulator(this.#onDropped);
    const { series, durations, anomalies, requests, bases } = this.#series.close(gathered.byMeter(), span);
    const whole = { spans: gathered.spans(this.#options.spanChoice), templates: gathered.templates(), lines: gathered.lines() };
    if ([series, durations, whole.spans, whole.templates, whole.lines].some((rows) => rows.length > 0)) {
      this.#telemetryDue.push({ key: `${partition}/${startMs}/0`, windowStartMs: startMs, series, durations, ...whole });
    }
    this.#entriesDue.push({ mark: markOf(partition, startMs), value: { closedThroughMs: span.endMs, anomalies, requests } });
    if (this.#pending.delete(startMs)) this.#changed.add(`pending/${startMs}`);
    gathered.dropWhole();
    this.#closed.set(startMs, new ClosedWindow(span, gathered, { series, bases }));
    this.#changed.add(`closed/${startMs}`);
    this.#forgetClosed(span.endMs);
    counts.windowClosed(anomalies);
  }

  #forgetClosed(closedThroughMs: number): void {
    const { windowMs, amendMs } = this.#options;
    const keptMs = Math.min(amendMs, closedWindowsMax * windowMs);
    for (const startMs of this.#closed.keys()) {
      if (startMs + windowMs + keptMs >= closedThroughMs) continue;
      this.#closed.delete(startMs);
      this.#changed.add(`closed/${startMs}`);
    }
  }
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), "utf8");
}

function refuseUnknown(stored: number): void {
  if (stored === version) return;
  throw new HeadwaterError(
    "DATA_VERSION_UNKNOWN",
    `a checkpoint of detection has version ${stored}, this Headwater knows version ${version}`,
  );
}

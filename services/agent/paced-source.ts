/** A recording as if it happened now: at its own pace, with its times moved. */
import type { Clock, ProbeBatch, ProbeSource } from "../../contract/port.ts";

export class PacedSource implements ProbeSource {
  readonly #source: ProbeSource;
  readonly #clock: Clock;
  /** Added to every time; null before the first batch. */
  #shiftMs: number | null = null;
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor(source: ProbeSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  async next(): Promise<ProbeBatch | null> {
    const batch = await this.#source.next();
    if (batch === null || this.#isClosed) return null;
    this.#shiftMs ??= Math.round(this.#clock.nowMs() - batch.atMs);
    const atMs = batch.atMs + this.#shiftMs;
    const waitMs = atMs - this.#clock.nowMs();
    if (waitMs > 1) await this.#wait(waitMs);
    return this.#isClosed ? null : { ...batch, atMs, clockOffsetNs: batch.clockOffsetNs + this.#shiftMs * 1e6 };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#wake();
    await this.#source.close();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.schedule(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

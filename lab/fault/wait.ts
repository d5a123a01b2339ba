/** Time that passes inside a service while it works. */
import { createHash } from "node:crypto";

/** Resolves after `ms`; fractions below the timer's grain of 1 ms are rounded. */
export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.round(ms)));
}

const block = Buffer.alloc(4_096, 7);

/** Keeps the processor busy for about `ms`. */
export function compute(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs) createHash("sha256").update(block).digest();
}

/** Works `ms` in rounds, one after another, each with a little processor time: what code does that asks piece by piece. */
export async function workInRounds(ms: number): Promise<void> {
  const roundMs = Math.max(8, ms / 20);
  const computeMsMax = 10;
  const rounds = Math.max(1, Math.round(ms / roundMs));
  for (let round = 0; round < rounds; round += 1) {
    await wait(ms / rounds);
    compute(Math.min(0.3, computeMsMax / rounds));
  }
}

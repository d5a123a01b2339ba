/** Orders in which batches of several sources may arrive; the same for the same seed. */

/** Uniform in [0, 1), the same in every run. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Another order: each batch comes up to `delayMs` later, and no source's batches overtake each other. */
export function interleaved<B extends { readonly source: string }>(
  batches: readonly B[],
  { atMs, delayMs, random }: { atMs: (batch: B) => number; delayMs: number; random: () => number },
): B[] {
  const lastMs = new Map<string, number>();
  const arrivals = batches.map((batch) => {
    const arrivesAtMs = Math.max(lastMs.get(batch.source) ?? 0, atMs(batch) + random() * delayMs);
    lastMs.set(batch.source, arrivesAtMs);
    return { batch, arrivesAtMs };
  });
  return arrivals.sort((left, right) => left.arrivesAtMs - right.arrivesAtMs).map(({ batch }) => batch);
}

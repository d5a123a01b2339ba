/** How much of a stretch of time others cover. */

/** From and to, in any unit. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** Length of the union of the parts within the whole: where parts overlap, as parallel calls do, the time counts once. */
export function coveredTime(whole: Stretch, parts: readonly Stretch[]): number {
  const within = parts
    .map((part): Stretch => ({ from: Math.max(whole.from, part.from), to: Math.min(whole.to, part.to) }))
    .filter((part) => part.to > part.from)
    .sort((left, right) => left.from - right.from);
  let covered = 0;
  let reached = whole.from;
  for (const part of within) {
    covered += Math.max(0, part.to - Math.max(part.from, reached));
    reached = Math.max(reached, part.to);
  }
  return covered;
}

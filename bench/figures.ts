/** Figures of one method over a group of cases, in both ways of counting ties. */
import { type Estimate, type RankSummary, summariseRanks } from "../graph/case/score.ts";
import type { RandomChance } from "./peers.ts";

export interface Figures {
  readonly strict: RankSummary;
  readonly pessimistic: RankSummary;
}

export function figuresOf(ranks: readonly { rankStrict: number; rankPessimistic: number }[]): Figures {
  return {
    strict: summariseRanks(ranks.map((rank) => rank.rankStrict)),
    pessimistic: summariseRanks(ranks.map((rank) => rank.rankPessimistic)),
  };
}

/** Exact expectations of guessing; they have no interval, and no ties. */
export function figuresOfRandom(chances: readonly RandomChance[]): Figures {
  const mean = (value: (chance: RandomChance) => number): Estimate => {
    const average = chances.reduce((sum, chance) => sum + value(chance), 0) / Math.max(1, chances.length);
    return { value: average, lower: average, upper: average };
  };
  const within =
    (k: number) =>
    (chance: RandomChance): number =>
      chance.placeChances.slice(0, k).reduce((sum, share) => sum + share, 0);
  const summary: RankSummary = {
    count: chances.length,
    top1: mean(within(1)),
    top3: mean(within(3)),
    averageAt5: mean((chance) => [1, 2, 3, 4, 5].reduce((sum, k) => sum + within(k)(chance), 0) / 5),
    reciprocal: mean((chance) => chance.placeChances.reduce((sum, share, place) => sum + share / (place + 1), 0)),
  };
  return { strict: summary, pessimistic: summary };
}

/** `62.5 [38.6–81.5]` in percent. */
export function percentCell(estimate: Estimate): string {
  const percent = (value: number): string => (value * 100).toFixed(1);
  return estimate.lower === estimate.upper
    ? percent(estimate.value)
    : `${percent(estimate.value)} [${percent(estimate.lower)}–${percent(estimate.upper)}]`;
}

/** A table of text in columns; the first is aligned left, the others right. */
export function tableText(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** One figure of the agent's benchmark, beside what it is compared with. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Of the tool or the state that it is compared with, in the same unit and the same run. */
  readonly yardstick: number | null;
  readonly ratio: number | null;
  readonly goal: number | null;
  readonly met: boolean | null;
}

export interface RowOptions {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick?: number | null;
  readonly goal?: { readonly most: number } | { readonly least: number };
}

export function row({ name, value, unit, yardstick = null, goal }: RowOptions): Row {
  const ratio = yardstick === null || yardstick === 0 ? null : value / yardstick;
  const met = goal === undefined ? null : "most" in goal ? value <= goal.most : value >= goal.least;
  return { name, value, unit, yardstick, ratio, goal: goal === undefined ? null : "most" in goal ? goal.most : goal.least, met };
}

/** Of an even count the lower of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], share: number): number {
  const inOrder = [...values].sort((left, right) => left - right);
  return inOrder[Math.max(0, Math.ceil(inOrder.length * share) - 1)] ?? Number.NaN;
}

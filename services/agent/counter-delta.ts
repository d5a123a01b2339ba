/** Differences of counters that only grow, by key. */

export type CounterRow = Readonly<Record<string, number | Float64Array>>;

/** What grew, and over how long; nanoseconds of wall time between the two readings. */
export interface CounterDelta<C> {
  readonly counters: C;
  readonly elapsedMs: number;
}

/** When a map was read, and what of it. */
export interface ReadAt {
  readonly atMs: number;
  /** Monotonic. */
  readonly atNs: number;
  /** `gone`: the last words of keys that are no more; what grows under one of them later began at 0. All that there are without it. */
  readonly rows?: "all" | "gone";
}

/** How the rows of a reading are taken. */
interface CounterReading<Row, C> extends Pick<ReadAt, "atMs" | "rows"> {
  readonly key: (row: Row) => string;
  readonly counters: (row: Row) => C;
}

/**
 * Remembers the last reading of each key. The first reading of all tells nothing of when what it holds happened; a key that appears later
 * began at 0. A counter that is smaller than before began anew.
 */
export class CounterDeltas<C extends CounterRow> {
  #before = new Map<string, C>();
  #readAtMs: number | null = null;

  /** Keys remembered: those of the last reading. */
  get size(): number {
    return this.#before.size;
  }

  /** Calls `onDelta` for every key whose counters moved. */
  read<Row>(rows: readonly Row[], of: CounterReading<Row, C>, onDelta: (row: Row, delta: CounterDelta<C>) => void): void {
    if (of.rows === "gone") {
      for (const row of rows) this.#before.delete(this.#compare(row, of, onDelta)[0]);
      return;
    }
    const now = new Map<string, C>();
    for (const row of rows) now.set(...this.#compare(row, of, onDelta));
    this.#before = now;
    this.#readAtMs = of.atMs;
  }

  #compare<Row>(row: Row, of: CounterReading<Row, C>, onDelta: (row: Row, delta: CounterDelta<C>) => void): [string, C] {
    const key = of.key(row);
    const counters = of.counters(row);
    if (this.#readAtMs === null) return [key, counters];
    const delta = difference(counters, this.#before.get(key) ?? null);
    if (delta !== null) onDelta(row, { counters: delta, elapsedMs: Math.max(1, of.atMs - this.#readAtMs) });
    return [key, counters];
  }
}

function difference<C extends CounterRow>(now: C, before: C | null): C | null {
  const names = Object.keys(now);
  const grows = before === null ? "anew" : growth(now, before, names);
  if (grows === "not") return null;
  const delta: Record<string, number | Float64Array> = {};
  let moved = false;
  for (const name of names) {
    const grown = grownBy(now[name] ?? 0, grows === "anew" ? undefined : before?.[name]);
    delta[name] = grown;
    if (total(grown) > 0) moved = true;
  }
  return moved ? (delta as C) : null;
}

/** Most keys of most readings did not move: that is found out without making anything. A counter that is smaller than before began anew. */
function growth(now: CounterRow, before: CounterRow, names: readonly string[]): "anew" | "on" | "not" {
  let grows: "on" | "not" = "not";
  for (const name of names) {
    const [current, earlier] = [total(now[name]), total(before[name])];
    if (current < earlier) return "anew";
    if (current > earlier) grows = "on";
  }
  return grows;
}

function grownBy(now: number | Float64Array, before: number | Float64Array | undefined): number | Float64Array {
  if (typeof now === "number") return now - (typeof before === "number" ? before : 0);
  const grown = now.slice();
  if (before instanceof Float64Array) for (let at = 0; at < grown.length; at += 1) grown[at] = (now[at] ?? 0) - (before[at] ?? 0);
  return grown;
}

function total(value: number | Float64Array | undefined): number {
  if (value === undefined) return 0;
  if (typeof value === "number") return value;
  let sum = 0;
  for (let at = 0; at < value.length; at += 1) sum += value[at] ?? 0;
  return sum;
}

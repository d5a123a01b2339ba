/** Interfaces for people: what each carries, and whether that is unusual by the plain rule of three sigma. */
import { CounterDeltas } from "./counter-delta.ts";
import type { InterfaceCounter } from "./decode-counters.ts";
import type { InterfaceNames } from "./host-signals.ts";

const figures = ["packetsReceived", "bytesReceived", "packetsSent", "bytesSent"] as const;
export type InterfaceFigure = (typeof figures)[number];

/** A rate beside those of the last five minutes, without itself. */
export interface JudgedRate {
  readonly perSecond: number;
  /** Null while nothing was seen before. */
  readonly mean: number | null;
  /** Of the values themselves, not of an estimate. */
  readonly sigma: number | null;
  /** Null while too few were seen before, and where all were the same. */
  readonly z: number | null;
  /** Z is above 3; where all were the same before, any greater value is. */
  readonly isUnusual: boolean;
}

export interface InterfaceRow {
  readonly name: string;
  /** Inode of its network namespace. */
  readonly netns: number;
  readonly index: number;
  readonly rates: Readonly<Record<InterfaceFigure, JudgedRate>>;
}

type Counts = { readonly [N in InterfaceFigure]: number };

const readingsMax = 300;
const readingsMin = 10;
const zMax = 3;
/** Interfaces followed at most; those that come later are not shown. */
const interfacesMax = 1_024;

/** Readings come once a second. */
export class InterfaceRates {
  readonly #deltas = new CounterDeltas<Counts>();
  readonly #histories = new Map<
    string,
    { readonly netns: number; readonly index: number; readonly values: Record<InterfaceFigure, number[]> }
  >();
  #isFirst = true;
  #refused = 0;

  /** Interfaces that were not followed because there were too many. */
  get refused(): number {
    return this.#refused;
  }

  /** Every interface of this namespace, idle ones too, and those of others that carried something. The first reading has no rates. */
  read(rows: readonly InterfaceCounter[], atMs: number, own: InterfaceNames): InterfaceRow[] {
    const moved = new Map<string, Counts>();
    const key = (row: InterfaceCounter) => `${row.netns} ${row.interface}`;
    const counters = ({ packetsReceived, bytesReceived, packetsSent, bytesSent }: InterfaceCounter): Counts => {
      return { packetsReceived, bytesReceived, packetsSent, bytesSent };
    };
    this.#deltas.read(rows, { atMs, key, counters }, (row, delta) => moved.set(key(row), perSecond(delta.counters, delta.elapsedMs)));
    if (this.#isFirst) {
      this.#isFirst = false;
      return [];
    }
    this.#follow(rows, own);
    const found: InterfaceRow[] = [];
    for (const [name, history] of this.#histories) {
      const now = moved.get(name) ?? { packetsReceived: 0, bytesReceived: 0, packetsSent: 0, bytesSent: 0 };
      const { netns, index, values } = history;
      const rates = Object.fromEntries(figures.map((figure) => [figure, judged(now[figure], values[figure])])) as InterfaceRow["rates"];
      for (const figure of figures) remember(values[figure], now[figure]);
      found.push({ name: nameOf(netns, index, own), netns, index, rates });
    }
    return found.sort((left, right) => order(left, own) - order(right, own) || left.netns - right.netns || left.index - right.index);
  }

  #follow(rows: readonly InterfaceCounter[], own: InterfaceNames): void {
    for (const [name, { netns, index }] of this.#histories) if (netns === own.netns && !own.names.has(index)) this.#histories.delete(name);
    const there = [...own.names.keys()].map((index) => ({ netns: own.netns, index }));
    const counted = rows.filter(({ netns }) => netns !== own.netns).map((row) => ({ netns: row.netns, index: row.interface }));
    for (const { netns, index } of [...there, ...counted]) {
      const name = `${netns} ${index}`;
      if (this.#histories.has(name)) continue;
      if (this.#histories.size >= interfacesMax) {
        this.#refused += 1;
        continue;
      }
      this.#histories.set(name, { netns, index, values: { packetsReceived: [], bytesReceived: [], packetsSent: [], bytesSent: [] } });
    }
  }
}

function order({ netns }: InterfaceRow, own: InterfaceNames): number {
  return netns === own.netns ? 0 : 1;
}

/** Two namespaces have an `eth0` each: those of others are told by the namespace's inode. */
function nameOf(netns: number, index: number, own: InterfaceNames): string {
  return netns === own.netns ? (own.names.get(index) ?? `interface-${index}`) : `netns-${netns}:${index}`;
}

function perSecond(counts: Counts, elapsedMs: number): Counts {
  return Object.fromEntries(figures.map((figure) => [figure, (counts[figure] * 1e3) / elapsedMs])) as Counts;
}

function remember(values: number[], value: number): void {
  values.push(value);
  if (values.length > readingsMax) values.shift();
}

/** A value beside the ones before it. */
export function judged(value: number, before: readonly number[]): JudgedRate {
  if (before.length === 0) return { perSecond: value, mean: null, sigma: null, z: null, isUnusual: false };
  const mean = before.reduce((sum, one) => sum + one, 0) / before.length;
  const sigma = Math.sqrt(before.reduce((sum, one) => sum + (one - mean) * (one - mean), 0) / before.length);
  const isKnown = before.length >= readingsMin;
  const z = isKnown && sigma > 0 ? (value - mean) / sigma : null;
  return { perSecond: value, mean, sigma, z, isUnusual: isKnown && (z === null ? value > mean : z > zMax) };
}

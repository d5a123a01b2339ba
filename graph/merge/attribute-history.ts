/** How one attribute of an entity changed in event time, so that the world as of a moment does not know what came later. */
import { compareCodeUnits } from "../../contract/canonical.ts";

/** Runs of one attribute that are remembered; the oldest are forgotten first. */
const runsMax = 16;

/** A stretch in which an attribute was always seen with the same value. */
interface AttributeRun {
  readonly fromMs: number;
  readonly toMs: number;
  readonly value: string;
  /** Which ends are moments at which it was seen; the others only border on a moment at which another value was seen. */
  readonly seenAt: "both" | "from" | "to" | "neither";
}

/** In order of time, not overlapping; neighbours differ in value. */
export type AttributeHistory = readonly AttributeRun[];

/** Adds an observation, whatever the order they come in. Of two values seen at the same moment the one that sorts last holds. */
export function observed(history: AttributeHistory, atMs: number, value: string): AttributeHistory {
  const index = history.findIndex((run) => run.toMs >= atMs);
  const run = index === -1 ? undefined : history[index];
  const covering = run !== undefined && run.fromMs <= atMs ? run : undefined;
  const added: AttributeRun = { fromMs: atMs, toMs: atMs, value, seenAt: "both" };
  if (covering === undefined) {
    const at = index === -1 ? history.length : index;
    return joined([...history.slice(0, at), added, ...history.slice(at)]);
  }
  if (seenThen(covering, atMs) && compareCodeUnits(covering.value, value) >= 0) return history;
  const left: AttributeRun[] = covering.fromMs < atMs ? [{ ...covering, toMs: atMs - 1, seenAt: ends(fromSeen(covering), false) }] : [];
  const right: AttributeRun[] = covering.toMs > atMs ? [{ ...covering, fromMs: atMs + 1, seenAt: ends(false, toSeen(covering)) }] : [];
  return joined([...history.slice(0, index), ...left, added, ...right, ...history.slice(index + 1)]);
}

/** The value that held at a moment; before the first observation the first known one, null when there is none. */
export function valueAt(history: AttributeHistory, atMs: number): string | null {
  let value = history[0]?.value ?? null;
  for (const run of history) {
    if (run.fromMs > atMs) break;
    value = run.value;
  }
  return value;
}

function fromSeen(run: AttributeRun): boolean {
  return run.seenAt === "both" || run.seenAt === "from";
}

function toSeen(run: AttributeRun): boolean {
  return run.seenAt === "both" || run.seenAt === "to";
}

function seenThen(run: AttributeRun, atMs: number): boolean {
  return (run.fromMs === atMs && fromSeen(run)) || (run.toMs === atMs && toSeen(run));
}

function ends(from: boolean, to: boolean): AttributeRun["seenAt"] {
  if (from) return to ? "both" : "from";
  return to ? "to" : "neither";
}

function joined(runs: readonly AttributeRun[]): AttributeHistory {
  const result: AttributeRun[] = [];
  for (const run of runs) {
    const before = result.at(-1);
    if (before?.value === run.value) result[result.length - 1] = { ...before, toMs: run.toMs, seenAt: ends(fromSeen(before), toSeen(run)) };
    else result.push(run);
  }
  return result.slice(-runsMax);
}

/** Reading the graph at a moment of event time only once everything up to that moment is in it. */
import { setTimeout as pause, setImmediate as turn } from "node:timers/promises";
import type { GraphStore, GraphView } from "../contract/port.ts";

/** Turns of the event loop before waiting between looks. */
const turnsMax = 20;
const pauseMs = 10;

/**
 * The view as of `atMs`, once the graph is complete through `throughMs`, or after `attemptsMax` looks (`complete` is then "no").
 * Waits on the machine's own timers and not on the injected clock: while a replay waits for a stage to settle its clock stands
 * still, and how long we waited never enters a result; only whether the bound was hit does, and that is answered.
 */
export async function awaitGraph(
  graph: GraphStore,
  options: { atMs: number; throughMs: number; attemptsMax: number },
): Promise<{ view: GraphView; complete: "yes" | "no" }> {
  for (let attempt = 1; ; attempt += 1) {
    const view = await graph.asOf(options.atMs);
    if (view.completeThroughMs >= options.throughMs) return { view, complete: "yes" };
    if (attempt >= options.attemptsMax) return { view, complete: "no" };
    if (attempt <= turnsMax) await turn();
    else await pause(pauseMs);
  }
}

/** Reading the graph at a moment of event time only once everything up to that moment is in it. */
import { setTimeout as pause, setImmediate as turn } from "node:timers/promises";
import type { GraphStore, GraphView } from "../contract/port.ts";

/** Turns of the event loop before waiting between looks. */
const turnsMax = 20;
const pauseMs = 10;

/**
 * Waits until the graph is complete through `throughMs`, or for `attemptsMax` looks (the answer is then "no"). A look reads no entity.
 * Waits on the machine's own timers and not on the injected clock: while a replay waits for a stage to settle its clock stands
 * still, and how long we waited never enters a result; only whether the bound was hit does, and that is answered.
 */
export async function awaitCompleteness(graph: GraphStore, options: { throughMs: number; attemptsMax: number }): Promise<"yes" | "no"> {
  for (let attempt = 1; ; attempt += 1) {
    const { completeThroughMs } = await graph.neighbourhood({ atMs: options.throughMs, ids: [], entitiesMax: 0 });
    if (completeThroughMs >= options.throughMs) return "yes";
    if (attempt >= options.attemptsMax) return "no";
    if (attempt <= turnsMax) await turn();
    else await pause(pauseMs);
  }
}

/** The whole view as of `atMs`, after the same wait. */
export async function awaitGraph(
  graph: GraphStore,
  options: { atMs: number; throughMs: number; attemptsMax: number },
): Promise<{ view: GraphView; complete: "yes" | "no" }> {
  const complete = await awaitCompleteness(graph, options);
  return { view: await graph.asOf(options.atMs), complete };
}

/** By which way the newest verdict came: shown for people, not part of what is hashed. */
import type { IncidentEvent } from "../contract/incident.ts";
import type { KernelPath, Operational } from "../contract/verdict.ts";
import { clockText } from "./time-text.ts";
import { numberText } from "./value-text.ts";

/** The order of the flow; what is not in it comes after, by name. */
const flow = ["queue", "log", "graph", "events", "telemetry"];
const titles: Readonly<Record<string, string>> = {
  queue: "Queue",
  log: "Ordered log",
  graph: "Graph",
  events: "Events",
  telemetry: "Telemetry",
};

export interface CameLine {
  readonly title: string;
  readonly text: string;
}

/** What was measured while the newest verdict was made; null while there is none. */
export function newestOperational(events: readonly IncidentEvent[]): Operational | null {
  const newest = events.findLast((event) => event.type === "verdict-added");
  return newest?.type === "verdict-added" ? newest.operational : null;
}

/** Adapters, queries of the graph and times, in order of the flow. */
export function cameLines(operational: Operational | null): CameLine[] {
  if (operational === null) return [];
  const { path, kernel, gatheredInMs, rankedInMs } = operational;
  const engines = path?.engines ?? {};
  const names = [
    ...flow.filter((name) => name in engines),
    ...Object.keys(engines)
      .filter((name) => !flow.includes(name))
      .sort(),
  ];
  const queries = (path?.queries ?? []).map(({ name, count, ms }) => `${name}${count === 1 ? "" : ` ${count} times`} ${numberText(ms)} ms`);
  return [
    ...names.map((name) => ({ title: titles[name] ?? name, text: engines[name] ?? "" })),
    ...(queries.length === 0 ? [] : [{ title: "Queries of the graph", text: queries.join(", ") }]),
    ...(kernel === undefined ? [] : kernelLines(kernel)),
    { title: "Time", text: `${numberText(gatheredInMs)} ms to gather the evidence, ${numberText(rankedInMs)} ms to rank it` },
  ];
}

/** Samples and events named in a report; the rest is a number, and in the JSON. */
const namedMax = 8;

function kernelLines({ samples, events, left }: KernelPath): CameLine[] {
  const sampleTexts = samples.map(({ id, fromMs, toMs, windows }) => {
    return `${id}, ${windows} ${windows === 1 ? "window" : "windows"} from ${clockText(fromMs)} to ${clockText(toMs)}`;
  });
  const eventTexts = events.map(({ entity, atMs, text, batch }) => {
    return `${entity} at ${clockText(atMs)}: ${text} (${batch === null ? "batch not kept" : `batch ${batch}`})`;
  });
  return [
    ...(samples.length === 0 ? [] : [{ title: "Kernel samples", text: named(sampleTexts) }]),
    ...(events.length === 0 ? [] : [{ title: "Kernel events", text: named(eventTexts) }]),
    ...(left === 0 ? [] : [{ title: "Kernel", text: `${left} more samples and events` }]),
  ];
}

function named(texts: readonly string[]): string {
  const more = texts.length > namedMax ? `; and ${texts.length - namedMax} more` : "";
  return `${texts.slice(0, namedMax).join("; ")}${more}`;
}

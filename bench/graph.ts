/** `bench graph`: a graph of many services in Neo4j, beside the memory graph: how fast it is written, and how fast questions are answered. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { HeadwaterError } from "../contract/error.ts";
import type { GraphStore } from "../contract/port.ts";
import { openMemoryGraphStore } from "../graph/memory/memory-graph-store.ts";
import { openNeo4jGraphStore } from "../graph/neo4j/neo4j-graph-store.ts";
import { Random } from "../lab/random.ts";
import { startNeo4j } from "../scripts/servers.ts";
import { SystemClock } from "../services/platform.ts";
import { tableText } from "./figures.ts";
import { begunMs, changedMs, deltasOf, type GraphWorld, makeWorld, serviceId, shopSize } from "./graph-world.ts";

/** How `graph` is called. */
export const graphUsage = "graph [--services N] [--dependencies N] [--rounds N] [--url bolt://…] [--json FILE]";

interface Options {
  readonly services: number;
  readonly dependencies: number;
  /** Times that each question is asked. */
  readonly rounds: number;
  /** A Neo4j that is there already; one is started otherwise. */
  readonly url: string | null;
  readonly json: string | null;
}

/** A figure of Neo4j beside the same of the memory graph. */
interface Measured {
  readonly name: string;
  readonly unit: "per s" | "ms";
  readonly neo4j: number;
  readonly memory: number;
}

type Question = (graph: GraphStore, random: Random) => Promise<unknown>;

/** Runs the benchmark, prints its table through `write`, writes the JSON file where one is asked for. */
export async function benchGraph(args: readonly string[], write: (text: string) => void): Promise<void> {
  const options = optionsOf(args);
  const directory = await mkdtemp(join(tmpdir(), "headwater-bench-graph-"));
  const server = options.url === null ? await startNeo4j() : null;
  const common = { clock: new SystemClock(), onCounted: () => undefined };
  const memory = await openMemoryGraphStore({ directory, ...common });
  const neo4j = await openNeo4jGraphStore({ url: server?.url ?? options.url ?? "", namespace: `bench-${process.pid}`, ...common });
  try {
    const measured = await measure({ neo4j, memory }, options);
    write(`${options.services} services, ${options.dependencies} dependencies, ${options.rounds} rounds of each question\n`);
    write(`${tableText([["", "unit", "Neo4j", "memory", "Neo4j / memory"], ...measured.map(cells)])}\n`);
    if (options.json !== null) await writeFile(options.json, `${JSON.stringify(jsonOf(measured, options), null, 2)}\n`);
  } finally {
    await neo4j.close();
    await memory.close();
    await server?.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

function optionsOf(args: readonly string[]): Options {
  const text = { type: "string" } as const;
  const settings = { services: text, dependencies: text, rounds: text, url: text, json: text };
  let values: Partial<Record<keyof typeof settings, string>>;
  try {
    values = parseArgs({ args: [...args], options: settings, strict: true }).values;
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : String(cause));
  }
  const count = (name: "services" | "dependencies" | "rounds", usual: number, countMin: number): number => {
    const value = Number(values[name] ?? usual);
    if (!Number.isInteger(value) || value < countMin) throw invalid(`--${name} must be a whole number of at least ${countMin}`);
    return value;
  };
  const services = count("services", 5_000, 2 * shopSize);
  const dependencies = count("dependencies", 50_000, services);
  if (dependencies > services * 50) throw invalid("--dependencies must be at most 50 for each service");
  return { services, dependencies, rounds: count("rounds", 40, 1), url: values.url ?? null, json: values.json ?? null };
}

function invalid(message: string): HeadwaterError {
  return new HeadwaterError("REQUEST_INVALID", `${message}\nusage: ${graphUsage}`);
}

async function measure(graphs: { neo4j: GraphStore; memory: GraphStore }, options: Options): Promise<Measured[]> {
  const world = makeWorld(options);
  const rows = world.entities.length + world.dependencies.length;
  const rates: Measured[] = [];
  // Loaded twice: what is new, then the same seen again later, which is what topology tells most of the time.
  for (const [name, seenMs] of [
    ["upsert, new", begunMs + 60_000],
    ["upsert, seen again", changedMs],
  ] as const) {
    const memory = rows / (await secondsToLoad(graphs.memory, world, seenMs));
    const neo4j = rows / (await secondsToLoad(graphs.neo4j, world, seenMs));
    rates.push({ name, unit: "per s", neo4j, memory });
  }
  const times: Measured[] = [];
  for (const [name, ask] of Object.entries(questions(options))) times.push(...(await timesOf({ name, ask }, graphs, options.rounds)));
  return [...rates, ...times];
}

async function secondsToLoad(graph: GraphStore, world: GraphWorld, seenMs: number): Promise<number> {
  const deltas = deltasOf(world, seenMs);
  const begun = performance.now();
  // The 16 partitions of the topology stage tell the graph side by side, each waiting for its own.
  const partitions = Array.from({ length: 16 }, (_, partition) => deltas.filter((delta) => delta.partition === partition));
  await Promise.all(
    partitions.map(async (list) => {
      for (const delta of list) await graph.apply(delta);
    }),
  );
  return (performance.now() - begun) / 1_000;
}

function questions({ services }: Options): Record<string, Question> {
  const any = (random: Random): string => serviceId(random.integer(shopSize, services - 1));
  const inShop = (random: Random): string => serviceId(random.integer(0, shopSize - 1));
  const at = { atMs: changedMs };
  return {
    [`neighbourhood of 2, in a shop of ${shopSize}`]: (graph, random) =>
      graph.neighbourhood({ ...at, ids: [inShop(random), inShop(random)], entitiesMax: 200 }),
    [`neighbourhood of 2, nearest 200 of ${services}`]: (graph, random) =>
      graph.neighbourhood({ ...at, ids: [any(random), any(random)], entitiesMax: 200 }),
    "paths, 3 hops, at most 10": (graph, random) => graph.paths({ ...at, from: any(random), to: any(random), hopsMax: 3, pathsMax: 10 }),
    "paths, 8 hops, at most 10": (graph, random) => graph.paths({ ...at, from: any(random), to: any(random), hopsMax: 8, pathsMax: 10 }),
    "diff over an hour, 1 % new": (graph) => graph.diff(begunMs + 60_000, changedMs),
    "whole view": (graph) => graph.asOf(changedMs),
  };
}

/** Both graphs are asked the same in turn, so that what else the machine does hits both alike. */
async function timesOf(
  question: { name: string; ask: Question },
  graphs: { neo4j: GraphStore; memory: GraphStore },
  rounds: number,
): Promise<Measured[]> {
  const warmUps = 5;
  const times = { neo4j: [] as number[], memory: [] as number[] };
  for (let round = -warmUps; round < rounds; round += 1) {
    for (const engine of ["neo4j", "memory"] as const) {
      const begun = performance.now();
      await question.ask(graphs[engine], new Random(1_000 + round));
      if (round >= 0) times[engine].push(performance.now() - begun);
    }
  }
  return ([50, 95] as const).map((percent) => ({
    name: `${question.name}, p${percent}`,
    unit: "ms" as const,
    neo4j: percentile(times.neo4j, percent),
    memory: percentile(times.memory, percent),
  }));
}

function percentile(values: readonly number[], percent: number): number {
  const inOrder = [...values].sort((left, right) => left - right);
  return inOrder[Math.min(inOrder.length - 1, Math.floor((inOrder.length * percent) / 100))] ?? 0;
}

function cells({ name, unit, neo4j, memory }: Measured): string[] {
  const number = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString("en-GB") : value.toPrecision(3));
  return [name, unit, number(neo4j), number(memory), number(neo4j / memory)];
}

function jsonOf(measured: readonly Measured[], { services, dependencies, rounds }: Options): unknown {
  return {
    name: "graph",
    rows: measured.map(({ name, unit, neo4j, memory }) => ({
      ...{ name, value: neo4j, unit, yardstick: memory, ratio: neo4j / memory },
      ...{ goal: null, met: null },
    })),
    size: { services, dependencies, rounds },
  };
}

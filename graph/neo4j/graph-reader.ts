/** Reads the graph from Neo4j: each question in one transaction that only reads. */
import { compareCodeUnits, roundScore, sortedBy } from "../../contract/canonical.ts";
import type { Dependency, Entity } from "../../contract/entity.ts";
import type { GraphDiff, GraphPart, GraphView, Precedent } from "../../contract/port.ts";
import { type KeptInterval, unendedOf } from "../merge/interval.ts";
import { jaccard } from "../merge/precedent-tokens.ts";
import { type Call, findPaths, pathHopsMax, Rings } from "../merge/walk.ts";
import { dependencyOf, endedDependencyOf, intervalsOf } from "./dependency-rows.ts";
import { entityOf } from "./entity-rows.ts";
import type { Neo4jConnection, Row, RunQuery } from "./neo4j-connection.ts";
import type { QueryName } from "./query-text.ts";
import { openEndMs, whole, wholeMoment } from "./whole.ts";

interface Found {
  readonly precedent: Precedent;
  readonly similarity: number;
}

export class GraphReader {
  readonly #connection: Neo4jConnection;
  readonly #prefix: string;
  readonly #onCounted: (name: string, amount: number) => void;

  constructor(connection: Neo4jConnection, options: { prefix: string; onCounted: (name: string, amount: number) => void }) {
    this.#connection = connection;
    this.#prefix = options.prefix;
    this.#onCounted = options.onCounted;
  }

  async asOf(atMs: number): Promise<GraphView> {
    return await this.#read(async (run) => {
      // The watermark first and entities last: what is read after it is at least as complete, and the ends of a dependency are there.
      const completeThroughMs = await completeThrough(run);
      const at = { atMs: wholeMoment(atMs) };
      const dependencies = dependenciesOf(await run("dependencies-at", at), atMs);
      const entities = entitiesOf(await run("entities-at", at), atMs);
      return { completeThroughMs, entities, dependencies };
    });
  }

  async diff(fromMs: number, toMs: number): Promise<GraphDiff> {
    return await this.#read(async (run) => {
      const [earlier, later] = fromMs <= toMs ? [fromMs, toMs] : [toMs, fromMs];
      const isForward = fromMs <= toMs;
      const between = { afterMs: wholeMoment(earlier), atMs: wholeMoment(later) };
      // Of those that are gone it is asked when they ended, which only all their intervals tell.
      const begun = await run("dependencies-begun", { otherMs: wholeMoment(earlier), atMs: wholeMoment(later), whole: !isForward });
      const ended = await run("dependencies-ended", { otherMs: wholeMoment(later), atMs: wholeMoment(earlier), whole: isForward });
      const fresh = entitiesOf(await run("entities-between", between), later);
      return {
        entitiesAdded: isForward ? fresh : [],
        entitiesRemoved: isForward ? [] : fresh,
        dependenciesAdded: dependenciesOf(isForward ? begun : ended, toMs),
        dependenciesRemoved: sorted((isForward ? ended : begun).flatMap((row) => endedDependencyOf(row, fromMs, toMs) ?? [])),
      };
    });
  }

  async unended(): Promise<KeptInterval[]> {
    const rows = await this.#read((run) => run("dependencies-unended", { openEndMs: whole(openEndMs) }));
    return unendedOf(rows.flatMap(({ intervals }) => intervalsOf(String(intervals))));
  }

  async neighbourhood(options: { atMs: number; ids: readonly string[]; entitiesMax: number }): Promise<GraphPart> {
    const { atMs, entitiesMax } = options;
    return await this.#read(async (run) => {
      const completeThroughMs = await completeThrough(run);
      if (options.ids.length === 0) return { completeThroughMs, entities: [], dependencies: [], left: 0 };
      const at = { atMs: wholeMoment(atMs) };
      const rings = new Rings(options.ids);
      const seen = new Set(idsOf(await run("entities-seen", { ...at, ids: rings.ring })));
      while (rings.ring.length > 0) {
        const neighbours = await run("neighbours", { ...at, ids: rings.ring });
        for (const { id, seen: isSeen } of neighbours) if (isSeen === true) seen.add(String(id));
        rings.grow(idsOf(neighbours));
      }
      const known = rings.reached.filter((id) => seen.has(id));
      const ids = known.slice(0, entitiesMax);
      const dependencies = dependenciesOf(await run("dependencies-among", { ...at, ids }), atMs);
      const entities = entitiesOf(await run("entities-of", { ...at, ids }), atMs);
      return { completeThroughMs, entities, dependencies, left: known.length - ids.length };
    });
  }

  async paths(options: { atMs: number; from: string; to: string; hopsMax: number; pathsMax: number }): Promise<string[][]> {
    const { from, to } = options;
    const hopsMax = Math.min(options.hopsMax, pathHopsMax);
    const at = { atMs: wholeMoment(options.atMs) };
    const calls = await this.#read(async (run): Promise<Call[] | "known" | "unknown"> => {
      if (from === to) return (await run("entities-seen", { ...at, ids: [from] })).length > 0 ? "known" : "unknown";
      const ahead = hopsOf(await run("hops-from", { ...at, id: from }));
      if ((ahead.get(to) ?? hopsMax + 1) > hopsMax) return [];
      const behind = hopsOf(await run("hops-to", { ...at, id: to }));
      const ids = [...ahead].flatMap(([id, hops]) => (hops + (behind.get(id) ?? hopsMax + 1) <= hopsMax ? [id] : []));
      return (await run("calls-among", { ...at, ids })).map(({ source, target }) => ({ source: String(source), target: String(target) }));
    });
    if (calls === "known" || calls === "unknown") return calls === "known" ? [[from]] : [];
    const { paths, complete } = findPaths(calls, options);
    if (complete === "no") this.#onCounted("graph_paths_cut", 1);
    return paths;
  }

  async similar(signature: readonly string[], options: { countMax: number }): Promise<Found[]> {
    const tokens = [...new Set(signature)];
    if (tokens.length === 0) return [];
    const rows = await this.#read((run) => run("similar-precedents", { tokens, countMax: whole(options.countMax) }));
    const found = rows.map((row) => ({ precedent: precedentOf(row), similarity: similarityOf(row, tokens.length) }));
    return found.sort(
      (left, right) => right.similarity - left.similarity || compareCodeUnits(left.precedent.incident, right.precedent.incident),
    );
  }

  #read<T>(work: (run: RunQuery) => Promise<T>): Promise<T> {
    return this.#connection.read((run) => work((name: QueryName, parameters) => run(name, { prefix: this.#prefix, ...parameters })));
  }
}

async function completeThrough(run: RunQuery): Promise<number> {
  const [root] = await run("watermarks", {});
  return Math.min(...((root?.watermarksMs ?? [0]) as number[]));
}

function idsOf(rows: readonly Row[]): string[] {
  return rows.map(({ id }) => String(id));
}

function hopsOf(rows: readonly Row[]): Map<string, number> {
  return new Map(rows.map(({ id, hops }) => [String(id), Number(hops)]));
}

function entitiesOf(rows: readonly Row[], atMs: number): Entity[] {
  return sortedBy(
    rows.map((row) => entityOf(row, atMs)),
    ({ id }) => id,
  );
}

function dependenciesOf(rows: readonly Row[], atMs: number): Dependency[] {
  return sorted(rows.flatMap((row) => dependencyOf(row, atMs) ?? []));
}

function sorted(dependencies: readonly Dependency[]): Dependency[] {
  return sortedBy(dependencies, ({ id }) => id);
}

function precedentOf(row: Row): Precedent {
  return {
    incident: String(row.incident),
    closedMs: Number(row.closedMs),
    cause: { type: String(row.causeType), id: String(row.causeId), kind: typeof row.causeKind === "string" ? row.causeKind : null },
    signature: row.signature as string[],
  };
}

function similarityOf(row: Row, asked: number): number {
  return roundScore(jaccard({ shared: Number(row.shared), asked, kept: (row.signature as string[]).length }));
}

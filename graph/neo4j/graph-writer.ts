/** Writes what topology learned into Neo4j: reads what is kept of it, merges by the same rules as the memory graph, writes what changed. */
import { partitionCount } from "../../contract/canonical.ts";
import type { Dependency, Entity } from "../../contract/entity.ts";
import type { GraphDelta, Precedent } from "../../contract/port.ts";
import type { KeptInterval } from "../merge/interval.ts";
import { precedentTokens } from "../merge/precedent-tokens.ts";
import { changesOf, type DependencyChanges, type KeptStretches } from "./dependency-rows.ts";
import { entityChange } from "./entity-rows.ts";
import type { Neo4jConnection, Row, RunQuery } from "./neo4j-connection.ts";
import { openEndMs, whole } from "./whole.ts";

export interface GraphBounds {
  readonly entitiesMax: number;
  /** Intervals, over all partitions. */
  readonly dependenciesMax: number;
  readonly precedentsMax: number;
}

/** Something to be written; deltas and precedents share transactions. */
export type GraphRecord =
  | { readonly kind: "delta"; readonly delta: GraphDelta }
  | { readonly kind: "precedent"; readonly precedent: Precedent };

/** Entities, and intervals, of one transaction; the server keeps a transaction in its memory. */
const rowsPerTransactionMax = 5_000;
/** Rows of one UNWIND. */
const rowsPerQueryMax = 1_000;

/** What one transaction writes. */
interface Batch {
  readonly entities: ReadonlyMap<string, readonly Entity[]>;
  readonly reports: ReadonlyMap<string, readonly KeptInterval[]>;
  readonly precedents: readonly Precedent[];
  /** By partition; the transaction with the last of a partition's rows moves it. */
  readonly watermarksMs: ReadonlyMap<number, number>;
}

/** What the root says of all the graph. */
interface Totals {
  readonly watermarksMs: readonly number[];
  readonly entities: number;
  readonly intervals: number;
  readonly precedents: number;
}

export class GraphWriter {
  readonly #connection: Neo4jConnection;
  readonly #prefix: string;
  readonly #bounds: GraphBounds;
  readonly #onCounted: (name: string, amount: number) => void;

  constructor(
    connection: Neo4jConnection,
    options: { prefix: string; bounds: GraphBounds; onCounted: (name: string, amount: number) => void },
  ) {
    this.#connection = connection;
    this.#prefix = options.prefix;
    this.#bounds = options.bounds;
    this.#onCounted = options.onCounted;
  }

  /** Writes records in as few transactions as their size allows. What was written before a failure may be written again. */
  async write(records: readonly GraphRecord[]): Promise<void> {
    for (const batch of batchesOf(records)) {
      const counted = await this.#connection.write((run) => this.#writeBatch(run, batch));
      // Only now, since the driver may have run it more than once.
      for (const [name, amount] of counted) if (amount > 0) this.#onCounted(name, amount);
    }
  }

  async #writeBatch(run: RunQuery, batch: Batch): Promise<[string, number][]> {
    const mine: RunQuery = (name, parameters) => run(name, { prefix: this.#prefix, ...parameters });
    const before = totalsOf(await mine("lock-graph", {}));
    const entities = await writeEntities(mine, batch.entities);
    const dependencies = await writeDependencies(mine, batch.reports);
    const precedents = await writePrecedents(mine, batch.precedents);
    const after = {
      entities: before.entities + entities,
      intervals: before.intervals + dependencies.intervals,
      precedents: before.precedents + precedents,
    };
    const { kept, counted } = await this.#forget(mine, after);
    const watermarksMs = Array.from({ length: partitionCount }, (_, partition) =>
      whole(Math.max(before.watermarksMs[partition] ?? 0, batch.watermarksMs.get(partition) ?? 0)),
    );
    const { entities: all, intervals, precedents: remembered } = kept;
    await mine("set-graph", { watermarksMs, entities: whole(all), intervals: whole(intervals), precedents: whole(remembered) });
    return [...counted, ["graph_dependencies_forgotten", dependencies.forgotten]];
  }

  /** At its bound each kind loses the hundredth that was seen longest ago. */
  async #forget(run: RunQuery, after: Omit<Totals, "watermarksMs">): Promise<{ kept: typeof after; counted: [string, number][] }> {
    const { entitiesMax, dependenciesMax, precedentsMax } = this.#bounds;
    const entities = excess(after.entities, entitiesMax, Math.ceil(entitiesMax / 100));
    if (entities > 0) await run("forget-entities", { count: whole(entities) });
    const dependencies = excess(after.intervals, dependenciesMax, Math.ceil(dependenciesMax / 100));
    const [forgotten] = dependencies > 0 ? await run("forget-dependencies", { count: whole(dependencies) }) : [];
    const intervals = Number(forgotten?.intervals ?? 0);
    const precedents = excess(after.precedents, precedentsMax, 1);
    if (precedents > 0) await run("forget-precedents", { count: whole(precedents) });
    return {
      kept: {
        entities: after.entities - entities,
        intervals: after.intervals - intervals,
        precedents: after.precedents - precedents,
      },
      counted: [
        ["graph_entities_forgotten", entities],
        ["graph_dependencies_forgotten", intervals],
        ["graph_precedents_forgotten", precedents],
      ],
    };
  }
}

/** How many have to go: none below the bound, else whole steps until it holds again. */
function excess(count: number, countMax: number, step: number): number {
  return count <= countMax ? 0 : Math.ceil((count - countMax) / step) * step;
}

function totalsOf([row]: readonly Row[]): Totals {
  return {
    watermarksMs: (row?.watermarksMs ?? []) as number[],
    entities: Number(row?.entities ?? 0),
    intervals: Number(row?.intervals ?? 0),
    precedents: Number(row?.precedents ?? 0),
  };
}

/** Answers how many entities are new. */
async function writeEntities(run: RunQuery, sights: Batch["entities"]): Promise<number> {
  if (sights.size === 0) return 0;
  const kept = new Map((await run("kept-entities", { ids: [...sights.keys()] })).map(({ id, kept: text }) => [String(id), String(text)]));
  const rows = [...sights].flatMap(([id, seen]) => entityChange(kept.get(id), seen) ?? []);
  await inPieces(rows, (piece) => run("write-entities", { rows: piece }));
  return sights.size - kept.size;
}

async function writeDependencies(run: RunQuery, reports: Batch["reports"]): Promise<{ intervals: number; forgotten: number }> {
  if (reports.size === 0) return { intervals: 0, forgotten: 0 };
  const kept = await keptStretches(run, reports);
  const changes = [...reports].map(([id, list]) => changesOf(kept.get(id) ?? new Map(), list));
  const all = <T>(rows: (one: DependencyChanges) => readonly T[]): T[] => changes.flatMap(rows);
  // Removed first: what is created may begin where something that was removed began.
  await inPieces(
    all(({ removed }) => removed),
    (rows) => run("remove-dependencies", { rows }),
  );
  await inPieces(
    all(({ updated }) => updated),
    (rows) => run("update-dependencies", { rows }),
  );
  await inPieces(
    all(({ created }) => created),
    (rows) => run("write-dependencies", { rows }),
  );
  const sum = (of: (one: DependencyChanges) => number): number => changes.reduce((total, one) => total + of(one), 0);
  return { intervals: sum(({ intervals }) => intervals), forgotten: sum(({ forgotten }) => forgotten) };
}

async function keptStretches(run: RunQuery, reports: Batch["reports"]): Promise<Map<string, KeptStretches>> {
  const rows = [...reports].map(([id, list]) => ({
    id,
    fromMs: whole(Math.min(...list.map(({ dependency }) => dependency.validFromMs))),
    toMs: whole(Math.max(...list.map(({ dependency }) => dependency.validToMs ?? openEndMs))),
  }));
  const kept = new Map<string, Map<number, string>>();
  for (const { id, validFromMs, intervals } of await run("kept-dependencies", { rows })) {
    const stretches = kept.get(String(id)) ?? new Map<number, string>();
    kept.set(String(id), stretches.set(Number(validFromMs), String(intervals)));
  }
  return kept;
}

/** Answers how many precedents are new. */
async function writePrecedents(run: RunQuery, precedents: readonly Precedent[]): Promise<number> {
  if (precedents.length === 0) return 0;
  // A second one of the same incident replaces the first.
  const newest = [...new Map(precedents.map((precedent) => [precedent.incident, precedent])).values()];
  const known = await run("known-precedents", { incidents: newest.map(({ incident }) => incident) });
  const rows = newest.map(({ incident, closedMs, cause, signature }) => ({
    incident,
    tokens: precedentTokens(signature),
    properties: {
      closedMs: whole(closedMs),
      causeType: cause.type,
      causeId: cause.id,
      causeKind: cause.kind,
      signature: precedentTokens(signature),
    },
  }));
  await inPieces(rows, (piece) => run("write-precedents", { rows: piece }));
  await inPieces(rows, (piece) => run("write-tokens", { rows: piece }));
  return newest.length - known.length;
}

async function inPieces<T>(rows: readonly T[], write: (piece: readonly T[]) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < rows.length; from += rowsPerQueryMax) await write(rows.slice(from, from + rowsPerQueryMax));
}

/** Records in order, cut into batches; a delta that does not fit goes on in the next one, which then moves its watermark. */
function batchesOf(records: readonly GraphRecord[]): Batch[] {
  const batches: Batch[] = [];
  let open = emptyBatch();
  let rows = 0;
  const next = (): void => {
    if (rows < rowsPerTransactionMax) return;
    batches.push(open);
    open = emptyBatch();
    rows = 0;
  };
  for (const record of records) {
    if (record.kind === "precedent") {
      open.precedents.push(record.precedent);
      rows += record.precedent.signature.length;
      next();
      continue;
    }
    const { partition, entities, dependencies, completeThroughMs } = record.delta;
    for (const entity of entities) {
      push(open.entities, entity.id, entity);
      rows += 1;
      next();
    }
    for (const dependency of dependencies) {
      push(open.reports, dependency.id, { partition, dependency } satisfies { partition: number; dependency: Dependency });
      rows += 1;
      next();
    }
    open.watermarksMs.set(partition, Math.max(open.watermarksMs.get(partition) ?? 0, completeThroughMs));
  }
  return [...batches, open];
}

function emptyBatch() {
  return {
    entities: new Map<string, Entity[]>(),
    reports: new Map<string, KeptInterval[]>(),
    precedents: [] as Precedent[],
    watermarksMs: new Map<number, number>(),
  };
}

function push<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

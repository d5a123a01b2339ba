/** The GraphStore of an installation with several processes: nodes and relationships in Neo4j, merged by the same rules as the memory graph. */
import { allPartitions, partitionCount } from "../../contract/canonical.ts";
import { Coalescer } from "../../contract/coalesce.ts";
import type { Dependency } from "../../contract/entity.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, GraphDelta, GraphDiff, GraphPart, GraphStore, GraphView, Precedent } from "../../contract/port.ts";
import { noteQuery } from "../query-times.ts";
import { GraphReader } from "./graph-reader.ts";
import { type GraphRecord, GraphWriter } from "./graph-writer.ts";
import { migrate } from "./migrate.ts";
import { Neo4jConnection } from "./neo4j-connection.ts";
import { warmUp } from "./warm-up.ts";

interface Neo4jGraphStoreOptions {
  /** bolt:// or neo4j://, with +s for TLS (+ssc: without asking who signed), `user:password@` and `/database` where they are needed. */
  readonly url: string;
  /** Installations that share a database need one each; `headwater` unless told. */
  readonly namespace?: string;
  /** Taken so that all adapters are opened alike; times come from the deltas only. */
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Called with the name and the time of every query, for metrics; `withQueryTimes` is told of them anyway. */
  readonly onQuery?: (name: string, ms: number) => void;
  /** As in memory: 20,000, 200,000 (intervals, over all partitions) and 10,000 unless told; at its bound each forgets what was seen longest ago. */
  readonly entitiesMax?: number;
  readonly dependenciesMax?: number;
  readonly precedentsMax?: number;
}

/** Deltas and precedents that share transactions. */
const recordsPerFlushMax = 256;
/** More that wait are refused at once: whoever applies one after the other never has so many. */
const recordsWaitingMax = 10_000;

/**
 * Opens the graph and migrates it forward; several processes may, and each sees what the others wrote. Writers wait for each other.
 * Answers are those of the memory graph: see `openMemoryGraphStore`. An `apply` that failed may have been written; merging it again changes
 * nothing.
 * Counters: `graph_entities_forgotten`, `graph_dependencies_forgotten`, `graph_precedents_forgotten`, `graph_paths_cut`,
 * `graph_connections_renewed`, `graph_writes_refused`.
 * Throws GRAPH_UNAVAILABLE within 5 s where nobody answers, SERVER_REFUSED, SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN, DATA_FOREIGN.
 */
export async function openNeo4jGraphStore(options: Neo4jGraphStoreOptions): Promise<GraphStore> {
  const { url, onCounted, namespace = "headwater" } = options;
  invariant(/^[A-Za-z0-9_-]{1,40}$/.test(namespace), `${namespace} is no name for an installation`);
  const onQuery = (name: string, ms: number): void => {
    noteQuery(name, ms);
    options.onQuery?.(name, ms);
  };
  const connection = new Neo4jConnection({ url, onCounted, onQuery });
  try {
    await migrate(connection, namespace);
    await warmUp(connection, namespace);
  } catch (error) {
    await connection.close();
    throw error;
  }
  connection.opened();
  return new Neo4jGraphStore(options, { connection, prefix: namespace });
}

class Neo4jGraphStore implements GraphStore {
  readonly #connection: Neo4jConnection;
  readonly #reader: GraphReader;
  readonly #writes: Coalescer<GraphRecord>;
  readonly #onCounted: (name: string, amount: number) => void;
  #waiting = 0;
  #closing: Promise<void> | null = null;

  constructor(options: Neo4jGraphStoreOptions, at: { connection: Neo4jConnection; prefix: string }) {
    const { onCounted, entitiesMax = 20_000, dependenciesMax = 200_000, precedentsMax = 10_000 } = options;
    const { connection, prefix } = at;
    const writer = new GraphWriter(connection, { prefix, onCounted, bounds: { entitiesMax, dependenciesMax, precedentsMax } });
    this.#connection = connection;
    this.#reader = new GraphReader(connection, { prefix, onCounted });
    this.#writes = new Coalescer((records) => writer.write(records), { itemsPerFlushMax: recordsPerFlushMax });
    this.#onCounted = onCounted;
  }

  async apply(delta: GraphDelta): Promise<void> {
    invariant(allPartitions.includes(delta.partition), `no partition ${delta.partition} of ${partitionCount}`);
    await this.#write({ kind: "delta", delta });
  }

  async remember(precedent: Precedent): Promise<void> {
    await this.#write({ kind: "precedent", precedent });
  }

  asOf(atMs: number): Promise<GraphView> {
    return this.#reader.asOf(atMs);
  }

  diff(fromMs: number, toMs: number): Promise<GraphDiff> {
    return this.#reader.diff(fromMs, toMs);
  }

  unended(): Promise<{ partition: number; dependency: Dependency }[]> {
    return this.#reader.unended();
  }

  neighbourhood(options: { atMs: number; ids: readonly string[]; entitiesMax: number }): Promise<GraphPart> {
    return this.#reader.neighbourhood(options);
  }

  paths(options: { atMs: number; from: string; to: string; hopsMax: number; pathsMax: number }): Promise<string[][]> {
    return this.#reader.paths(options);
  }

  similar(signature: readonly string[], options: { countMax: number }): Promise<{ precedent: Precedent; similarity: number }[]> {
    return this.#reader.similar(signature, options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writes.idle();
    await this.#connection.close();
  }

  async #write(record: GraphRecord): Promise<void> {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the graph is closing");
    if (this.#waiting >= recordsWaitingMax) {
      this.#onCounted("graph_writes_refused", 1);
      throw new HeadwaterError(
        "GRAPH_UNAVAILABLE",
        `${recordsWaitingMax} changes of the graph wait for ${this.#connection.address} already`,
      );
    }
    this.#waiting += 1;
    try {
      await this.#writes.add(record);
    } finally {
      this.#waiting -= 1;
    }
  }
}

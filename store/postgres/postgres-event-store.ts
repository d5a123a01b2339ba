/** The EventStore of an installation with several processes: a schema in PostgreSQL. */
import { compareCodeUnits, hash32 } from "../../contract/canonical.ts";
import { Coalescer } from "../../contract/coalesce.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, EventStore, StoredEvent } from "../../contract/port.ts";
import { EventSubscription } from "../event-subscription.ts";
import { Connections } from "./connections.ts";
import { EventListener } from "./event-listener.ts";
import { channelOf, migrate } from "./migrations.ts";
import { postgresAddress } from "./postgres-failure.ts";

interface PostgresEventStoreOptions {
  /** postgres://user:password@host:port/database, with libpq's parameters (`?sslmode=verify-full`). */
  readonly url: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** `headwater` unless told; installations that share a database need one each. */
  readonly schema?: string;
}

const schemaDefault = "headwater";
const versionMin = 130_000;
/** Events that `read` answers unless told otherwise. */
const eventsMaxDefault = 10_000;
/** Events that a subscription reads at once. */
const pageMax = 256;
/** How soon a subscription sees an event whose announcement was lost. */
const pollMs = 2_000;
/** Appends that share a transaction. */
const appendsPerFlushMax = 256;
/** Appends that wait for their transaction; more are refused at once. */
const appendsWaitingMax = 10_000;

type Row = [position: string, stream: string, sequence: string, data: string];

interface Append {
  readonly stream: string;
  readonly data: readonly string[];
  readonly expectedSequence: number;
  /** Its caller was told that it failed, so it must not be written any more. */
  abandoned: boolean;
  outcome: { readonly found: number; readonly appended: boolean } | null;
}

/**
 * Opens the store and migrates it forward. Several processes may; an append is seen by the subscribers of all.
 * An append that failed with STORE_UNAVAILABLE may have been written (the answer was lost): the same append then meets CONFLICT.
 * Counters: `event_store_conflicts`, `event_store_handler_retried`, `event_store_events_skipped`, `event_store_pages_retried`,
 * `event_store_listener_lost`, `event_store_appends_refused`, `event_store_statements_refused`.
 * Throws STORE_UNAVAILABLE within 5 s, SERVER_REFUSED, SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN, DATA_FOREIGN.
 */
export async function openPostgresEventStore(options: PostgresEventStoreOptions): Promise<EventStore> {
  const { url, clock, onCounted, schema = schemaDefault } = options;
  invariant(/^[a-z_][a-z0-9_]{0,39}$/.test(schema), `${schema} is no name for a schema`);
  const address = postgresAddress(url);
  const connections = new Connections({ url, address, clock, onCounted });
  try {
    await connections.using(async (client) => {
      const [settings] = (
        await client.query({
          text: "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')",
          rowMode: "array",
        })
      ).rows as [number, string][];
      refuseUnsuitable(settings ?? [0, ""], address);
      await migrate(client, { schema, lock: hash32(schema) | 0, address });
    });
  } catch (error) {
    await connections.close();
    throw error;
  }
  connections.opened();
  return new PostgresEventStore({ clock, onCounted, schema, address, connections });
}

function refuseUnsuitable([version, encoding]: [number, string], address: string): void {
  if (version < versionMin) {
    throw new HeadwaterError(
      "SERVER_UNSUITABLE",
      `${address} is version ${Math.floor(version / 10_000)}; ${versionMin / 10_000} or newer is needed`,
    );
  }
  if (encoding !== "UTF8") {
    throw new HeadwaterError(
      "SERVER_UNSUITABLE",
      `${address} keeps text as ${encoding}, which cannot hold every character: use a database with ENCODING 'UTF8'`,
    );
  }
}

interface Parts {
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  readonly schema: string;
  readonly address: string;
  readonly connections: Connections;
}

class PostgresEventStore implements EventStore {
  #parts: Parts;
  #statements: ReturnType<typeof statementsOf>;
  #appends: Coalescer<Append>;
  #appendsWaiting = 0;
  #subscriptions = new Set<EventSubscription>();
  #listener: EventListener | null = null;
  #closing: Promise<void> | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#statements = statementsOf(parts.schema);
    this.#appends = new Coalescer((appends) => this.#flush(appends), { itemsPerFlushMax: appendsPerFlushMax });
  }

  async append(stream: string, events: readonly unknown[], options: { expectedSequence: number }): Promise<number> {
    this.#refuseWhenClosed();
    if (stream.includes("\0")) throw new HeadwaterError("REQUEST_INVALID", "the name of a stream cannot hold the character U+0000");
    const data = events.map((event) => {
      const json = JSON.stringify(event);
      invariant(typeof json === "string", `an event of ${stream} has no JSON form`);
      return json;
    });
    const append: Append = { stream, data, expectedSequence: options.expectedSequence, abandoned: false, outcome: null };
    await this.#write(append);
    invariant(append.outcome !== null, "a flush that resolved has an outcome for each of its appends");
    const { found, appended } = append.outcome;
    if (appended) return found + data.length;
    this.#parts.onCounted("event_store_conflicts", 1);
    throw new HeadwaterError("CONFLICT", `${stream} has ${found} events, ${options.expectedSequence} were expected: read it again`);
  }

  async read(stream: string, options: { afterSequence?: number; eventsMax?: number } = {}): Promise<StoredEvent[]> {
    this.#refuseWhenClosed();
    const { afterSequence = 0, eventsMax = eventsMaxDefault } = options;
    if (stream.includes("\0")) return [];
    return (await this.#parts.connections.rows<Row>(this.#statements.read, [stream, afterSequence, eventsMax])).map(toEvent);
  }

  async streams(prefix: string): Promise<string[]> {
    this.#refuseWhenClosed();
    if (prefix.includes("\0")) return [];
    const rows = await this.#parts.connections.rows<[string]>(this.#statements.streams, [prefix]);
    // COLLATE "C" orders by bytes of UTF-8, which is not the order of code units for characters beyond U+FFFF.
    return rows.map(([name]) => name).sort(compareCodeUnits);
  }

  async subscribe(
    options: { afterPosition: number; streamPrefix: string },
    handler: (event: StoredEvent) => Promise<void>,
  ): Promise<() => Promise<void>> {
    this.#refuseWhenClosed();
    const { clock, onCounted, connections } = this.#parts;
    this.#listener ??= this.#listen();
    const subscription = new EventSubscription({
      ...options,
      clock,
      pollMs,
      onCounted,
      handler,
      nextPage: async (afterPosition) =>
        this.#closing === null ? (await connections.rows<Row>(this.#statements.page, [afterPosition, pageMax])).map(toEvent) : [],
    });
    this.#subscriptions.add(subscription);
    return async () => {
      this.#subscriptions.delete(subscription);
      await subscription.stop();
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.stop()));
    await this.#listener?.stop();
    await this.#appends.idle();
    await this.#parts.connections.close();
  }

  #listen(): EventListener {
    const { clock, onCounted, connections, schema } = this.#parts;
    return new EventListener({
      channel: channelOf(schema),
      clock,
      onCounted,
      connection: () => connections.single(),
      onArrival: () => {
        for (const subscription of this.#subscriptions) subscription.announce();
      },
    });
  }

  /** Resolves when the append has an outcome. Whoever is told that it did not come in time is told so for good, unless it is on its way. */
  async #write(append: Append): Promise<void> {
    if (this.#appendsWaiting >= appendsWaitingMax) {
      this.#parts.onCounted("event_store_appends_refused", 1);
      throw new HeadwaterError("STORE_UNAVAILABLE", `${appendsWaitingMax} appends wait for ${this.#parts.address} already`);
    }
    this.#appendsWaiting += 1;
    try {
      await this.#parts.connections.withinTime(() => this.#appends.add(append));
    } catch (error) {
      append.abandoned = true;
      throw error;
    } finally {
      this.#appendsWaiting -= 1;
    }
  }

  async #flush(appends: readonly Append[]): Promise<void> {
    const asked = appends.filter(({ abandoned }) => !abandoned);
    if (asked.length === 0) return;
    const rows = await this.#parts.connections.rows<[string, boolean]>(this.#statements.append, [
      asked.map(({ stream }) => stream),
      asked.map(({ expectedSequence }) => expectedSequence),
      asked.map(({ data }) => data.length),
      asked.flatMap(({ data }) => data),
    ]);
    invariant(rows.length === asked.length, "the database answers every append");
    for (const [index, [found, appended]] of rows.entries()) {
      const append = asked[index];
      if (append !== undefined) append.outcome = { found: Number(found), appended };
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the event store is closed");
  }
}

/** The schema's name was checked: it is a word. */
function statementsOf(schema: string) {
  return {
    append: `SELECT events_before, appended FROM ${schema}.append($1::text[], $2::bigint[], $3::integer[], $4::text[])`,
    read: `SELECT position, stream, sequence, data FROM ${schema}.event WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`,
    // ^@ takes the prefix literally, and uses the index where PostgreSQL can (15 and later).
    streams: `SELECT name FROM ${schema}.stream WHERE name ^@ $1`,
    page: `SELECT position, stream, sequence, data FROM ${schema}.event WHERE position > $1 ORDER BY position LIMIT $2`,
  };
}

function toEvent([position, stream, sequence, data]: Row): StoredEvent {
  return { position: Number(position), stream, sequence: Number(sequence), data: JSON.parse(data) };
}

/** The embedded EventStore: one SQLite file in the data directory (through libsql). */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import Database from "libsql";
import { compareCodeUnits } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, EventStore, StoredEvent } from "../../contract/port.ts";
import { EventSubscription } from "../event-subscription.ts";
import { migrate } from "./migrations.ts";

interface SqliteEventStoreOptions {
  /** The database file; its folder is created when missing. Only one process at a time may open it. */
  readonly file: string;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
}

/** Events that `read` answers unless told otherwise. */
const eventsMaxDefault = 10_000;
/** Events that a subscription reads at once. */
const pageMax = 256;

type Row = [position: number, stream: string, sequence: number, data: string];

/**
 * Opens the store and migrates it forward. Counters: `event_store_conflicts`, `event_store_handler_retried`,
 * `event_store_events_skipped`. Throws DATA_VERSION_UNKNOWN, STORE_UNAVAILABLE.
 */
export async function openSqliteEventStore(options: SqliteEventStoreOptions): Promise<EventStore> {
  await mkdir(dirname(options.file), { recursive: true });
  const database = unavailable(options.file, () => new Database(options.file, { timeout: 5_000 }));
  try {
    unavailable(options.file, () => {
      database.exec("PRAGMA journal_mode = WAL");
      // NORMAL writes the log at every commit but syncs it at checkpoints only: the kernel holds what was written, so SIGKILL of the
      // process loses nothing; a power failure may lose the last second, as design §4 allows, and never damages the file.
      database.exec("PRAGMA synchronous = NORMAL");
      migrate(database, options.file);
    });
  } catch (error) {
    database.close();
    throw error;
  }
  return new SqliteEventStore(options, database);
}

class SqliteEventStore implements EventStore {
  #options: SqliteEventStoreOptions;
  #database: Database.Database;
  #statements: ReturnType<typeof prepare>;
  #subscriptions = new Set<EventSubscription>();
  #closed = false;

  constructor(options: SqliteEventStoreOptions, database: Database.Database) {
    this.#options = options;
    this.#database = database;
    this.#statements = prepare(database);
  }

  async append(stream: string, events: readonly unknown[], options: { expectedSequence: number }): Promise<number> {
    this.#refuseWhenClosed();
    const data = events.map((event) => {
      const json = JSON.stringify(event);
      invariant(typeof json === "string", `an event of ${stream} has no JSON form`);
      return json;
    });
    const sequence = unavailable(this.#options.file, () => this.#write(stream, data, options.expectedSequence));
    for (const subscription of this.#subscriptions) subscription.announce();
    return sequence;
  }

  async read(stream: string, options: { afterSequence?: number; eventsMax?: number } = {}): Promise<StoredEvent[]> {
    this.#refuseWhenClosed();
    const { afterSequence = 0, eventsMax = eventsMaxDefault } = options;
    return unavailable(this.#options.file, () => (this.#statements.read.all(stream, afterSequence, eventsMax) as Row[]).map(toEvent));
  }

  async streams(prefix: string): Promise<string[]> {
    this.#refuseWhenClosed();
    const rows = unavailable(this.#options.file, () => this.#statements.streams.all([...prefix].length, prefix) as [string][]);
    return rows.map(([name]) => name).sort(compareCodeUnits);
  }

  async subscribe(
    options: { afterPosition: number; streamPrefix: string },
    handler: (event: StoredEvent) => Promise<void>,
  ): Promise<() => Promise<void>> {
    this.#refuseWhenClosed();
    const subscription = new EventSubscription({
      ...options,
      clock: this.#options.clock,
      // Nobody else writes into the file, so every append is announced.
      pollMs: null,
      onCounted: this.#options.onCounted,
      handler,
      nextPage: (afterPosition) => (this.#closed ? [] : this.#page(afterPosition)),
    });
    this.#subscriptions.add(subscription);
    return async () => {
      this.#subscriptions.delete(subscription);
      await subscription.stop();
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.stop()));
    this.#database.close();
  }

  #page(afterPosition: number): StoredEvent[] {
    return unavailable(this.#options.file, () => (this.#statements.page.all(afterPosition, pageMax) as Row[]).map(toEvent));
  }

  #write(stream: string, data: readonly string[], expectedSequence: number): number {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const rows = this.#statements.sequence.all(stream) as [number][];
      const sequence = rows[0]?.[0] ?? 0;
      if (sequence !== expectedSequence) {
        this.#options.onCounted("event_store_conflicts", 1);
        throw new HeadwaterError("CONFLICT", `${stream} has ${sequence} events, ${expectedSequence} were expected: read it again`);
      }
      for (const [index, json] of data.entries()) this.#statements.insert.run(stream, sequence + index + 1, json);
      if (data.length > 0) this.#statements.setSequence.run(stream, sequence + data.length);
      this.#database.exec("COMMIT");
      return sequence + data.length;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new HeadwaterError("STOPPING", "the event store is closed");
  }
}

/** Rows come as arrays: objects of `get()` carry an enumerable `_metadata` that is not ours. */
function prepare(database: Database.Database) {
  return {
    sequence: database.prepare("SELECT sequence FROM stream WHERE name = ?").raw(),
    setSequence: database.prepare(
      "INSERT INTO stream (name, sequence) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence",
    ),
    insert: database.prepare("INSERT INTO event (stream, sequence, data) VALUES (?, ?, ?)"),
    read: database
      .prepare("SELECT position, stream, sequence, data FROM event WHERE stream = ? AND sequence > ? ORDER BY sequence LIMIT ?")
      .raw(),
    streams: database.prepare("SELECT name FROM stream WHERE substr(name, 1, ?) = ?").raw(),
    page: database.prepare("SELECT position, stream, sequence, data FROM event WHERE position > ? ORDER BY position LIMIT ?").raw(),
  };
}

function toEvent([position, stream, sequence, data]: Row): StoredEvent {
  return { position, stream, sequence, data: JSON.parse(data) };
}

function unavailable<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof HeadwaterError) throw error;
    throw new HeadwaterError("STORE_UNAVAILABLE", `the event store ${file} failed: ${String(error)}`, { cause: error });
  }
}

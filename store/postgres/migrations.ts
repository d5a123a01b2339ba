/** The event store's schema in PostgreSQL as numbered migrations, and how to tell tables of ours from somebody else's. */
import type { ClientBase } from "pg";
import { HeadwaterError } from "../../contract/error.ts";

/** What our version table says of itself; a table of that name without it is not ours. */
const product = "headwater events";

/** Advisory locks of ours are pairs of this number ("Hdwt") and one made from the schema's name, so that installations do not wait for each other. */
const lockClass = 0x48647774;

/** A migration's statements for a place. */
type Migration = (place: Place) => string;

interface Place {
  /** The schema's name: a word of small letters, digits and `_`. */
  readonly schema: string;
  /** Second number of the advisory lock. */
  readonly lock: number;
  /** Server and database for messages. */
  readonly address: string;
}

/** On which channel appends to the store of a schema are announced. */
export function channelOf(schema: string): string {
  return `${schema}_event`;
}

/**
 * Migration n (from 1) brings a schema from version n − 1 to n. They are never changed, only added to.
 *
 * Why `append` is a function in the database: positions must rise in the order in which transactions become visible, or a subscriber that has
 * read up to position 7 would never see a position 6 that is committed later. So appends go one after another under an advisory lock
 * that PostgreSQL holds until the transaction is visible to all. As one statement it begins and ends in the server: a process that is
 * paused or cut off in the middle never keeps the lock from the others. `max(position) + 1` rather than a sequence leaves no holes,
 * and a restored backup needs no `setval`. Each statement inside sees what was committed before it began, so also all that was
 * committed while it waited for the lock (read committed, see `connections.ts`).
 */
export const migrations: readonly Migration[] = [
  ({ schema, lock }) => `
    CREATE TABLE ${schema}.stream (name text COLLATE "C" PRIMARY KEY, sequence bigint NOT NULL) WITH (fillfactor = 70);
    CREATE TABLE ${schema}.event (
      position bigint PRIMARY KEY,
      stream text COLLATE "C" NOT NULL,
      sequence bigint NOT NULL,
      data text NOT NULL,
      UNIQUE (stream, sequence)
    );
    COMMENT ON COLUMN ${schema}.event.data IS 'JSON as text, so that it is read as it was written; jsonb would sort keys and refuse \\u0000';
    CREATE FUNCTION ${schema}.append(streams text[], expected bigint[], counts integer[], contents text[])
    RETURNS TABLE (events_before bigint, appended boolean) LANGUAGE plpgsql AS $$
    DECLARE
      newest bigint;
      used integer := 0;
      wrote boolean := false;
    BEGIN
      PERFORM pg_advisory_xact_lock(${lockClass}, ${lock});
      IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
      END IF;
      SELECT coalesce(max(e.position), 0) INTO newest FROM ${schema}.event AS e;
      FOR item IN 1 .. cardinality(streams) LOOP
        events_before := coalesce((SELECT s.sequence FROM ${schema}.stream AS s WHERE s.name = streams[item]), 0);
        appended := events_before = expected[item];
        IF appended AND counts[item] > 0 THEN
          INSERT INTO ${schema}.event (position, stream, sequence, data)
            SELECT newest + n, streams[item], events_before + n, content
            FROM unnest(contents[used + 1 : used + counts[item]]) WITH ORDINALITY AS given(content, n);
          INSERT INTO ${schema}.stream (name, sequence) VALUES (streams[item], events_before + counts[item])
            ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence;
          newest := newest + counts[item];
          wrote := true;
        END IF;
        used := used + counts[item];
        RETURN NEXT;
      END LOOP;
      IF wrote THEN
        PERFORM pg_notify('${channelOf(schema)}', '');
      END IF;
    END $$;`,
];

/**
 * Brings the schema to the newest version in one transaction, alone. `steps` are those that this program knows. Throws DATA_VERSION_UNKNOWN
 * when the schema is newer, DATA_FOREIGN when a table or function there has one of our names and is not ours, and errors of PostgreSQL.
 */
export async function migrate(client: ClientBase, place: Place, steps: readonly Migration[] = migrations): Promise<void> {
  await client.query("BEGIN");
  try {
    // Waits for another process that migrates; the number beside the appends' own keeps the two apart.
    await client.query("SELECT pg_advisory_xact_lock($1, $2)", [lockClass + 1, place.lock]);
    await migrateAlone(client, place, steps);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

async function migrateAlone(client: ClientBase, place: Place, steps: readonly Migration[]): Promise<void> {
  const { schema, address } = place;
  const version = await versionOf(client, place);
  if (version > steps.length) {
    throw new HeadwaterError(
      "DATA_VERSION_UNKNOWN",
      `the schema ${schema} in ${address} has version ${version}, this Headwater knows up to ${steps.length}: start the newer version again, or use another database`,
    );
  }
  for (const migration of steps.slice(version)) await client.query(migration(place));
  if (version < steps.length) await client.query(`UPDATE ${schema}.version SET version = $1`, [steps.length]);
}

/** The version that is there; makes schema and version table where there is none yet. */
async function versionOf(client: ClientBase, place: Place): Promise<number> {
  const { schema } = place;
  const there = await client.query({ text: "SELECT to_regnamespace($1) IS NOT NULL", values: [schema], rowMode: "array" });
  // Not CREATE … IF NOT EXISTS: that asks for the right to create also where an administrator has made the schema for us.
  if (there.rows[0]?.[0] !== true) await client.query(`CREATE SCHEMA ${schema}`);
  const columns = await columnsOf(client, schema);
  if (columns.get("version") === "product,version") {
    const rows = await client.query({ text: `SELECT product, version FROM ${schema}.version`, rowMode: "array" });
    const [found, version] = (rows.rows[0] ?? []) as unknown[];
    if (rows.rows.length === 1 && found === product && typeof version === "number") {
      refuseDamaged(columns, place);
      return version;
    }
  }
  for (const table of ["version", "stream", "event"]) {
    if (columns.has(table)) throw foreign(`the table ${schema}.${table}`, place);
  }
  await client.query(`CREATE TABLE ${schema}.version (product text NOT NULL, version integer NOT NULL)`);
  await client.query(`INSERT INTO ${schema}.version VALUES ($1, 0)`, [product]);
  return 0;
}

/** Names of the columns of each table in the schema, sorted, with commas between them. */
async function columnsOf(client: ClientBase, schema: string): Promise<Map<string, string>> {
  const found = await client.query({
    text: `SELECT c.relname::text, string_agg(a.attname::text, ',' ORDER BY a.attname::text COLLATE "C")
           FROM pg_catalog.pg_class c
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           WHERE c.relnamespace = to_regnamespace($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY c.relname`,
    values: [schema],
    rowMode: "array",
  });
  return new Map(found.rows.map((row: unknown[]) => [String(row[0]), String(row[1] ?? "")]));
}

/** The version table is ours, but somebody has put other tables in the place of the others. */
function refuseDamaged(columns: ReadonlyMap<string, string>, place: Place): void {
  const needed = { stream: ["name", "sequence"], event: ["position", "stream", "sequence", "data"] };
  for (const [table, names] of Object.entries(needed)) {
    const found = columns.get(table)?.split(",") ?? [];
    if (names.some((name) => !found.includes(name))) throw foreign(`the table ${place.schema}.${table}`, place);
  }
}

function foreign(what: string, { address }: Place): HeadwaterError {
  return new HeadwaterError(
    "DATA_FOREIGN",
    `${what} in ${address} is not Headwater's event store: use another database, or rename what is in the way`,
  );
}

/** The event store's schema as numbered migrations; the number is SQLite's own `user_version`. */
import type Database from "libsql";
import { HeadwaterError } from "../../contract/error.ts";

/** Migration n (from 1) brings a database from version n − 1 to n. They are never changed, only added to. */
export const migrations: readonly string[] = [
  `CREATE TABLE stream (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE event (
     position INTEGER PRIMARY KEY AUTOINCREMENT,
     stream TEXT NOT NULL,
     sequence INTEGER NOT NULL,
     data TEXT NOT NULL,
     UNIQUE (stream, sequence)
   );`,
];

/**
 * Brings a database to the newest version, each step in a transaction. `steps` are those that this program knows. Throws DATA_VERSION_UNKNOWN
 * when the database is newer.
 */
export function migrate(database: Database.Database, file: string, steps: readonly string[] = migrations): void {
  const rows = database.prepare("PRAGMA user_version").raw().all() as [number][];
  const version = rows[0]?.[0] ?? 0;
  if (version > steps.length) {
    throw new HeadwaterError(
      "DATA_VERSION_UNKNOWN",
      `${file} has version ${version}, this Headwater knows up to ${steps.length}: start the newer version again, or use another data directory`,
    );
  }
  for (let next = version + 1; next <= steps.length; next += 1) {
    database.exec("BEGIN IMMEDIATE");
    try {
      database.exec(steps[next - 1] as string);
      // A pragma takes no bound parameter; the number is ours.
      database.exec(`PRAGMA user_version = ${next}`);
      database.exec("COMMIT");
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }
}

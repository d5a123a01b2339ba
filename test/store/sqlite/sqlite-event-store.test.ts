import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "libsql";
import { describe, expect, it } from "vitest";
import { SystemClock } from "../../../services/platform.ts";
import { migrate, migrations } from "../../../store/sqlite/migrations.ts";
import { openSqliteEventStore } from "../../../store/sqlite/sqlite-event-store.ts";
import { killedWriter } from "../../conformance/killed-writer.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";

describe("the SQLite event store", () => {
  const folder = useTemporaryFolder();

  function open(file: string) {
    return openSqliteEventStore({ file, clock: new SystemClock(), onCounted: () => undefined });
  }

  it("holds every acknowledged append, whole, after SIGKILL", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 2; round += 1) {
      const directory = join(folder.path, `round-${round}`);
      const acknowledged = await killedWriter("event-store", directory, 100 + round * 300);
      const store = await open(join(directory, "events.sqlite"));
      for (const n of acknowledged) expect(await store.read(`stream/${n}`)).toHaveLength(2);
      for (const stream of await store.streams("stream/")) expect(await store.read(stream)).toHaveLength(2);
      await store.close();
    }
  });

  it("refuses to start on a file of a newer version, and says what to do", async () => {
    const file = join(folder.path, "events.sqlite");
    await (await open(file)).close();
    const database = new Database(file);
    database.exec("PRAGMA user_version = 99");
    database.close();
    await expect(open(file)).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("newer") });
  });

  it("of an older version is migrated forward with what it holds, whole or not at all, and is then too new for the older program", async () => {
    const file = join(folder.path, "events.sqlite");
    const older = await open(file);
    await older.append("a", [{ n: 1 }], { expectedSequence: 0 });
    await older.close();
    const next = "ALTER TABLE event ADD COLUMN note TEXT NOT NULL DEFAULT 'old'";
    const database = new Database(file);
    expect(() => migrate(database, file, [...migrations, `${next}; ALTER TABLE nowhere ADD COLUMN x`])).toThrow(/nowhere/);
    database.close();
    const again = await open(file);
    expect(await again.read("a")).toMatchObject([{ position: 1, data: { n: 1 } }]);
    await again.close();
    const newer = new Database(file);
    migrate(newer, file, [...migrations, next]);
    migrate(newer, file, [...migrations, next]);
    expect(newer.prepare("SELECT data, note FROM event").all()).toEqual([{ data: '{"n":1}', note: "old" }]);
    newer.close();
    await expect(open(file)).rejects.toMatchObject({
      code: "DATA_VERSION_UNKNOWN",
      message: expect.stringContaining(`version ${migrations.length + 1}, this Headwater knows up to ${migrations.length}`),
    });
  });

  it("names a file that is no database", async () => {
    const file = join(folder.path, "events.sqlite");
    await writeFile(file, "this is not a database, and it is longer than a header of one would be. ".repeat(20));
    await expect(open(file)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining(file) });
  });
});

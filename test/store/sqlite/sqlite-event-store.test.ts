import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "libsql";
import { describe, expect, it } from "vitest";
import { SystemClock } from "../../../services/platform.ts";
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

  it("names a file that is no database", async () => {
    const file = join(folder.path, "events.sqlite");
    await writeFile(file, "this is not a database, and it is longer than a header of one would be. ".repeat(20));
    await expect(open(file)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining(file) });
  });
});

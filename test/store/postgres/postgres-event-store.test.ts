import { execFile } from "node:child_process";
import { connect as connectSocket, createServer, type Server, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Clock, EventStore, StoredEvent } from "../../../contract/port.ts";
import { freePort } from "../../../lab/guarded-server.ts";
import { SystemClock } from "../../../services/platform.ts";
import { migrate, migrations } from "../../../store/postgres/migrations.ts";
import { openPostgresEventStore } from "../../../store/postgres/postgres-event-store.ts";
import { noPostgres, type PostgresServer, startPostgresServer } from "../../conformance/postgres-server.ts";
import { Counts, until } from "../../conformance/temporary.ts";

const system = new SystemClock();
const fromStart = { afterPosition: 0, streamPrefix: "" };
const numbers = (from: number, through: number) => Array.from({ length: through - from + 1 }, (_, index) => from + index);

if (noPostgres !== null) console.warn(`PostgreSQL is not tested: ${noPostgres}`);

describe.skipIf(noPostgres !== null)("the PostgreSQL event store", () => {
  let server: PostgresServer;
  let schema: string;
  let counts: Counts;
  const cleanups: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    server = await startPostgresServer();
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
  });
  beforeEach(() => {
    schema = server.freshSchema();
    counts = new Counts();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    await server.drop(schema);
  });

  async function open(options: { url?: string; clock?: Clock } = {}): Promise<EventStore> {
    const store = await openPostgresEventStore({ url: server.url, schema, clock: system, onCounted: counts.onCounted, ...options });
    cleanups.push(() => store.close());
    return store;
  }

  /** The server's address with something else in it. */
  function urlWith(change: (url: URL) => void): string {
    const url = new URL(server.url);
    change(url);
    return url.href;
  }

  async function listening(onConnection: (socket: Socket) => void): Promise<number> {
    const listener: Server = createServer(onConnection);
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const sockets = new Set<Socket>();
    listener.on("connection", (socket) => sockets.add(socket));
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise<void>((resolve) => void listener.close(() => resolve()));
    });
    const address = listener.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  it("gives eight writers in two processes one stream without a hole, each event where its writer expected it", async () => {
    await open();
    const script = fileURLToPath(new URL("./stream-writers.ts", import.meta.url));
    const run = () => promisify(execFile)(process.execPath, ["--import", "tsx", script, server.url, schema, "4", "25"]);
    const outputs = await Promise.all([run(), run()]);
    const conflicts = outputs.flatMap(({ stdout }) => JSON.parse(stdout) as number[]);
    expect(conflicts).toHaveLength(8);
    expect(conflicts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    const events = await (await open()).read("one");
    expect(events.map(({ sequence }) => sequence)).toEqual(numbers(1, 400));
    expect(events.map(({ position }) => position)).toEqual(numbers(1, 400));
    expect(new Set(events.map(({ data }) => data)).size).toBe(400);
    // The two events of an append lie side by side.
    for (let index = 0; index < 400; index += 2) {
      expect(String(events[index + 1]?.data)).toBe(String(events[index]?.data).replace(/a$/, "b"));
    }
  }, 60_000);

  it("gives a subscriber each event once, by position, while several processes' worth of connections append", async () => {
    const stores = await Promise.all(Array.from({ length: 5 }, () => open()));
    const reader = await open();
    const got: StoredEvent[] = [];
    const writing = stores.map(async (store, writer) => {
      for (let n = 0; n < 60; n += 1) {
        await Promise.all(
          ["x", "y"].map((name) => store.append(`${name}/${writer}`, numbers(1, 1 + (n % 3)), { expectedSequence: lengthBefore(n) })),
        );
        if (n % 10 === 0)
          await expect(store.append(`x/${writer}`, ["late"], { expectedSequence: 0 })).rejects.toMatchObject({ code: "CONFLICT" });
      }
    });
    const stop = await reader.subscribe(fromStart, async (event) => void got.push(event));
    await Promise.all(writing);
    const count = 5 * 2 * lengthBefore(60);
    await until("the subscriber has everything", () => got.length >= count);
    expect(got.map(({ position }) => position)).toEqual(numbers(1, count));
    await stop();
  });

  it("hears of an append by another connection without looking again, and looks again where nobody announced", async () => {
    // Never calls back for the poll.
    const deaf: Clock = {
      nowMs: () => system.nowMs(),
      schedule: (ms, call) => (ms === 2_000 ? () => undefined : system.schedule(ms, call)),
    };
    const [writer, told, looking] = [await open(), await open({ clock: deaf }), await open()];
    const heard: unknown[] = [];
    const seen: unknown[] = [];
    await told.subscribe(fromStart, async ({ data }) => void heard.push(data));
    await looking.subscribe(fromStart, async ({ data }) => void seen.push(data));
    await writer.append("a", [1], { expectedSequence: 0 });
    await until("the announcement has come", () => heard.length === 1 && seen.length === 1);
    await server.run(`INSERT INTO ${schema}.event VALUES (2, 'a', 2, '"unannounced"')`);
    await until("the poll has found it", () => seen.length === 2);
    expect(heard).toEqual([1]);
  });

  it("listens again and catches up when its connections are ended", async () => {
    const [writer, reader] = [await open(), await open()];
    const got: unknown[] = [];
    await reader.subscribe(fromStart, async ({ data }) => void got.push(data));
    await writer.append("a", [1], { expectedSequence: 0 });
    await until("the first event has come", () => got.length === 1);
    await server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headwater'");
    await until("the append is written", async () => (await writer.append("a", [2], { expectedSequence: 1 }).catch(() => 0)) === 2);
    await until("the second event has come", () => got.length === 2);
    expect(got).toEqual([1, 2]);
    expect(counts.of("event_store_listener_lost")).toBeGreaterThan(0);
  });

  it("keeps the text of an event as it was written", async () => {
    const store = await open();
    const event = { z: 1, a: [1e21, -0.1, 0.30000000000000004], text: "\u0000 \ud800 \u{1F600} '\"\\{}," };
    await store.append("a", [event, { ...event, "": "NULL" }], { expectedSequence: 0 });
    const [first] = await store.read("a");
    expect(JSON.stringify(first?.data)).toBe(JSON.stringify(event));
    expect(await server.run(`SELECT data FROM ${schema}.event ORDER BY position LIMIT 1`)).toEqual([[JSON.stringify(event)]]);
  });

  it("refuses a name that PostgreSQL cannot keep, and finds nothing under it", async () => {
    const store = await open();
    await expect(store.append("a\0", [1], { expectedSequence: 0 })).rejects.toMatchObject({ code: "REQUEST_INVALID" });
    expect(await store.read("a\0")).toEqual([]);
    expect(await store.streams("\0")).toEqual([]);
  });

  it("can be opened by several at once on an empty database, and again", async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => open()));
    for (const [index, store] of stores.entries()) await store.append("a", [index], { expectedSequence: index });
    expect((await (await open()).read("a")).map(({ data }) => data)).toEqual([0, 1, 2, 3]);
  });

  it("refuses a schema of a newer version, and says what to do", async () => {
    await open();
    await server.run(`UPDATE ${schema}.version SET version = 99`);
    await expect(open()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("newer") });
  });

  it("migrates an older schema forward with what it holds, whole or not at all; then it is too new for the older program", async () => {
    const older = await open();
    await older.append("a", [{ n: 1 }], { expectedSequence: 0 });
    const next = `ALTER TABLE ${schema}.event ADD COLUMN note text NOT NULL DEFAULT 'old'`;
    const client = new Client({ connectionString: server.url });
    await client.connect();
    cleanups.push(() => client.end());
    const place = { schema, lock: 1, address: "here" };
    await expect(migrate(client, place, [...migrations, () => `${next}; ALTER TABLE nowhere ADD COLUMN x text`])).rejects.toThrow(
      /nowhere/,
    );
    expect(await (await open()).read("a")).toMatchObject([{ position: 1, data: { n: 1 } }]);
    for (let times = 0; times < 2; times += 1) await migrate(client, place, [...migrations, () => next]);
    expect(await server.run(`SELECT data, note FROM ${schema}.event`)).toEqual([['{"n":1}', "old"]]);
    await expect(open()).rejects.toMatchObject({
      code: "DATA_VERSION_UNKNOWN",
      message: expect.stringContaining(`version ${migrations.length + 1}, this Headwater knows up to ${migrations.length}`),
    });
  });

  it("refuses tables of somebody else that have our names, and leaves them alone", async () => {
    for (const table of [
      "event (id int)",
      "stream (name text, sequence bigint)",
      "version (version int)",
      "version (product text, version int)",
    ]) {
      await server.run(`CREATE SCHEMA ${schema}`);
      await server.run(`CREATE TABLE ${schema}.${table}`);
      await expect(open()).rejects.toMatchObject({ code: "DATA_FOREIGN", message: expect.stringContaining(`${schema}.`) });
      expect(await server.run(`SELECT count(*)::int FROM pg_tables WHERE schemaname = '${schema}'`)).toEqual([[1]]);
      await server.drop(schema);
    }
    await open();
    await server.run(`DROP TABLE ${schema}.event`);
    await expect(open()).rejects.toMatchObject({ code: "DATA_FOREIGN" });
  });

  it("says who refused it: wrong password, no password, missing database, missing right, wrong encoding", async () => {
    await server.run("CREATE ROLE guest LOGIN PASSWORD 'right'");
    await server.run("CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0");
    await server.run(
      `COPY (SELECT unnest(ARRAY['host all guest 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust']))
       TO '${String((await server.run("SHOW hba_file"))[0]?.[0])}'`,
    );
    await server.run("SELECT pg_reload_conf()");
    const as = (user: string, password: string) =>
      urlWith((url) => {
        url.username = user;
        url.password = password;
      });
    const refusal = async (url: string) => {
      const error = (await open({ url }).catch((reason: unknown) => reason)) as { code: string; message: string; retriable: boolean };
      expect(error.message).not.toMatch(/secret|right:|:right/);
      expect(error.message).toContain(new URL(server.url).host);
      return error;
    };
    await until("the new rules are in force", async () => (await refusal(as("guest", "wrong-secret"))).code === "SERVER_REFUSED");
    expect(await refusal(as("guest", "wrong-secret"))).toMatchObject({ code: "SERVER_REFUSED", retriable: false });
    expect(await refusal(as("guest", ""))).toMatchObject({ code: "SERVER_REFUSED" });
    const withoutRight = await refusal(as("guest", "right"));
    expect(withoutRight).toMatchObject({ code: "SERVER_REFUSED", message: expect.stringContaining("GRANT CREATE ON DATABASE") });
    const nowhere = urlWith((url) => {
      url.pathname = "/nowhere";
    });
    expect(await refusal(nowhere)).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("createdb") });
    const latin = urlWith((url) => {
      url.pathname = "/latin";
    });
    expect(await refusal(latin)).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("UTF8") });
    const tls = urlWith((url) => url.searchParams.set("sslmode", "require"));
    expect(await refusal(tls)).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("TLS") });
    // An administrator who makes the schema gives no right on the database.
    await server.run(`CREATE SCHEMA ${schema} AUTHORIZATION guest`);
    const store = await open({ url: as("guest", "right") });
    expect(await store.append("a", [1], { expectedSequence: 0 })).toBe(1);
  });

  it("refuses a server that is too old", async () => {
    const version = String((await server.run("SHOW server_version_num"))[0]?.[0]);
    // What the real server says, but for its version.
    const port = await listening((socket) => {
      const upstream = connectSocket(Number(new URL(server.url).port), "127.0.0.1");
      socket.on("error", () => upstream.destroy()).pipe(upstream);
      upstream.on("error", () => socket.destroy());
      upstream.on("data", (chunk) => socket.write(Buffer.from(chunk.toString("latin1").replace(version, "120022"), "latin1")));
    });
    const url = urlWith((old) => {
      old.port = String(port);
    });
    await expect(open({ url })).rejects.toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("version 12; 13") });
  });

  it("says within its time that nobody answers, without the password", async () => {
    const away = `postgres://me:secret@127.0.0.1:${await freePort()}/events`;
    const silent = `postgres://me:secret@127.0.0.1:${await listening(() => undefined)}/events`;
    for (const url of [away, silent]) {
      const begin = performance.now();
      const error = (await open({ url }).catch((reason: unknown) => reason)) as Error;
      expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", retriable: true });
      expect(error.message).toContain(`${new URL(url).host}/events`);
      expect(error.message).not.toContain("secret");
      expect(performance.now() - begin).toBeLessThan(7_000);
    }
  }, 20_000);
});

/** Events in a stream before its n-th append. */
function lengthBefore(n: number): number {
  return Array.from({ length: n }, (_, earlier) => 1 + (earlier % 3)).reduce((sum, count) => sum + count, 0);
}

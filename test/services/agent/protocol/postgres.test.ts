import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningPostgres } from "../../../../lab/servers.ts";
import { postgresMissing, startPostgres } from "../../../../lab/servers.ts";
import type { Passage } from "./recorded-stream.ts";
import { feed, passages, said, startRecorder, timeless } from "./recorded-stream.ts";

const client = { role: "client" as const, port: 5432 };
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });

function message(type: string, ...parts: readonly (string | number)[]): string {
  const body = parts.map((part) => (typeof part === "string" ? part : String.fromCharCode(part))).join("");
  return type + int32(body.length + 4) + body;
}

function int32(value: number): string {
  return String.fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

const ready = message("Z", "I");
const startup = (() => {
  const body = `${int32(196_608)}user\0me\0\0`;
  return int32(body.length + 4) + body;
})();
const welcome = message("R", int32(0)) + message("S", "a\0b\0") + message("K", int32(1), int32(2)) + ready;
const opened = [
  ["client", startup],
  ["server", welcome],
] as const;
const query = (text: string) => message("Q", `${text}\0`);
const done = (tag: string) => message("C", `${tag}\0`);
const failure = (state: string) => message("E", `SERROR\0VERROR\0C${state}\0Mno\0\0`);
const execute = (statement: string, name = "") =>
  message("P", `${name}\0${statement}\0`, 0, 0) +
  message("B", `\0${name}\0`, 0, 0, 0, 0, 0, 0) +
  message("D", "P\0") +
  message("E", "\0", int32(0));
const sync = message("S");
const executed = (tag: string) => message("1") + message("2") + message("T", 0, 0) + message("D", 0, 0) + done(tag);

describe("PostgreSQL from examples", () => {
  it("counts each statement of a simple query, none for an empty one", () => {
    const list = passages(
      ...opened,
      ["client", query("select 1 from a; delete from b")],
      ["server", message("T", 0, 0) + message("D", 0, 0) + done("SELECT 1") + done("DELETE 3") + ready],
      ["client", query("")],
      ["server", message("I") + ready],
      ["client", query("select 1 from a; select 2 from nothere; select 3")],
      ["server", done("SELECT 1") + failure("42P01") + ready],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["SELECT a OK", "DELETE b OK", "SELECT a OK", "SELECT nothere 42P01 failed"]);
    expect(parser).toMatchObject({ inFlight: 0, dropped: 0, orphans: 0 });
  });

  it("counts each Execute of a pipelined group; what is skipped behind an error is none", () => {
    const list = passages(
      ...opened,
      [
        "client",
        execute("select 1 from a") + execute("update b set x = 1") + execute("select 2 from c") + sync + execute("select 3 from d") + sync,
      ],
      ["server", executed("SELECT 1") + failure("23505") + ready + executed("SELECT 1") + ready],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["SELECT a OK", "UPDATE b 23505 failed", "SELECT d OK"]);
    expect(parser).toMatchObject({ inFlight: 0, dropped: 0, orphans: 0 });
  });

  it("names a prepared statement when it is executed, a failed Parse by its statement, and a portal's fetches once", () => {
    const bind = message("B", "p\0s\0", 0, 0, 0, 0, 0, 0);
    const fetch = message("E", "p\0", int32(2));
    const list = passages(
      ...opened,
      ["client", message("P", "s\0select * from orders\0", 0, 0) + message("D", "Ss\0") + sync],
      ["server", message("1") + message("t", 0, 0) + message("T", 0, 0) + ready],
      ["client", bind + fetch + message("H")],
      ["server", message("2") + message("D", 0, 0) + message("s")],
      ["client", fetch + sync],
      ["server", message("D", 0, 0) + done("SELECT 3") + ready],
      ["client", message("P", "x\0select * from nothere\0", 0, 0) + sync],
      ["server", failure("42P01") + ready],
    );
    expect(said(feed(list, [], client).exchanges)).toEqual(["SELECT orders OK", "SELECT nothere 42P01 failed"]);
  });

  it("knows COPY in both directions, notices, and goes by the tag where the statement was not seen", () => {
    const list = passages(
      ...opened,
      ["client", query("copy orders from stdin")],
      ["server", message("G", 0, 0, 0)],
      ["client", message("d", "1\t2\n") + message("d", "3\t4\n") + message("c")],
      ["server", message("N", "SNOTICE\0\0") + done("COPY 2") + ready],
      ["client", query("copy orders to stdout")],
      ["server", message("H", 0, 0, 0) + message("d", "1\t2\n") + message("c") + done("COPY 1") + ready],
      ["client", message("B", "\0unseen\0", 0, 0, 0, 0, 0, 0) + message("E", "\0", int32(0)) + sync],
      ["server", message("2") + done("INSERT 0 1") + ready],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["COPY orders OK", "COPY orders OK", "INSERT OK"]);
    expect(parser).toMatchObject({ inFlight: 0, orphans: 0 });
  });

  it("ignores the Sync that is sent with an extended COPY, as the server does", () => {
    const copy = [
      ["client", execute("copy orders from stdin") + sync],
      ["server", message("1") + message("2") + message("n") + message("G", 0, 0, 0)],
      ["client", message("d", "1\t2\n") + message("c") + sync],
      ["server", done("COPY 1") + ready],
    ] as const;
    const { exchanges, parser } = feed(
      passages(...opened, ...copy, ...copy, ["client", query("select 1")], ["server", done("SELECT 1") + ready]),
      [],
      client,
    );
    expect(said(exchanges)).toEqual(["COPY orders OK", "COPY orders OK", "SELECT OK"]);
    expect(parser).toMatchObject({ inFlight: 0, orphans: 0, dropped: 0 });
  });

  it("is opaque once TLS is agreed, goes on when it is refused, and tells refused logins", () => {
    const ssl = int32(8) + int32(80_877_103);
    expect(feed(passages(["client", ssl], ["server", "S"], ["client", "\x16\x03\x01"]), [], client).parser.opaque).toBe("TLS");
    const refused = feed(passages(["client", ssl], ["server", "N"], ["client", startup], ["server", failure("28P01")]), [], client);
    expect(said(refused.exchanges)).toEqual(["connect 28P01 failed"]);
    const cancelled = feed(passages(["client", int32(16) + int32(80_877_102) + int32(1) + int32(2)]), [], client);
    expect(cancelled.parser).toMatchObject({ inFlight: 0, unparseable: 0 });
  });

  it("survives negative and huge lengths", () => {
    for (const length of [-1, 0, 3, 0x7fff_ffff]) {
      const { parser } = feed(passages(...opened, ["client", `Q${int32(length)}`]), [], client);
      expect(parser.unparseable).toBe(1);
      expect(parser.bufferedBytes).toBe(0);
    }
  });

  it("keeps its counts when rows are cut, and names what was cut by its beginning", () => {
    const rows = message("T", "x".repeat(40)) + message("D", "y".repeat(90)).repeat(20) + done("SELECT 20") + ready;
    const round = [
      ["client", query("select * from orders")],
      ["server", rows],
    ] as const;
    const small = [
      ["client", query("select 1")],
      ["server", done("SELECT 1") + ready],
    ] as const;
    const list = passages(...opened, ...Array.from({ length: 16 }, () => small).flat(), ...Array.from({ length: 10 }, () => round).flat());
    const { exchanges, parser } = feed(list, [], { ...client, capturedMax: 256 });
    expect(said(exchanges).slice(16)).toEqual(Array.from({ length: 10 }, () => "SELECT orders OK"));
    expect(parser).toMatchObject({ dropped: 0, cut: 10 });
    const long = [
      ["client", execute(`select ${"a, ".repeat(300)} b from orders`) + sync],
      ["server", executed("SELECT 1") + ready],
    ] as const;
    const many = feed(
      passages(...opened, ...Array.from({ length: 16 }, () => small).flat(), ...Array.from({ length: 6 }, () => long).flat()),
      [],
      { ...client, capturedMax: 256 },
    );
    expect(said(many.exchanges).slice(16)).toEqual(Array.from({ length: 6 }, () => "SELECT OK"));
    expect(many.parser.dropped).toBe(0);
  });

  it("pairs nothing wrongly behind holes", () => {
    const list = passages(
      ...opened,
      ...Array.from(
        { length: 30 },
        (_, index) =>
          [
            ["client", query(`select 1 from t${index % 9}`)],
            ["server", failure(`4200${index % 9}`) + ready],
          ] as const,
      ).flat(),
    );
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 200 }), { maxLength: 20 }), sizes, (lost, cuts) => {
        for (const exchange of feed(list, cuts, { ...client, lost: new Set(lost) }).exchanges) {
          if (/\d$/.test(exchange.operation) && exchange.status !== "unknown")
            expect(exchange.status.at(-1)).toBe(exchange.operation.at(-1));
        }
      }),
    );
  });
});

const missing = postgresMissing();

describe.skipIf(missing !== null)("PostgreSQL as pg and the server speak it", () => {
  let server: RunningPostgres;
  let recorded: Passage[] = [];
  const calls = new Map<string, number>();

  beforeAll(async () => {
    server = await startPostgres();
    const url = new URL(server.url);
    const recorder = await startRecorder({ port: Number(url.port), host: url.hostname });
    url.port = String(recorder.port);
    const connection = new pg.Client({ connectionString: url.href });
    await connection.connect();
    const count = (name: string) => calls.set(name, (calls.get(name) ?? 0) + 1);
    const run = async (name: string, work: () => Promise<unknown>) => {
      count(name);
      await work().catch(() => undefined);
    };
    await run("CREATE orders", () => connection.query("create table orders (id int primary key, note text)"));
    for (let index = 0; index < 30; index += 1) {
      await run("INSERT orders", () => connection.query("insert into orders values ($1, $2)", [index, "x".repeat(index * 40)]));
      await run("SELECT orders", () => connection.query({ name: "find", text: "select * from orders where id = $1", values: [index] }));
    }
    await run("SELECT orders", () => connection.query("select * from orders"));
    await run("INSERT orders", () => connection.query("insert into orders values (1, 'again')"));
    await run("SELECT nothere", () => connection.query("select $1::int from nothere", [1]));
    count("BEGIN");
    count("UPDATE orders");
    count("COMMIT");
    await connection.query("begin; update orders set note = 'secret'; commit");
    await Promise.all(Array.from({ length: 20 }, () => run("SELECT", () => connection.query("select 1"))));
    await run("DO", () => connection.query("do $$ begin raise notice 'hello'; end $$"));
    await connection.end();
    await recorder.close();
    recorded = recorder.connections[0] ?? [];
  });

  afterAll(async () => {
    await server?.stop();
  });

  it("counts each statement once under its name, at both ends", () => {
    for (const role of ["client", "server", "unknown"] as const) {
      const { exchanges, parser } = feed(recorded, [], { role });
      const found = new Map<string, number>();
      for (const exchange of exchanges) found.set(exchange.operation, (found.get(exchange.operation) ?? 0) + 1);
      expect(found).toEqual(calls);
      expect(exchanges.filter((exchange) => exchange.failed === "yes").map((exchange) => exchange.status)).toEqual(["23505", "42P01"]);
      expect(parser).toMatchObject({ inFlight: 0, dropped: 0, orphans: 0, unparseable: 0, role: role === "unknown" ? "client" : role });
    }
  });

  it("answers the same however the bytes are cut", () => {
    const whole = timeless(feed(recorded, [], client).exchanges);
    fc.assert(
      fc.property(sizes, (cuts) => {
        expect(timeless(feed(recorded, cuts, client).exchanges)).toEqual(whole);
      }),
      { numRuns: 40 },
    );
  });
});

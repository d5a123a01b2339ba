/** What each protocol tells of the requests that a connection took along, and of which it keeps silent. */
import { describe, expect, it } from "vitest";
import type { Ending, Exchange } from "../../../../services/agent/protocol/exchange.ts";
import { httpTurn } from "../../../../services/agent/protocol/http1.ts";
import { OperationNames } from "../../../../services/agent/protocol/operation-names.ts";
import { type FeedOptions, feed, passages } from "./recorded-stream.ts";
import { command } from "./resp-examples.ts";

type Said = readonly ["client" | "server", string];

const int32 = (value: number) => String.fromCharCode((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
const message = (type: string, body: string) => type + int32(body.length + 4) + body;
const frame = (type: number, flags: number, stream: number, payload = "") =>
  String.fromCharCode(0, 0, payload.length, type, flags) + int32(stream) + payload;
const kafka = (key: number, correlation: number) => `\0\0\0\x0e\0${String.fromCharCode(key)}\0\0${int32(correlation)}\0\x04test`;

/** Fed until its end at 5 s. */
function ended(list: readonly Said[], options: Partial<FeedOptions> = {}, ending: Ending = "closed") {
  const { parser } = feed(passages(...list), [], { role: "client", ...options });
  const exchanges = parser.end(ending, 5e9);
  return { exchanges, parser, operations: exchanges.map(({ operation }) => operation) };
}

describe("a turn without an answer", () => {
  const turn = { requestNs: 5, responseNs: 90, requestBytes: 30, responseBytes: 0, response: new Uint8Array(0) };
  const request = Buffer.from("GET /orders/17 HTTP/1.1\r\n\r\n");

  it.each([
    [32, "closed"],
    [32 | 16, "closed"],
    [32 | 64, "reset"],
  ])("is a failed exchange (flags %i: %s) from the request's first byte to the close", (flags, unanswered) => {
    expect(httpTurn({ ...turn, request, flags }, new OperationNames())).toEqual({
      ...{ protocol: "http", operation: "GET /orders/{id}", status: "", failed: "yes", unanswered },
      ...{ startNs: 5, endNs: 90, requestBytes: 30, responseBytes: 0 },
    });
  });

  it("is none where the request is not HTTP, or where nothing says that it was not answered", () => {
    expect(httpTurn({ ...turn, request: Buffer.from("nonsense"), flags: 32 }, new OperationNames())).toBeNull();
    expect(httpTurn({ ...turn, request, flags: 0 }, new OperationNames())).toBeNull();
  });
});

describe("a stream that ends", () => {
  const redis: Said[] = [
    ["client", command("GET", "a")],
    ["server", "$-1\r\n"],
    ["client", command("SET", "a", "b") + command("INCR", "c")],
  ];
  const greeting: Said[] = [
    ["client", `${int32(16)}\0\x03\0\0user\0a\0\0`.slice(0, 16)],
    ["server", message("R", int32(0)) + message("Z", "I")],
  ];

  it("answers what is in flight, each with its own beginning, and drops nothing", () => {
    const { exchanges, parser } = ended(redis, { atNs: (passage) => 1e9 * (passage + 1) });
    const whole = {
      protocol: "redis",
      status: "",
      failed: "yes",
      unanswered: "closed",
      startNs: 3e9,
      endNs: 5e9,
      responseBytes: 0,
    } as const;
    expect(exchanges).toMatchObject([
      { ...whole, operation: "SET" },
      { ...whole, operation: "INCR" },
    ] satisfies Partial<Exchange>[]);
    expect(parser).toMatchObject({ inFlight: 0, dropped: 0 });
    expect(parser.end("closed", 6e9)).toEqual([]);
  });

  it("tells how it ended", () => {
    expect(ended(redis, {}, "reset").exchanges.map(({ unanswered }) => unanswered)).toEqual(["reset", "reset"]);
  });

  it.each<[string, Said[], string[]]>([
    ["nothing of a connection that is idle", redis.slice(0, 2), []],
    ["nothing of commands that wait for something to happen", [...redis.slice(0, 2), ["client", command("BLPOP", "q", "0")]], []],
    ["a request of HTTP/1 beside another", [["client", "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"]], ["GET /a", "GET /b"]],
    [
      "statements of PostgreSQL, and no Sync",
      [...greeting, ["client", message("P", "\0delete from a\0\0\0") + message("B", "\0\0\0\0\0\0\0\0") + message("E", "\0\0\0\0\0")]],
      ["DELETE a"],
    ],
    ["the Sync behind a statement of PostgreSQL is none", [...greeting, ["client", message("S", "")]], []],
    [
      "the statement of a simple query that is not answered yet",
      [...greeting, ["client", message("Q", "select 1 from a\0")]],
      ["SELECT a"],
    ],
    [
      "calls of Kafka, but none that waits for messages",
      [
        ["client", kafka(3, 1)],
        ["server", `\0\0\0\x08${int32(1)}\0\0\0\0`],
        ["client", kafka(3, 2)],
        ["server", `\0\0\0\x08${int32(2)}\0\0\0\0`],
        ["client", kafka(1, 3) + kafka(9, 4)],
      ],
      ["OffsetFetch"],
    ],
    [
      "streams of HTTP/2 without an answer, and none whose answer has begun",
      [
        ["client", `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${frame(4, 0, 0)}${frame(1, 5, 1, "\x82\x84")}${frame(1, 5, 3, "\x83\x84")}`],
        ["server", frame(4, 0, 0) + frame(1, 4, 1, "\x88")],
      ],
      ["POST /"],
    ],
  ])("tells %s", (_, list, operations) => {
    expect(ended(list).operations).toEqual(operations);
  });

  it("keeps silent where an answer may have been among lost records, and gives up what waited, counted", () => {
    const answers = feed(passages(...redis.slice(0, 2), redis[2] ?? ["client", ""], ["server", "+OK\r\n"], ["server", ":1\r\n"]), [], {
      role: "client",
      lost: new Set([3]),
    });
    expect(answers.parser.end("closed", 5e9)).toEqual([]);
    answers.parser.close();
    expect(answers.parser.dropped).toBeGreaterThan(0);
    expect(ended(redis.slice(2), { existing: true }).exchanges).toEqual([]);
  });
});

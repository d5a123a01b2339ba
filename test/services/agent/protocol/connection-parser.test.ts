import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classify } from "../../../../services/agent/protocol/classify.ts";
import { ConnectionParser } from "../../../../services/agent/protocol/connection-parser.ts";
import { OperationNames } from "../../../../services/agent/protocol/operation-names.ts";
import type { Passage } from "./recorded-stream.ts";
import { feed, parserFor, passages, pieces, said } from "./recorded-stream.ts";
import { command } from "./resp-examples.ts";

const bytesOf = (text: string) => Buffer.from(text, "latin1");
const first = (text: string, port = 0) => classify({ side: null, data: bytesOf(text), bytes: text.length, port, transport: "tcp" });

describe("telling protocols apart", () => {
  it.each([
    ["\x16\x03\x01\x02\x00\x01\x00", null],
    ["SSH-2.0-OpenSSH", null],
    ["GET / HTTP/1.1\r\n", "http"],
    ["HTTP/1.1 200 OK\r\n", "http"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"],
    ["*1\r\n$4\r\nPING\r\n", "redis"],
    ["+OK\r\n", "redis"],
    ["\0\0\0\x08\x04\xd2\x16\x2f", "postgresql"],
    ["\0\0\0\x11\0\x03\0\0user\0me\0\0", "postgresql"],
    ["Q\0\0\0\x0dselect 1\0", "postgresql"],
    ["Z\0\0\0\x05I", "postgresql"],
    ["\0\0\0\x12\0\x12\0\x02\0\0\0\x01\0\x04testxxxx", "kafka"],
    ["\x0a\0\0\0\x03select 1;", "mysql"],
    ["\0\0\0", "unknown"],
    ["", "unknown"],
    ["hello", "unknown"],
  ])("%j", (text, protocol) => {
    const guess = first(text);
    expect(typeof guess === "object" && guess !== null ? guess.protocol : guess).toBe(protocol);
  });

  it("goes by the port where two protocols fit, and believes no weak sign of another one on a known port", () => {
    expect(first("+OK\r\n", 5432)).toBe("unknown");
    expect(first("PING\r\n", 6379)).toMatchObject({ protocol: "redis", strength: "likely" });
    expect(first("PING\r\n")).toBe("unknown");
  });

  it("tells nothing of a weak guess before a second exchange agrees", () => {
    const kafka = (key: number, correlation: number) =>
      `\0\0\0\x0e\0${String.fromCharCode(key)}\0\0\0\0\0${String.fromCharCode(correlation)}\0\x04test`;
    const answer = (correlation: number) => `\0\0\0\x08\0\0\0${String.fromCharCode(correlation)}\0\0\0\0`;
    const parser = parserFor({ role: "client" });
    const counts = pieces(passages(["client", kafka(3, 1)], ["server", answer(1)], ["client", kafka(3, 2)], ["server", answer(2)]), [], {
      role: "client",
    }).map((piece) => parser.chunk(piece).length);
    expect(counts).toEqual([0, 0, 0, 2]);
    expect(parser.protocol).toBe("kafka");
  });

  it("changes its mind once when a connection turns out to be something else", () => {
    const redis = [
      ["client", command("PING")],
      ["server", "+PONG\r\n"],
    ] as const;
    const http = [
      ["client", "GET /a HTTP/1.1\r\n\r\n"],
      ["server", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    ] as const;
    const many = Array.from({ length: 12 }, () => http).flat();
    const { exchanges, parser } = feed(passages(...redis, ...many), [], {
      role: "client",
      atNs: (passage) => 1e9 + passage * 1_000 + Math.floor(passage / 2) * 20_000_000,
    });
    expect(said(exchanges).at(0)).toBe("PING OK");
    expect(said(exchanges).at(-1)).toBe("GET /a 200");
    expect(parser.protocol).toBe("http");
  });

  it("corrects the role of a connection that was there before, and doubts no role that was seen", () => {
    const round = [
      ["client", "GET /a HTTP/1.1\r\n\r\n"],
      ["server", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    ] as const;
    const list = passages(...Array.from({ length: 80 }, () => round).flat());
    for (const [existing, expected] of [
      [true, "client"],
      [false, "server"],
    ] as const) {
      const parser = new ConnectionParser({ role: "server", transport: "tcp", port: 0, operations: new OperationNames() });
      const exchanges = pieces(list, [], { role: "client", existing }).flatMap((piece) => [...parser.chunk(piece)]);
      expect(said(exchanges).at(-1)).toBe(existing ? "GET /a 200" : undefined);
      expect(parser.role).toBe(expected);
    }
  });

  it("is opaque after sixteen pieces that nobody understands", () => {
    const { parser } = feed(passages(...Array.from({ length: 40 }, () => ["client", "\x01\x02".repeat(40)] as const)), [], {
      role: "client",
    });
    expect(parser.opaque).toBe("not recognised");
    expect(parser.unparseable).toBe(16);
  });

  it("joins a connection that was there before: waits for silence, or for a client that never overlaps", () => {
    const round = [
      ["client", command("GET", "a")],
      ["server", "$-1\r\n"],
    ] as const;
    const serial = passages(["server", "$-1\r\n"], ...Array.from({ length: 90 }, () => round).flat());
    const { exchanges, parser } = feed(serial, [], { role: "client", existing: true });
    expect(exchanges.length).toBe(27);
    expect(parser.orphans).toBe(0);
    const quiet = feed(serial, [], { role: "client", existing: true, atNs: (passage) => 1e9 + Math.ceil(passage / 2) * 50_000_000 });
    expect(quiet.exchanges).toHaveLength(90);
  });

  it("follows HTTP from turns into a stream when requests overlap", () => {
    const parser = parserFor({ role: "server" });
    parser.turn({
      requestNs: 1,
      responseNs: 2,
      requestBytes: 20,
      responseBytes: 20,
      request: bytesOf("GET /a HTTP/1.1\r\n"),
      response: bytesOf("HTTP/1.1 200 OK\r\n"),
      sequence: 1,
    });
    const answers = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const list = passages(
      ...Array.from(
        { length: 10 },
        (_, index) =>
          [
            ["client", `GET /b HTTP/1.1\r\n\r\nGET /c/${index} HTTP/1.1\r\n\r\n`],
            ["server", answers + answers],
          ] as const,
      ).flat(),
    );
    const exchanges = pieces(list, [], {
      role: "server",
      existing: true,
      atNs: (passage) => 1e9 + passage * 1_000 + Math.floor(passage / 2) * 20_000_000,
    }).flatMap((piece) => [...parser.chunk(piece)]);
    expect(exchanges.length).toBeGreaterThanOrEqual(18);
    expect(new Set(said(exchanges))).toEqual(new Set(["GET /b 200", "GET /c/{id} 200"]));
  });
});

describe("names", () => {
  it("stay bounded whatever a client sends", () => {
    const operations = new OperationNames();
    const list = passages(
      ...Array.from(
        { length: 500 },
        (_, index) =>
          [
            ["client", command(`X${index}`)],
            ["server", "+OK\r\n"],
          ] as const,
      ).flat(),
    );
    const { exchanges } = feed(list, [], { role: "client", operations });
    expect(exchanges).toHaveLength(500);
    expect(new Set(exchanges.map((exchange) => exchange.operation)).size).toBe(201);
    expect(exchanges.at(-1)?.operation).toBe("other");
    expect(operations.overflow).toBe(300);
  });
});

const seeds: readonly { name: string; port: number; list: Passage[] }[] = [
  {
    name: "redis",
    port: 6379,
    list: passages(
      ["client", command("GET", "a") + command("SET", "b", "x".repeat(50))],
      ["server", "$3\r\nabc\r\n+OK\r\n"],
      ["client", "PING\r\n"],
      ["server", "%1\r\n+a\r\n*2\r\n:1\r\n_\r\n"],
    ),
  },
  {
    name: "http",
    port: 80,
    list: passages(
      ["client", "GET /a/1 HTTP/1.1\r\nHost: x\r\n\r\n"],
      ["server", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ),
  },
  {
    name: "postgresql",
    port: 5432,
    list: passages(
      ["client", "\0\0\0\x11\0\x03\0\0user\0me\0\0"],
      ["server", "R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"],
      ["client", "Q\0\0\0\x14select 1 from a\0P\0\0\0\x11\0select 1\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"],
      ["server", "T\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05IE\0\0\0\x0dC42P01\0\0\0Z\0\0\0\x05I"],
    ),
  },
  {
    name: "http2",
    port: 8080,
    list: passages(
      ["client", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x02\x01\x05\0\0\0\x01\x82\x84"],
      ["server", "\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88"],
    ),
  },
  {
    name: "mysql",
    port: 3306,
    list: passages(
      ["server", `\x4a\0\0\0\x0a8.0.36\0${"\x01".repeat(66)}`],
      ["client", `\x25\0\0\x01\x85\xa2\x0a\0${"\0".repeat(33)}`],
      ["server", "\x07\0\0\x02\0\0\0\x02\0\0\0"],
      ["client", "\x09\0\0\0\x03select 1"],
      ["server", "\x01\0\0\x01\x01"],
    ),
  },
  {
    name: "kafka",
    port: 9092,
    list: passages(["client", "\0\0\0\x0e\0\x03\0\0\0\0\0\x01\0\x04test"], ["server", "\0\0\0\x08\0\0\0\x01\0\0\0\0"]),
  },
  {
    name: "dns",
    port: 53,
    list: passages(
      ["client", "\0\x13\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"],
      ["server", "\0\x13\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"],
    ),
  },
];

describe.each(seeds)("hostile bytes on a connection that spoke $name", ({ port, list }) => {
  const bounded = (parser: ConnectionParser) => {
    expect(parser.bufferedBytes).toBeLessThanOrEqual(2 * 65_536 + 16_384);
    expect(parser.inFlight).toBeLessThanOrEqual(10_000);
  };

  it("at any offset, in any pieces, with any capture, never throw and stay within the bounds", () => {
    const noise = fc.record({ side: fc.constantFrom("client" as const, "server" as const), data: fc.uint8Array({ maxLength: 300 }) });
    fc.assert(
      fc.property(
        fc.record({
          cuts: fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 6 }),
          noise: fc.array(noise, { maxLength: 8 }),
          at: fc.nat({ max: 8 }),
          flips: fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 }),
        }),
        fc.record({
          capturedMax: fc.constantFrom(1, 16, 64, 4_096),
          existing: fc.boolean(),
          role: fc.constantFrom("client" as const, "server" as const, "unknown" as const),
          lost: fc.uniqueArray(fc.nat({ max: 30 }), { maxLength: 5 }),
        }),
        (bytes, options) => {
          const repeated = [...list, ...list.slice(-2), ...list.slice(-2)].map(({ from, data }) => ({ from, data: new Uint8Array(data) }));
          for (const [place, value] of bytes.flips) {
            const target = repeated[place % repeated.length]?.data;
            if (target !== undefined && target.length > 0) target[place % target.length] = value;
          }
          repeated.splice(bytes.at, 0, ...bytes.noise.map(({ side, data }) => ({ from: side, data })));
          const { parser } = feed(repeated, bytes.cuts, { ...options, port, lost: new Set(options.lost) });
          bounded(parser);
          parser.close();
          expect(parser.inFlight).toBe(0);
          expect(parser.bufferedBytes).toBe(0);
        },
      ),
      { numRuns: 80 },
    );
  });

  it("cut off at every offset leave at most what was in flight", () => {
    const whole = feed(list, [], { role: "client", port }).exchanges.length;
    const total = list.reduce((sum, { data }) => sum + data.length, 0);
    for (let length = 0; length < total; length += 1) {
      let left = length;
      const part = list.map(({ from, data }) => {
        const taken = data.subarray(0, Math.max(0, left));
        left -= data.length;
        return { from, data: taken };
      });
      const { exchanges, parser } = feed(part, [], { role: "client", port });
      expect(exchanges.length).toBeLessThanOrEqual(whole);
      bounded(parser);
    }
  });
});

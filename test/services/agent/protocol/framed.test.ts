import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Passage } from "./recorded-stream.ts";
import { feed, passages, said, timeless } from "./recorded-stream.ts";

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

describe("DNS as node's resolver speaks it", () => {
  it("pairs by id, names the type, and tells names that do not exist from servers that fail", async () => {
    const recorded: Passage[] = [];
    const server = createSocket("udp4");
    server.on("message", (message, from) => {
      recorded.push({ from: "client", data: new Uint8Array(message) });
      const answer = Buffer.from(message);
      const text = message.toString("latin1");
      answer[2] = 0x81;
      answer[3] = text.includes("nowhere") ? 0x83 : text.includes("broken") ? 0x82 : text.includes("refused") ? 0x85 : 0x80;
      // Without further records the answer is as good, only empty.
      answer.writeUInt16BE(0, 10);
      const sent = answer.subarray(0, message.length - (message.readUInt16BE(10) > 0 ? 11 : 0));
      recorded.push({ from: "server", data: new Uint8Array(sent) });
      server.send(sent, from.port, from.address);
    });
    await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
    const resolver = new Resolver({ tries: 1, timeout: 2_000 });
    resolver.setServers([`127.0.0.1:${(server.address() as AddressInfo).port}`]);
    for (const ask of [
      () => resolver.resolve4("orders.example"),
      () => resolver.resolve6("orders.example"),
      () => resolver.resolveMx("nowhere.example"),
      () => resolver.resolveSrv("broken.example"),
      () => resolver.resolveTxt("refused.example"),
    ]) {
      await ask().catch(() => undefined);
    }
    await new Promise<void>((resolve) => server.close(() => resolve()));
    const expected = ["A NOERROR", "AAAA NOERROR", "MX NXDOMAIN", "SRV SERVFAIL failed", "TXT REFUSED failed"];
    for (const role of ["client", "server", "unknown"] as const) {
      const { exchanges, parser } = feed(recorded, [], { role, port: 53, transport: "udp" });
      expect([...new Set(said(exchanges))]).toEqual(expected);
      expect(parser).toMatchObject({ inFlight: 0, orphans: 0, unparseable: 0 });
    }
    const framed = recorded.map(({ from, data }) => ({
      from,
      data: Buffer.concat([Buffer.from([data.length >> 8, data.length & 255]), data]),
    }));
    fc.assert(
      fc.property(sizes, (cuts) => {
        expect([...new Set(said(feed(framed, cuts, { role: "client", port: 53 }).exchanges))]).toEqual(expected);
      }),
    );
  });

  it("takes the first of repeated queries for the start", () => {
    const query = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    const answer = "\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    const { exchanges } = feed(passages(["client", query], ["client", query], ["server", answer]), [], {
      role: "client",
      port: 53,
      transport: "udp",
    });
    expect(exchanges).toHaveLength(1);
    expect(exchanges[0]).toMatchObject({ operation: "A", startNs: 1e9, endNs: 1e9 + 2_000 });
  });
});

function int16(value: number): string {
  return String.fromCharCode((value >> 8) & 255, value & 255);
}

function int32(value: number): string {
  return int16(value >>> 16) + int16(value & 0xffff);
}

function kafkaRequest(key: number, version: number, correlation: number, body = ""): string {
  const text = `${int16(key)}${int16(version)}${int32(correlation)}${int16(4)}test${body}`;
  return int32(text.length) + text;
}

function kafkaAnswer(correlation: number, body: string): string {
  return int32(body.length + 4) + int32(correlation) + body;
}

describe("Kafka", () => {
  const list = passages(
    [
      "client",
      kafkaRequest(18, 2, 1) + kafkaRequest(0, 7, 2, `${int16(-1)}${int16(1)}${"r".repeat(300)}`) + kafkaRequest(1, 11, 3, "f".repeat(60)),
    ],
    ["client", kafkaRequest(0, 7, 4, `${int16(-1)}${int16(0)}${"r".repeat(30)}`) + kafkaRequest(12, 3, 5, "x")],
    ["server", kafkaAnswer(1, int16(35) + "x".repeat(200)) + kafkaAnswer(3, int32(0) + int16(0) + "d".repeat(500))],
    [
      "server",
      kafkaAnswer(2, `${int32(1)}${int16(3)}abc${int32(1)}${int32(0)}${int16(6)}${"0".repeat(20)}`) + kafkaAnswer(5, int32(0) + int16(27)),
    ],
  );
  const expected = ["Produce 0", "ApiVersions 35 failed", "Fetch 0", "Produce 6 failed", "Heartbeat 27"];

  it("pairs by correlation id and reads early error codes; a Produce without acknowledgement ends where it begins", () => {
    for (const role of ["client", "server", "unknown"] as const) {
      const { exchanges, parser } = feed(list, [], { role, port: 9092 });
      expect(said(exchanges)).toEqual(expected);
      expect(parser).toMatchObject({ inFlight: 0, orphans: 0, dropped: 0 });
    }
  });

  it("answers the same however the bytes are cut", () => {
    const whole = timeless(feed(list, [], { role: "client", port: 9092 }).exchanges);
    fc.assert(
      fc.property(sizes, (cuts) => {
        expect(timeless(feed(list, cuts, { role: "client", port: 9092 }).exchanges)).toEqual(whole);
      }),
    );
  });

  it("reads the flexible form of Produce and leaves unknown codes alone", () => {
    const flexible = passages(
      ["client", kafkaRequest(0, 9, 1, `\0\0${int16(1)}${"r".repeat(60)}`) + kafkaRequest(3, 9, 2, "m".repeat(40))],
      ["server", kafkaAnswer(1, `\0\x02\x04abc\x02${int32(0)}${int16(19)}${"0".repeat(30)}`) + kafkaAnswer(2, "\0\0\0\0\0\x01\x02\x03")],
    );
    expect(said(feed(flexible, [], { role: "client", port: 9092 }).exchanges)).toEqual(["Produce 19 failed", "Metadata 0"]);
  });
});

function packet(sequence: number, body: string): string {
  return String.fromCharCode(body.length & 255, (body.length >> 8) & 255, body.length >> 16, sequence) + body;
}

describe("MySQL", () => {
  const greeting = packet(0, `\x0a8.0.36\0${"\x01\x02\x03\x04".repeat(8)}caching_sha2_password\0`);
  const login = (capabilities: string) => packet(1, `${capabilities}\x00\x00\x00\x01${"\0".repeat(24)}me\0`);
  const opened = [
    ["server", greeting],
    ["client", login("\x85\xa2\x0a\x00")],
    ["server", packet(2, "\x01\x03") + packet(3, "\0\0\0\x02\0\0\0")],
  ] as const;
  const error = (number: number, state: string) => packet(1, `\xff${String.fromCharCode(number & 255, number >> 8)}#${state}no such thing`);
  const rows =
    packet(1, "\x01") +
    packet(2, "c".repeat(40)) +
    Array.from({ length: 300 }, (_, index) => packet((index + 3) & 255, "r".repeat(30))).join("");
  const list = passages(
    ...opened,
    ["client", packet(0, "\x03select * from Orders where id = 7")],
    ["server", rows],
    ["client", packet(0, "\x03\0\x01insert into orders values ('secret')")],
    ["server", error(1146, "42S02")],
    ["client", packet(0, "\x16update orders set a = ?")],
    ["server", packet(1, "\0\x07\0\0\0\0\0\x01\0\0\0\0")],
    ["client", packet(0, "\x17\x07\0\0\0\0\x01\0\0\0")],
    ["server", packet(1, "\0\0\0\x02\0\0\0")],
    ["client", packet(0, "\x19\x07\0\0\0") + packet(0, "\x0e")],
    ["server", packet(1, "\0\0\0\x02\0\0\0")],
    ["client", packet(0, "\x01")],
  );
  const expected = ["SELECT orders OK", "INSERT orders 42S02 failed", "PREPARE OK", "UPDATE orders OK", "PING OK"];

  it("is one exchange per command, with rows passed over", () => {
    for (const role of ["client", "server", "unknown"] as const) {
      const { exchanges, parser } = feed(list, [], { role });
      expect(said(exchanges)).toEqual(expected);
      expect(parser).toMatchObject({ inFlight: 0, orphans: 0, dropped: 0, unparseable: 0 });
    }
  });

  it("answers the same however the bytes are cut, also where rows were not captured", () => {
    fc.assert(
      fc.property(sizes, (cuts) => {
        expect(said(feed(list, cuts, { role: "client" }).exchanges)).toEqual(expected);
      }),
    );
    const small = Array.from(
      { length: 16 },
      () =>
        [
          ["client", packet(0, "\x0e")],
          ["server", packet(1, "\0\0\0\x02\0\0\0")],
        ] as const,
    ).flat();
    const large = Array.from(
      { length: 6 },
      () =>
        [
          ["client", packet(0, "\x03select 1 from a")],
          ["server", rows],
        ] as const,
    ).flat();
    const { exchanges, parser } = feed(passages(...opened, ...small, ...large), [], { role: "client", capturedMax: 256 });
    expect(exchanges).toHaveLength(22);
    expect(parser.dropped).toBe(0);
  });

  it("is opaque with TLS or compression, and tells refused logins", () => {
    const tls = passages(["server", greeting], ["client", packet(1, `\x85\xaa\x0a\x00${"\0".repeat(28)}`)]);
    expect(feed(tls, [], { role: "client" }).parser.opaque).toBe("TLS");
    const compressed = passages(["server", greeting], ["client", login("\xa5\xa2\x0a\x00")]);
    expect(feed(compressed, [], { role: "client" }).parser.opaque).toBe("compressed");
    const refused = passages(
      ["server", greeting],
      ["client", login("\x85\xa2\x0a\x00")],
      ["server", packet(2, "\xff\x15\x04#28000Access denied")],
    );
    expect(said(feed(refused, [], { role: "client" }).exchanges)).toEqual(["connect 28000 failed"]);
  });
});

import type { ClientHttp2Session } from "node:http2";
import { connect, constants, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HpackDecoder } from "../../../../services/agent/protocol/hpack.ts";
import { OperationNames } from "../../../../services/agent/protocol/operation-names.ts";
import type { Passage } from "./recorded-stream.ts";
import { feed, passages, said, startRecorder, timeless } from "./recorded-stream.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 });
const client = { role: "client" as const };

function frame(type: number, flags: number, stream: number, payload = ""): string {
  return (
    String.fromCharCode((payload.length >> 16) & 255, (payload.length >> 8) & 255, payload.length & 255, type, flags) +
    String.fromCharCode((stream >>> 24) & 127, (stream >> 16) & 255, (stream >> 8) & 255, stream & 255) +
    payload
  );
}

/** A literal without indexing, name and value without Huffman coding. */
function literal(name: string, value: string): string {
  return `\x00${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`;
}

const get = (stream: number, path: string) => frame(1, 5, stream, `\x82${literal(":path", path)}`);
const settings = frame(4, 0, 0);

describe("HTTP/2 from examples", () => {
  it("pairs interleaved streams by id", () => {
    const list = passages(
      ["client", preface + settings + get(1, "/a/1") + get(3, "/b/2?x=y")],
      [
        "server",
        settings +
          frame(1, 4, 3, "\x8e") +
          frame(1, 4, 1, "\x88") +
          frame(0, 1, 3, "no") +
          frame(0, 0, 1, "yes") +
          frame(1, 5, 1, literal("x", "y")),
      ],
    );
    expect(said(feed(list, [], client).exchanges)).toEqual(["GET /b/{id} 500 failed", "GET /a/{id} 200"]);
  });

  it("takes gRPC's status from the trailers, and blames the caller's faults on the caller only at the caller", () => {
    const call = (stream: number) =>
      frame(1, 4, stream, `\x83${literal(":path", "/shop.Orders/Place")}${literal("content-type", "application/grpc")}`) +
      frame(0, 1, stream, "12345");
    const answer = (stream: number, status: string) =>
      frame(1, 4, stream, `\x88${literal("content-type", "application/grpc")}`) +
      frame(0, 0, stream, "12345") +
      frame(1, 5, stream, literal("grpc-status", status));
    const list = passages(
      ["client", preface + settings + call(1) + call(3) + call(5) + call(7)],
      ["server", settings + answer(5, "14") + answer(1, "0") + answer(3, "5")],
      ["server", frame(1, 5, 7, `\x88${literal("grpc-status", "13")}`)],
    );
    const calls = feed(list, [], client).exchanges;
    expect(said(calls)).toEqual([
      "shop.Orders/Place 14 failed",
      "shop.Orders/Place 0",
      "shop.Orders/Place 5 failed",
      "shop.Orders/Place 13 failed",
    ]);
    expect(calls[0]).toMatchObject({ protocol: "grpc", requestBytes: call(1).length, responseBytes: answer(5, "14").length });
    expect(said(feed(list, [], { role: "server" }).exchanges)[2]).toBe("shop.Orders/Place 5");
  });

  it("joins CONTINUATION, passes over padding, priority and promises, and ends reset streams", () => {
    const block = `\x82${literal(":path", "/split")}`;
    const list = passages(
      [
        "client",
        preface + settings + frame(1, 1, 1, block.slice(0, 4)) + frame(9, 0, 1, block.slice(4, 7)) + frame(9, 4, 1, block.slice(7)),
      ],
      ["client", frame(1, 0x2d, 3, `\x02\x00\x00\x00\x00\x10${block}\x00\x00`) + get(5, "/c") + get(7, "/d")],
      ["server", settings + frame(5, 4, 1, `\x00\x00\x00\x02${block}`) + frame(1, 5, 1, "\x88") + frame(1, 5, 3, "\x89")],
      ["client", frame(3, 0, 5, "\x00\x00\x00\x08")],
      ["server", frame(3, 0, 7, "\x00\x00\x00\x02")],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["GET /split 200", "GET /split 204", "GET /c CANCELLED", "GET /d RESET failed"]);
    expect(parser).toMatchObject({ inFlight: 0, unparseable: 0 });
  });

  it("gives up the streams that a GOAWAY says will not be answered", () => {
    const list = passages(
      ["client", preface + settings + get(1, "/a") + get(3, "/b")],
      ["server", frame(7, 0, 0, "\x00\x00\x00\x01\x00\x00\x00\x00") + frame(1, 5, 1, "\x88")],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["GET /a 200"]);
    expect(parser).toMatchObject({ inFlight: 0, dropped: 1 });
  });

  it("survives frames out of order, blocks without end and bombs", () => {
    const indexed = `\x40\x01a\x7f\x80\x1f${"x".repeat(4_095)}`;
    for (const hostile of [
      frame(9, 4, 1, "\x82"),
      frame(1, 0, 1, "\x82") + frame(0, 0, 1, "x"),
      frame(1, 0, 1, "\x82") + frame(9, 0, 1, "a".repeat(16_000)).repeat(10),
      frame(1, 4, 0, "\x82"),
      frame(1, 4, 1, "\xff\xff\xff\xff\xff\xff"),
      frame(1, 4, 1, "\x3f\xe1\xff\xff\x7f"),
      frame(1, 0xc, 1, "\xff\x82"),
      frame(1, 4, 1, indexed) + frame(1, 4, 3, "\xbe".repeat(16_000)),
      frame(4, 0, 0, "x"),
      "\xff".repeat(100),
    ]) {
      const { parser } = feed(passages(["client", preface + settings + hostile]), [], client);
      expect(parser.unparseable).toBeGreaterThan(0);
      expect(parser.bufferedBytes).toBeLessThanOrEqual(65_536 * 2);
    }
  });
});

describe("HPACK", () => {
  it("decodes the examples of RFC 7541, appendix C.4 and C.6, with evictions", () => {
    const requests = new HpackDecoder({ operations: new OperationNames(), start: "beginning" });
    const read = (decoder: HpackDecoder, hex: string) => {
      const data = Buffer.from(hex.replaceAll(" ", ""), "hex");
      return Object.fromEntries(decoder.decode(data, 0, data.length)?.fields ?? []);
    };
    expect(read(requests, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")).toEqual({ ":method": "GET", ":path": "/" });
    expect(read(requests, "8286 84be 5886 a8eb 1064 9cbf")).toEqual({ ":method": "GET", ":path": "/" });
    expect(read(requests, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf")).toEqual({
      ":method": "GET",
      ":path": "/index.html",
    });
    expect(requests.tableBytes).toBe(164);
    const responses = new HpackDecoder({ operations: new OperationNames(), start: "beginning" });
    // The examples have a table of 256 bytes, which an update announces.
    expect(
      read(
        responses,
        "3fe1 01 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      ),
    ).toEqual({ ":status": "302" });
    expect(responses.tableBytes).toBe(222);
    expect(read(responses, "4883 640e ff c1 c0 bf")).toEqual({ ":status": "307" });
    expect(responses.tableBytes).toBe(222);
  });

  it("never throws and keeps its table within bounds, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 10 }),
        fc.constantFrom("beginning", "middle"),
        (blocks, start) => {
          const decoder = new HpackDecoder({ operations: new OperationNames(), start });
          for (const block of blocks) decoder.decode(block, 0, block.length);
          expect(decoder.tableBytes).toBeLessThanOrEqual(65_536);
        },
      ),
    );
  });
});

describe("HTTP/2 as node speaks it", () => {
  let recorded: Passage[] = [];
  const expected: string[] = [];

  beforeAll(async () => {
    const server = createServer();
    server.on("stream", (stream, headers) => {
      const path = String(headers[":path"]);
      if (headers["content-type"] === "application/grpc") {
        stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
        stream.on("wantTrailers", () =>
          stream.sendTrailers({ "grpc-status": path.endsWith("Fail") ? "14" : "0", "grpc-message": "words" }),
        );
        stream.end("payload");
        return;
      }
      stream.respond({ ":status": path === "/broken" ? 503 : 200, "x-seen": String(headers["x-odd"]) });
      stream.end("z".repeat(path.length * 500));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const recorder = await startRecorder({ port: (server.address() as AddressInfo).port });
    const session = connect(`http://127.0.0.1:${recorder.port}`);
    await Promise.all(Array.from({ length: 60 }, (_, index) => ask(session, index, expected)));
    session.close();
    await new Promise<void>((resolve) => session.once("close", resolve));
    await recorder.close();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    recorded = recorder.connections[0] ?? [];
  });

  afterAll(() => {
    recorded = [];
  });

  it("finds every call of many streams at once, with the table and Huffman codes in use", () => {
    for (const role of ["client", "server", "unknown"] as const) {
      const { exchanges, parser } = feed(recorded, [], { role });
      expect(said(exchanges).sort()).toEqual([...expected].sort());
      expect(parser).toMatchObject({ inFlight: 0, dropped: 0, orphans: 0, unparseable: 0 });
    }
  });

  it("answers the same however the bytes are cut", () => {
    const whole = timeless(feed(recorded, [], client).exchanges);
    fc.assert(
      fc.property(sizes, (cuts) => {
        expect(timeless(feed(recorded, cuts, client).exchanges)).toEqual(whole);
      }),
      { numRuns: 20 },
    );
  });

  it("keeps ids right behind holes, says unknown where names were lost, and never throws", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 60 }), { maxLength: 6 }), (lost) => {
        const { exchanges } = feed(recorded, [700, 333], { ...client, lost: new Set(lost) });
        const allowed = new Set(["other", "unknown", ...expected.flatMap((text) => text.split(" "))]);
        for (const exchange of exchanges) expect(allowed).toContain(exchange.status);
        expect(exchanges.length).toBeLessThanOrEqual(60);
      }),
      { numRuns: 60 },
    );
  });
});

/** Header values hold every byte that a header may, so that all Huffman codes come up. */
async function ask(session: ClientHttp2Session, index: number, expected: string[]): Promise<void> {
  const grpc = index % 3 === 0;
  const failing = index % 12 === 0;
  const path = grpc ? `/shop.Orders/${failing ? "Fail" : "Place"}` : index % 7 === 1 ? "/broken" : `/orders/${index}`;
  expected.push(
    grpc ? `${path.slice(1)} ${failing ? "14 failed" : "0"}` : path === "/broken" ? "GET /broken 503 failed" : "GET /orders/{id} 200",
  );
  const odd = String.fromCharCode(
    ...Array.from({ length: 20 }, (_, at) => 0x21 + ((index * 20 + at) % 94)),
    ...Array.from({ length: 4 }, (_, at) => 0x80 + ((index * 4 + at) % 128)),
  );
  const stream = session.request({
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_METHOD]: grpc ? "POST" : "GET",
    ...(grpc ? { "content-type": "application/grpc", te: "trailers" } : {}),
    "x-odd": odd,
  });
  stream.end(grpc ? "12345" : undefined);
  stream.resume();
  await new Promise<void>((resolve, reject) => {
    stream.on("close", resolve);
    stream.on("error", reject);
  });
}

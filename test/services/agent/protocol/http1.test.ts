import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { httpTurn } from "../../../../services/agent/protocol/http1.ts";
import { OperationNames } from "../../../../services/agent/protocol/operation-names.ts";
import { feed, parserFor, passages, said, startRecorder, timeless } from "./recorded-stream.ts";

const client = { role: "client" as const };
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });

function turn(request: string, response: string) {
  return {
    requestNs: 5,
    responseNs: 9,
    requestBytes: 300,
    responseBytes: 4_000,
    request: Buffer.from(request, "latin1"),
    response: Buffer.from(response, "latin1"),
  };
}

describe("a turn of HTTP/1", () => {
  it("is an exchange with masked path and times of the first bytes", () => {
    expect(
      httpTurn(turn("GET /orders/17?x=1 HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 503 Service Unavailable\r\n"), new OperationNames()),
    ).toEqual({
      protocol: "http",
      operation: "GET /orders/{id}",
      status: "503",
      failed: "yes",
      startNs: 5,
      endNs: 9,
      requestBytes: 300,
      responseBytes: 4_000,
    });
  });

  it("is none when either side is no HTTP or is cut before its status", () => {
    const names = new OperationNames();
    for (const [asked, answered] of [
      ["GET / HTTP/1.1\r\n", "HTTP/1.1 20"],
      ["GET / HTTP/1.1\r\n", "HTTP/1.1 999 x"],
      ["GET / HTTP/1.1\r\n", ""],
      ["HELLO / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n"],
      ["", "HTTP/1.1 200 OK\r\n"],
      ["GET ", "HTTP/1.1 200 OK\r\n"],
    ] as const) {
      expect(httpTurn(turn(asked, answered), names)).toBeNull();
    }
  });

  it("never throws on random bytes, and makes the connection opaque when nothing is understood", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), fc.uint8Array({ maxLength: 64 }), (asked, answered) => {
        const parser = parserFor(client);
        for (let sequence = 1; sequence <= 40; sequence += 1) {
          parser.turn({ ...turn("", ""), request: asked, response: answered, sequence });
        }
        expect(parser.opaque).toBe("not recognised");
        expect(parser.unparseable).toBe(16);
      }),
    );
  });

  it("counts turns whose records were lost", () => {
    const parser = parserFor(client);
    const good = turn("GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n");
    expect(parser.turn({ ...good, sequence: 1 })).toHaveLength(1);
    expect(parser.turn({ ...good, sequence: 5 })).toHaveLength(1);
    expect(parser.lostRecords).toBe(3);
    expect(parser.protocol).toBe("http");
  });
});

describe("HTTP/1 as a stream", () => {
  it("pairs pipelined requests with bodies, skips 1xx, and knows answers without a body", () => {
    const list = passages(
      [
        "client",
        "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET /b/1 HTTP/1.1\r\n\r\nHEAD /c HTTP/1.1\r\n\r\nPUT /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
      ],
      ["client", "5\r\nhello\r\n0\r\nTrailer: x\r\n\r\nGET /e HTTP/1.1\r\n\r\nGET /f HTTP/1.1\r\n\r\n"],
      ["server", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nabc"],
      [
        "server",
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
      ],
      ["server", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\nHTTP/1.0 200 OK\r\n\r\nuntil the end"],
    );
    const whole = feed(list, [], client);
    expect(said(whole.exchanges)).toEqual([
      "POST /a 201",
      "GET /b/{id} 404",
      "HEAD /c 200",
      "PUT /d 204",
      "GET /e 500 failed",
      "GET /f 200",
    ]);
    expect(whole.parser).toMatchObject({ inFlight: 0, orphans: 0, unparseable: 0 });
    fc.assert(
      fc.property(sizes, fc.constantFrom("client", "server", "unknown"), (cuts, role) => {
        expect(timeless(feed(list, cuts, { role }).exchanges)).toEqual(timeless(whole.exchanges));
      }),
    );
  });

  it("is opaque after an upgrade", () => {
    const list = passages(
      ["client", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"],
      ["server", "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05"],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["GET /ws 101"]);
    expect(parser.opaque).toBe("upgraded to another protocol");
  });

  it("stays within its bounds at request lines of a megabyte and headers without end", () => {
    for (const start of [`GET /${"x".repeat(1_000_000)}`, `GET / HTTP/1.1\r\n${"a: b\r\n".repeat(200_000)}`]) {
      const { parser } = feed(passages(["client", start]), [1_000], client);
      expect(parser.bufferedBytes).toBeLessThanOrEqual(65_536);
      expect(parser.unparseable).toBeGreaterThan(0);
    }
  });

  it("reads bodies that were not captured by their length", () => {
    const round = [
      ["client", `POST /a HTTP/1.1\r\ncontent-length: 3000\r\n\r\n${"x".repeat(3_000)}`],
      ["server", `HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n${"y".repeat(9_000)}`],
    ] as const;
    const { exchanges, parser } = feed(passages(...round, ...round, ...round), [], { ...client, capturedMax: 100 });
    expect(said(exchanges)).toEqual(["POST /a 200", "POST /a 200", "POST /a 200"]);
    expect(parser.cut).toBe(0);
  });

  it("reads what node's client and server say, pipelined by hand as well", async () => {
    const server = createServer((incoming, response) => {
      incoming.resume();
      incoming.on("end", () => {
        response.statusCode = incoming.url === "/broken" ? 500 : 200;
        response.write("some text ".repeat(30));
        response.end("more");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const recorder = await startRecorder({ port: (server.address() as AddressInfo).port });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (const path of ["/orders/1", "/broken", "/orders/abc"]) {
      await new Promise<void>((resolve, reject) => {
        const outgoing = request({ port: recorder.port, host: "127.0.0.1", path, method: "POST", agent }, (response) => {
          response.resume();
          response.on("end", resolve);
        });
        outgoing.on("error", reject);
        outgoing.write("part one");
        outgoing.end("part two");
      });
    }
    agent.destroy();
    const socket = connect(recorder.port, "127.0.0.1");
    socket.write("GET /p/1 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20));
    let text = "";
    await new Promise<void>((resolve) => {
      socket.on("data", (data) => {
        text += data.toString("latin1");
        if (text.split("\r\n0\r\n\r\n").length === 21) resolve();
      });
    });
    socket.destroy();
    await recorder.close();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    fc.assert(
      fc.property(sizes, fc.constantFrom("client", "server"), (cuts, role) => {
        expect(said(feed(recorder.connections[0] ?? [], cuts, { role }).exchanges)).toEqual([
          "POST /orders/{id} 200",
          "POST /broken 500 failed",
          "POST /orders/abc 200",
        ]);
        expect(said(feed(recorder.connections[1] ?? [], cuts, { role }).exchanges)).toEqual(
          Array.from({ length: 20 }, () => "GET /p/{id} 200"),
        );
      }),
      { numRuns: 30 },
    );
  });
});

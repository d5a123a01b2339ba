import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningServer } from "../../../../lab/guarded-server.ts";
import { findRedis, startRedis } from "../../../../lab/servers.ts";
import type { Passage } from "./recorded-stream.ts";
import { feed, parserFor, passages, pieces, said, startRecorder, timeless } from "./recorded-stream.ts";
import { command } from "./resp-examples.ts";

const client = { role: "client" as const };
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

describe("Redis from examples", () => {
  it("pairs pipelines in order, errors with their code", () => {
    const list = passages(
      ["client", command("get", "a") + command("LPUSH", "b", "1") + command("INCR", "c")],
      ["server", "$-1\r\n-WRONGTYPE Operation against a key\r\n:5\r\n"],
      ["client", command("EVALSHA", "abc", "0") + command("GET", "m")],
      ["server", "-NOSCRIPT No matching script\r\n-MOVED 1 127.0.0.1:7000\r\n"],
    );
    expect(said(feed(list, [], client).exchanges)).toEqual([
      "GET OK",
      "LPUSH WRONGTYPE failed",
      "INCR OK",
      "EVALSHA NOSCRIPT",
      "GET MOVED",
    ]);
  });

  it("counts bytes of both sides and takes the times of first and last byte", () => {
    const list = passages(["client", command("GET", "a")], ["server", `$10\r\n${"x".repeat(10)}\r\n`]);
    const [exchange] = feed(list, [], client).exchanges;
    expect(exchange).toEqual({
      protocol: "redis",
      operation: "GET",
      status: "OK",
      failed: "no",
      startNs: 1e9,
      endNs: 1e9 + 1_000,
      requestBytes: 20,
      responseBytes: 17,
    });
  });

  it("reads RESP3: null, maps, sets, attributes, pushes, booleans, doubles, big numbers, verbatim strings, blob errors", () => {
    const list = passages(
      ["client", command("HELLO", "3")],
      ["server", "%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n"],
      ["client", Array.from({ length: 9 }, (_, index) => command(`CMD${index}`)).join("")],
      [
        "server",
        `_\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n~2\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n#t\r\n,1.5\r\n(123456789012345678901234567890\r\n=7\r\ntxt:abc\r\n!10\r\nERR failed\r\n|1\r\n+a\r\n*1\r\n:1\r\n*2\r\n|1\r\n+b\r\n:2\r\n:3\r\n_\r\n`,
      ],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual([
      "HELLO OK",
      ...["CMD0 OK", "CMD1 OK", "CMD2 OK", "CMD3 OK", "CMD4 OK", "CMD5 OK", "CMD6 OK", "CMD7 ERR failed", "CMD8 OK"],
    ]);
    expect(parser).toMatchObject({ inFlight: 0, orphans: 0, unparseable: 0 });
  });

  it("takes no message for an answer in subscribe mode, and one confirmation per channel", () => {
    const list = passages(
      ["client", command("SUBSCRIBE", "a", "b")],
      ["server", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"],
      ["server", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n"],
      ["client", command("PING")],
      ["server", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"],
      ["client", command("UNSUBSCRIBE")],
      ["server", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n"],
      ["client", command("LRANGE", "x", "0", "1")],
      ["server", "*1\r\n$7\r\nmessage\r\n"],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["SUBSCRIBE OK", "PING OK", "UNSUBSCRIBE OK", "LRANGE OK"]);
    expect(parser).toMatchObject({ inFlight: 0, orphans: 0 });
  });

  it("answers inline commands, ignores empty ones, passes over MONITOR output, knows CLIENT REPLY", () => {
    const list = passages(
      ["client", "*1\r\n$4\r\nPING\r\n"],
      ["server", "+PONG\r\n"],
      ["client", "\r\nping\r\nget x\r\n*0\r\n"],
      ["server", "+PONG\r\n$-1\r\n"],
      ["client", command("CLIENT", "REPLY", "SKIP") + command("SET", "a", "b") + command("GET", "a")],
      ["server", "$1\r\nb\r\n"],
      ["client", command("MONITOR")],
      ["server", '+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n'],
      ["client", command("PING")],
      ["server", '+1339518083.107413 [0 127.0.0.1:60866] "ping"\r\n+PONG\r\n'],
    );
    const { exchanges, parser } = feed(list, [], client);
    expect(said(exchanges)).toEqual(["PING OK", "PING OK", "GET OK", "GET OK", "MONITOR OK", "PING OK"]);
    expect(parser).toMatchObject({ inFlight: 0, orphans: 0, dropped: 1 });
  });

  it("takes an array that comes first on a connection it joined for an answer", () => {
    const array = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    const list = passages(["server", array], ["client", command("GET", "a")], ["server", "$-1\r\n"]);
    const { exchanges, parser } = feed(list, [], { ...client, existing: true, atNs: (passage) => 1e9 + passage * 20_000_000 });
    expect([parser.role, ...exchanges]).toEqual(["client"]);
    const longer = feed([...list, ...list.slice(1), ...list.slice(1)], [], {
      ...client,
      existing: true,
      atNs: (passage) => 1e9 + passage * 20_000_000,
    });
    expect(said(longer.exchanges).length).toBeGreaterThanOrEqual(2);
  });

  it("is opaque for a replica", () => {
    const { parser } = feed(passages(["client", command("PSYNC", "?", "-1")], ["server", "+FULLRESYNC x 1\r\n$9999\r\n"]), [], client);
    expect(parser.opaque).toBe("a replica of Redis");
  });

  it("passes over values that were not captured, by their announced length", () => {
    const value = "x".repeat(5_000);
    const list = passages(
      ["client", command("SET", "k", value)],
      ["server", "+OK\r\n"],
      ["client", command("GET", "k")],
      ["server", `$5000\r\n${value}\r\n`],
      ["client", command("GET", "k") + command("PING")],
      ["server", `$5000\r\n${value}\r\n`],
      ["server", "+PONG\r\n"],
    );
    const { exchanges, parser } = feed(list, [], { ...client, capturedMax: 64 });
    expect(said(exchanges)).toEqual(["SET OK", "GET OK", "GET OK", "PING OK"]);
    expect(parser).toMatchObject({ dropped: 0, cut: 0 });
  });

  it("loses nothing of a serial client whose arrays were cut", () => {
    const many = `*200\r\n${"$3\r\nabc\r\n".repeat(200)}`;
    const list = passages(
      ...Array.from(
        { length: 10 },
        () =>
          [
            ["client", command("LRANGE", "k", "0", "-1")],
            ["server", many],
          ] as const,
      ).flat(),
    );
    const { exchanges, parser } = feed(list, [], { ...client, capturedMax: 64 });
    // The first cut comes before the client is known to be serial, and costs what follows until it is.
    expect(exchanges.length).toBeGreaterThanOrEqual(1);
    expect(parser.cut).toBeGreaterThan(0);
    const known = passages(
      ...Array.from(
        { length: 16 },
        () =>
          [
            ["client", command("PING")],
            ["server", "+PONG\r\n"],
          ] as const,
      ).flat(),
    );
    const after = feed([...known, ...list], [], { ...client, capturedMax: 64 });
    expect(after.exchanges).toHaveLength(26);
    expect(after.parser.dropped).toBe(0);
  });

  it("gives up what is in flight at a hole and pairs nothing wrongly", () => {
    const round = (index: number) =>
      [
        ["client", command(`A${index % 7}`)],
        ["server", `-A${index % 7} x\r\n`],
      ] as const;
    const list = passages(...Array.from({ length: 60 }, (_, index) => round(index)).flat());
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 119 }), { maxLength: 20 }), sizes, (lost, cuts) => {
        const { exchanges, parser } = feed(list, cuts, { ...client, lost: new Set(lost) });
        for (const exchange of exchanges) expect(["ERR", exchange.operation]).toContain(exchange.status);
        expect(exchanges.length + parser.dropped).toBeLessThanOrEqual(60);
        expect(parser.inFlight).toBeLessThanOrEqual(1);
      }),
      { numRuns: 50 },
    );
  });

  it("pairs nothing wrongly behind a hole in a pipeline of 64, and finds back after silence", () => {
    const batch = (round: number) => Array.from({ length: 64 }, (_, index) => `E${(round * 64 + index) % 191}`);
    const rounds = Array.from({ length: 6 }, (_, round) => batch(round));
    const list = passages(
      ...rounds.flatMap((names) => [
        ["client", names.map((name) => command(name)).join("")] as const,
        ["server", names.map((name) => `-${name} x\r\n`).join("")] as const,
      ]),
    );
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 30 }), { minLength: 1, maxLength: 4 }), (lost) => {
        const { exchanges, parser } = feed(list, [300, 77, 511], {
          ...client,
          lost: new Set(lost),
          atNs: (passage) => 1e9 + passage * 10_000 + Math.floor(passage / 2) * 20_000_000,
        });
        for (const exchange of exchanges) expect(["ERR", exchange.operation]).toContain(exchange.status);
        expect(exchanges.length).toBeLessThan(6 * 64);
        expect(exchanges.length).toBeGreaterThanOrEqual(63);
        expect(parser.inFlight).toBeLessThanOrEqual(64);
      }),
      { numRuns: 15 },
    );
  });

  it("pairs nothing wrongly whatever overlaps, is cut, not captured or lost", () => {
    const steps = fc.array(
      fc.record({
        asked: fc.nat({ max: 6 }),
        answered: fc.nat({ max: 6 }),
        pauseNs: fc.constantFrom(5_000, 50_000, 3_000_000, 30_000_000),
      }),
      {
        minLength: 5,
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(
        steps,
        fc.array(fc.integer({ min: 5, max: 200 }), { minLength: 1, maxLength: 5 }),
        fc.record({ lost: fc.uniqueArray(fc.nat({ max: 120 }), { maxLength: 8 }), capturedMax: fc.constantFrom(24, 64, 4_096) }),
        (schedule, cuts, options) => {
          const waiting: string[] = [];
          const times: number[] = [];
          const list: Passage[] = [];
          let now = 1e9;
          let number = 0;
          const pass = (from: "client" | "server", text: string) => {
            if (text === "") return;
            list.push({ from, data: Buffer.from(text, "latin1") });
            times.push(now);
          };
          for (const step of schedule) {
            // Silence only while nothing is in flight: a server that is slower than it ever was cannot be told from a quiet one.
            now += waiting.length === 0 ? step.pauseNs : 5_000;
            const names = Array.from({ length: step.asked }, () => `E${number++ % 150}`);
            waiting.push(...names);
            pass("client", names.map((name) => command(name, "argument")).join(""));
            now += 5_000;
            pass(
              "server",
              waiting
                .splice(0, step.answered)
                .map((name) => `-${name} ${"x".repeat(name.length * 3)}\r\n`)
                .join(""),
            );
          }
          const { exchanges, parser } = feed(list, cuts, {
            role: "client",
            ...options,
            lost: new Set(options.lost),
            atNs: (passage) => times[passage] ?? 0,
          });
          // Commands in what was not captured of a piece leave no trace, so that a client may seem serial that is not.
          if (options.capturedMax === 4_096)
            for (const exchange of exchanges) expect(["ERR", exchange.operation]).toContain(exchange.status);
          expect(exchanges.length).toBeLessThanOrEqual(number);
          expect(parser.unparseable).toBeLessThanOrEqual(options.lost.length + parser.cut + 1);
        },
      ),
      { numRuns: 80 },
    );
  });

  it("believes the server's end at once: it has answered what it read before it reads on", () => {
    const list = passages(
      ...Array.from(
        { length: 8 },
        () =>
          [
            ["client", command("GET", "a") + command("GET", "b")],
            ["server", "$-1\r\n$-1\r\n"],
          ] as const,
      ).flat(),
    );
    const { exchanges } = feed(list, [], { role: "server", lost: new Set([5]) });
    expect(exchanges.length).toBe(14);
  });

  it("accepts an answer whose record overtook that of its request", () => {
    const list = passages(
      ["client", command("GET", "a")],
      ["server", "$-1\r\n"],
      ["server", "$-1\r\n"],
      ["client", command("GET", "b")],
      ["client", command("SET", "c", "d")],
      ["server", "+OK\r\n"],
    );
    expect(said(feed(list, [], client).exchanges)).toEqual(["GET OK", "GET OK", "SET OK"]);
  });

  it("keeps the bound of requests in flight", () => {
    const parser = parserFor(client);
    const batch = command("PING").repeat(1_000);
    for (const piece of pieces(passages(...Array.from({ length: 12 }, () => ["client", batch] as const)), [], client)) parser.chunk(piece);
    expect(parser.inFlight).toBe(10_000);
    expect(parser.dropped).toBeGreaterThan(0);
  });

  it("is not impressed by sizes that cannot be", () => {
    for (const bytes of [
      "*2147483648\r\n",
      "*1\r\n$99999999999\r\n",
      `*1\r\n${"*1\r\n".repeat(100)}`,
      "*-5\r\n",
      "*99999999999999999999999\r\n",
    ]) {
      const { parser } = feed(passages(["client", command("PING")], ["server", "+PONG\r\n"], ["client", bytes]), [], client);
      expect(parser.unparseable).toBe(1);
      expect(parser.bufferedBytes).toBe(0);
    }
  });
});

describe.skipIf(findRedis() === null)("Redis as ioredis and redis-server speak it", () => {
  let server: RunningServer;
  let port = 0;

  beforeAll(async () => {
    server = await startRedis();
    port = Number(new URL(server.url).port);
  });

  afterAll(async () => {
    await server?.stop();
  });

  it("counts 64 commands in flight as Redis itself does, wherever the bytes are cut", async () => {
    const recorder = await startRecorder({ port });
    const redis = new Redis({ port: recorder.port, host: "127.0.0.1" });
    await redis.config("RESETSTAT");
    for (let round = 0; round < 8; round += 1) {
      await Promise.allSettled(
        Array.from({ length: 64 }, (_, index) => {
          if (index % 8 === 7) return redis.incr("text");
          if (index % 8 === 3) return redis.eval("return {1, {2, 'x'}}", 0);
          return index % 2 === 0 ? redis.set(`key${index}`, "v".repeat(index * 9)) : redis.get(`key${index - 1}`);
        }).concat([redis.set("text", "word")]),
      );
      await redis.multi().set("m", "1").incr("m").get("m").exec();
    }
    const stats = await redis.info("commandstats");
    redis.disconnect();
    await recorder.close();
    const recorded = recorder.connections[0] ?? [];
    const counts = (exchanges: readonly { operation: string }[], operation: string) =>
      exchanges.filter((exchange) => exchange.operation === operation).length;
    const calls = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1]);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 12 }),
        fc.constantFrom("client", "server", "unknown"),
        (cuts, role) => {
          const { exchanges, parser } = feed(recorded, cuts, { role });
          for (const name of ["SET", "GET", "INCR", "EVAL", "MULTI", "EXEC"])
            expect(counts(exchanges, name)).toBe(calls(name.toLowerCase()));
          const failures = exchanges.filter((exchange) => exchange.failed === "yes" && exchange.operation !== "CLIENT");
          expect(failures.length).toBeGreaterThanOrEqual(7 * 8);
          expect(new Set(failures.map((exchange) => exchange.operation))).toEqual(new Set(["INCR"]));
          expect(parser).toMatchObject({ inFlight: 0, dropped: 0, orphans: 0, unparseable: 0 });
        },
      ),
      { numRuns: 12 },
    );
  });

  it("answers the same however the same bytes are cut, also in subscribe mode", async () => {
    const recorder = await startRecorder({ port });
    const subscriber = new Redis({ port: recorder.port, host: "127.0.0.1" });
    const publisher = new Redis({ port });
    await subscriber.subscribe("a", "b");
    await subscriber.psubscribe("p*");
    for (let index = 0; index < 20; index += 1) await publisher.publish("a", "x".repeat(index * 20));
    await subscriber.ping();
    await subscriber.unsubscribe("a", "b");
    await subscriber.punsubscribe("p*");
    await subscriber.get("text");
    subscriber.disconnect();
    publisher.disconnect();
    await recorder.close();
    const recorded = recorder.connections[0] ?? [];
    const whole = feed(recorded, [], client);
    expect(said(whole.exchanges).slice(-6)).toEqual([
      "SUBSCRIBE OK",
      "PSUBSCRIBE OK",
      "PING OK",
      "UNSUBSCRIBE OK",
      "PUNSUBSCRIBE OK",
      "GET OK",
    ]);
    expect(whole.parser).toMatchObject({ inFlight: 0, orphans: 0, dropped: 0 });
    fc.assert(
      fc.property(sizes, (cuts) => {
        expect(timeless(feed(recorded, cuts, client).exchanges)).toEqual(timeless(whole.exchanges));
      }),
      { numRuns: 30 },
    );
  });
});

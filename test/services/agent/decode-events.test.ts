import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventDecoder } from "../../../services/agent/decode-events.ts";
import { eventLayout, eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import type { KernelEvent } from "../../../services/agent/kernel-event.ts";
import { type RawHeader, rawBatch, rawChunk, rawProcess, rawRecord, rawSyscall, rawTurn, writeAddress } from "./raw-records.ts";

function decode(batch: Uint8Array): { events: KernelEvent[]; decoder: EventDecoder } {
  const decoder = new EventDecoder();
  const events: KernelEvent[] = [];
  decoder.decode(batch, (event) => events.push(event));
  return { events, decoder };
}

const nothingRejected = { cut: 0, short: 0, version: 0, type: 0, length: 0 };
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

function rawEnd(fill: (bytes: Buffer) => void): Buffer {
  return rawRecord(eventLayout.connectionEnd.structBytes, { type: eventNumbers.HW_CONNECTION_CLOSED, transport: 6 }, fill);
}

describe("what a record says", () => {
  it("a turn has its header, its times and both texts", () => {
    const header: Partial<RawHeader> = {
      atNs: 2n ** 53n - 1n,
      cookie: 2n ** 64n - 1n,
      cgroup: 42n,
      tgid: 4_000_000_000,
      tid: 5,
      netns: 6,
      flags: 3,
    };
    const { events, decoder } = decode(rawBatch([rawTurn("GET /a HTTP/1.1", "HTTP/1.1 200", header)]));
    expect(events).toHaveLength(1);
    const turn = events[0];
    expect(turn).toMatchObject({
      type: "turn",
      atNs: 2 ** 53 - 1,
      cookie: 2n ** 64n - 1n,
      cgroup: 42n,
      tgid: 4_000_000_000,
      tid: 5,
      netns: 6,
    });
    expect(turn).toMatchObject({ role: "server", transport: "tcp", direction: null, flags: 3, requestNs: 1_000, responseNs: 2_500 });
    expect(turn).toMatchObject({ requestBytes: 700, responseBytes: 9_000, sequence: 3 });
    if (turn?.type === "turn") expect([text(turn.request), text(turn.response)]).toEqual(["GET /a HTTP/1.1", "HTTP/1.1 200"]);
    expect([decoder.decoded, decoder.rejected]).toEqual([1, nothingRejected]);
  });

  it("a chunk is a view into the batch", () => {
    const batch = rawBatch([rawChunk(Buffer.from("*1\r\n"))]);
    const { events } = decode(batch);
    expect(events[0]).toMatchObject({ type: "chunk", direction: "sent", offset: 5_000_000_000, bytes: 14, sequence: 8 });
    if (events[0]?.type !== "chunk") return expect.fail("no chunk");
    expect(events[0].data.buffer).toBe(batch.buffer);
    batch.fill("x");
    expect(text(events[0].data)).toBe("xxxx");
  });

  it("a syscall has its result with its sign, and its text joined by spaces", () => {
    const raw = rawSyscall({ number: 59, result: -2n, command: "node" }, Buffer.from("/bin/ls\0-l\0/tmp\0"), { flags: 2 });
    const { events } = decode(rawBatch([raw]));
    expect(events[0]).toMatchObject({
      type: "syscall",
      number: 59,
      result: -2,
      durationNs: 1_234,
      parentTgid: 1,
      command: "node",
      flags: 2,
    });
    expect(events[0]).toMatchObject({ text: "/bin/ls -l /tmp" });
  });

  it("a command may fill its field, and a large pointer as a result stays near", () => {
    const { events } = decode(
      rawBatch([rawSyscall({ number: 9, result: 140_000_000_000_000n, command: "sixteen-bytes-16" }, Buffer.alloc(0))]),
    );
    expect(events[0]).toMatchObject({ command: "sixteen-bytes-16", result: 140_000_000_000_000, text: "" });
  });

  it("an exec has file and arguments, also empty ones; other records of processes have none", () => {
    const exec = rawProcess(eventNumbers.HW_EXEC, Buffer.from("/bin/sh\0sh\0-c\0\0"));
    const others = [eventNumbers.HW_FORK, eventNumbers.HW_EXIT, eventNumbers.HW_OOM_KILL].map((type) => rawProcess(type));
    const { events } = decode(rawBatch([exec, ...others]));
    expect(events[0]).toMatchObject({
      type: "exec",
      file: "/bin/sh",
      arguments: ["sh", "-c", ""],
      startedNs: 77,
      command: "sh",
      parentTgid: 9,
    });
    expect(events.map((event) => event.type)).toEqual(["exec", "fork", "exit", "oom-kill"]);
    expect(events[2]).toMatchObject({ exitCode: 3, exitSignal: 11, childTgid: 12, file: "", arguments: [] });
  });

  it("the ends of a connection are addresses in their usual form", () => {
    const layout = eventLayout.connection;
    const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 9];
    const long = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    const pairs = [
      [{ ip: [10, 1, 2, 3], port: 8080, family: 2 }, "10.1.2.3"],
      [{ ip: mapped, port: 1, family: 10 }, "10.0.0.9"],
      [{ ip: long, port: 2, family: 10 }, "2001:db8::1:0:2"],
      [{ ip: [...Array(15).fill(0), 1], port: 3, family: 10 }, "::1"],
      [{ ip: Array(16).fill(0), port: 4, family: 10 }, "::"],
      [{ ip: [], port: 0, family: 1, peerTgid: 99 }, ""],
    ] as const;
    const records = pairs.map(([remote]) =>
      rawRecord(layout.structBytes, { type: eventNumbers.HW_CONNECTION_OPENED, transport: 6 }, (bytes) =>
        writeAddress(bytes, layout.remote, remote),
      ),
    );
    const { events } = decode(rawBatch(records));
    expect(events.map((event) => (event.type === "connection-opened" ? event.remote.ip : "?"))).toEqual(pairs.map(([, ip]) => ip));
    expect(events[5]).toMatchObject({ remote: { peerTgid: 99 } });
  });

  it("a connection ends closed, failed, or reset by one of its ends", () => {
    const layout = eventLayout.connectionEnd;
    const end = (failed: number, reset: number): Buffer =>
      rawEnd((bytes) => {
        bytes.writeUInt8(failed, layout.failed);
        bytes.writeUInt8(reset, layout.reset);
        bytes.writeUInt16LE(104, layout.error);
        bytes.writeBigUInt64LE(12n, layout.bytesSent);
        bytes.writeBigUInt64LE(34n, layout.bytesReceived);
        bytes.writeBigUInt64LE(56n, layout.openedNs);
        bytes.writeUInt32LE(7, layout.retransmits);
        bytes.writeUInt32LE(80, layout.roundTripUs);
      });
    const { events } = decode(rawBatch([end(0, 0), end(1, 1), end(0, 1), end(0, 2)]));
    expect(events.map((event) => (event.type === "connection-closed" ? event.outcome : "?"))).toEqual([
      "closed",
      "failed",
      "reset-by-peer",
      "reset-here",
    ]);
    expect(events[0]).toMatchObject({ error: 104, bytesSent: 12, bytesReceived: 34, openedNs: 56, retransmits: 7, roundTripUs: 80 });
  });
});

describe("what cannot be read", () => {
  const good = rawTurn("GET / HTTP/1.1", "HTTP/1.1 204");

  it("is counted by its reason, and what follows is read", () => {
    const wrongSplit = rawTurn("ab", "cd");
    wrongSplit.writeUInt16LE(3, eventLayout.turn.requestLength);
    const bad = [
      Buffer.alloc(40),
      rawTurn("a", "b", { version: 2 }),
      rawTurn("a", "b", { type: 0 }),
      rawTurn("a", "b", { type: 11 }),
      rawTurn("a", "b", { tailLength: 0xffff_ffff }),
      rawTurn("a", "b", { tailLength: 1 }),
      good.subarray(0, 60),
      wrongSplit,
    ];
    const { events, decoder } = decode(rawBatch([...bad, good]));
    expect(events).toHaveLength(1);
    expect(decoder.rejected).toEqual({ cut: 0, short: 1, version: 1, type: 2, length: 4 });
  });

  it("ends the batch when the length of a record passes its end", () => {
    const batch = rawBatch([good, good]);
    for (const bytes of [batch.subarray(0, batch.length - 8), batch.subarray(0, batch.length / 2 + 4)]) {
      const { events, decoder } = decode(bytes);
      expect([events.length, decoder.rejected.cut]).toEqual([1, 1]);
    }
  });

  it("never throws: any bytes are events or counted", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const { events, decoder } = decode(bytes);
        expect(decoder.decoded).toBe(events.length);
        const rejected = Object.values(decoder.rejected).reduce((sum, count) => sum + count, 0);
        expect(bytes.length === 0 || events.length + rejected > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("never throws on records with some bytes changed, and reads nothing beyond them", () => {
    const seeds = [
      good,
      rawChunk(Buffer.from("+OK\r\n")),
      rawSyscall({ number: 257, result: 3n, command: "x" }, Buffer.from("/etc/passwd\0")),
      rawProcess(eventNumbers.HW_EXEC, Buffer.from("/bin/sh\0sh\0")),
      rawEnd(() => undefined),
    ];
    const change = fc.tuple(fc.nat(400), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...seeds), { minLength: 1, maxLength: 4 }),
        fc.array(change, { maxLength: 6 }),
        (records, changes) => {
          const batch = rawBatch(records);
          for (const [at, value] of changes) if (at < batch.length) batch[at] = value;
          const { events, decoder } = decode(batch);
          const rejected = Object.values(decoder.rejected).reduce((sum, count) => sum + count, 0);
          expect(events.length + rejected).toBeGreaterThan(0);
          for (const event of events) {
            if (event.type === "chunk")
              expect(event.data.byteOffset + event.data.length).toBeLessThanOrEqual(batch.byteOffset + batch.length);
            if (event.type === "turn") expect(event.request.length + event.response.length).toBeLessThanOrEqual(batch.length);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

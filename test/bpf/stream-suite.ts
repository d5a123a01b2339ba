/** Everything that is not paired in the kernel: streams, unix sockets, name servers; by the tracepoints of sockets and by the fallback. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { eventNumbers } from "../../services/agent/event-layout.generated.ts";
import { useTemporaryFolder } from "../conformance/temporary.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { datagramScript, unixScript, vectors, vectorsScript } from "./request-scripts.ts";
import { Conversation, python, rawServer } from "./request-support.ts";
import { closing, connected, listening, read, until, useSocketProbe } from "./socket-probe.ts";

const { HW_FLAG_FALLBACK, HW_FLAG_TRUNCATED } = eventNumbers;

export function describeStreams(object: "request" | "request-fallback"): void {
  const skipReason = noKernelPrograms;
  const test = it.skipIf(skipReason !== null);
  const open = useSocketProbe("connection", "socket-iterator", object);
  const folder = useTemporaryFolder();
  const always = object === "request" ? 0 : HW_FLAG_FALLBACK;

  describe(`streams by ${object}`, () => {
    test("64 commands of Redis in flight leave as chunks without a hole", async () => {
      const probe = open({ settings: { chunkBytesMax: 4096 } });
      const { server, port } = await rawServer((text, write) => write("+OK\r\n".repeat(text.split("SET").length - 1)));
      const command = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
      const socket = await connected({ port });
      socket.write(command.repeat(64));
      await read(socket, 5 * 64);
      socket.write("GET inline\r\n");
      socket.write(command);
      await read(socket, 5);
      probe.drain();
      for (const role of ["client", "server"] as const) {
        const chunks = probe.chunks.filter((chunk) => chunk.role === role);
        const asked = chunks.filter((chunk) => (chunk.direction === "sent") === (role === "client"));
        expect(asked.map((chunk) => chunk.data).join("")).toBe(`${command.repeat(64)}GET inline\r\n${command}`);
        const answers = chunks.filter((chunk) => (chunk.direction === "sent") === (role === "server"));
        expect(answers.map((chunk) => chunk.data).join("")).toBe("+OK\r\n".repeat(65));
        expect(chunks.map((chunk) => chunk.sequence)).toEqual(chunks.map((_, index) => index + 1));
        expect(chunks.every((chunk) => chunk.flags === always)).toBe(true);
        for (const direction of [asked, answers]) {
          expect(direction.map((chunk) => chunk.offset)).toEqual(offsetsOf(direction.map((chunk) => chunk.bytes)));
        }
      }
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("a chunk is cut at its bound and says so, and says how much there was", async () => {
      const probe = open({ settings: { chunkBytesMax: 100 } });
      const { server, port } = await rawServer(() => {});
      const socket = await connected({ port });
      socket.write(`*1\r\n$5000\r\n${"v".repeat(5000)}\r\n`);
      const conversation = new Conversation(probe, port);
      const [chunk] = await conversation.chunks("client", 1);
      expect(chunk).toMatchObject({ bytes: 5013, flags: always | HW_FLAG_TRUNCATED });
      expect(chunk?.data).toHaveLength(100);
      probe.configure({ level: 4 });
      socket.write("w".repeat(5000));
      const [, full, rest] = await conversation.chunks("client", 3);
      expect(full).toMatchObject({ offset: 5013, bytes: eventNumbers.HW_CHUNK_MAX, flags: always });
      expect(rest).toMatchObject({ offset: 5013 + eventNumbers.HW_CHUNK_MAX, bytes: 5000 - eventNumbers.HW_CHUNK_MAX, flags: always });
      expect(`${full?.data}${rest?.data}`).toBe("w".repeat(5000));
      probe.configure({ level: 2 });
      socket.write("not told");
      await closing(socket);
      await closing(server);
      await conversation.chunks("client", 3);
      probe.kernel.close();
    });

    test("a transfer of several buffers is told in parts up to the bound, the last of which stands for the rest", async () => {
      const probe = open({ settings: { chunkBytesMax: 10_000 } });
      const output = await python(vectorsScript, probe);
      const conversation = new Conversation(probe, Number(output));
      const chunks = await conversation.chunks("client", 3);
      const sent = vectors.join("");
      expect(chunks.map(({ offset, bytes, data }) => [offset, bytes, data.length])).toEqual([
        [0, 4096, 4096],
        [4096, 4096, 4096],
        [8192, sent.length - 8192, 10_000 - 8192],
      ]);
      expect(chunks.map(({ flags }) => flags)).toEqual([always, always, always | HW_FLAG_TRUNCATED]);
      expect(chunks.map(({ data }) => data).join("")).toBe(sent.slice(0, 10_000));
      probe.kernel.close();
    });

    test("what is captured beyond the first part of a transfer is given up while more than a quarter of the ring waits", async () => {
      const probe = open({ settings: { chunkBytesMax: 16_384 }, ringBytes: { data_ring: 65_536 } });
      const { server, port } = await rawServer(() => {});
      const socket = await connected({ port });
      for (let count = 0; count < 2; count++) {
        socket.write("x".repeat(17_000));
        await until(() => socket.writableLength === 0, "it was written");
      }
      await closing(socket);
      await closing(server);
      probe.drain();
      const chunks = probe.chunks.filter((chunk) => chunk.role === "client");
      const first = [4096, 4096, 4096, 17_000 - 3 * 4096];
      expect(chunks.map(({ bytes }) => bytes)).toEqual([...first, 17_000]);
      expect(chunks.map(({ data }) => data.length)).toEqual([4096, 4096, 4096, 4096, 4096]);
      probe.kernel.close();
    });

    test("TLS is left alone", async () => {
      const probe = open();
      const { server, port } = await rawServer((text, write) => write(text));
      const socket = await connected({ port });
      socket.write("\x16\x03\x01\x00\x05hello");
      await read(socket, 10);
      socket.write("\x17\x03\x03\x00\x05secret");
      await read(socket, 11);
      await closing(socket);
      await closing(server);
      probe.drain();
      expect([probe.turns, probe.chunks]).toEqual([[], []]);
      probe.kernel.close();
    });

    test("unix sockets are told with the process at the other end, socketpairs are not", async () => {
      const probe = open();
      const path = join(folder.path, "server.sock");
      const server = createServer((socket) => socket.on("data", () => socket.end("+PONG\r\n")));
      await listening(server, { path });
      const output = await python(unixScript(path), probe);
      const pid = Number(output);
      await until(() => {
        probe.drain();
        return probe.chunks.length >= 4;
      }, "four chunks");
      const cookies = new Map(probe.opened.filter((event) => event.transport === "local").map((event) => [event.role, event]));
      expect(cookies.get("client")).toMatchObject({ tgid: pid, remote: { peerTgid: process.pid } });
      expect(cookies.get("server")).toMatchObject({ tgid: process.pid, remote: { peerTgid: pid } });
      expect(probe.chunks.map((chunk) => [chunk.role, chunk.direction, chunk.data])).toEqual([
        ["client", "sent", "*1\r\n$4\r\nPING\r\n"],
        ["server", "received", "*1\r\n$4\r\nPING\r\n"],
        ["server", "sent", "+PONG\r\n"],
        ["client", "received", "+PONG\r\n"],
      ]);
      await closing(server);
      probe.kernel.close();
    });

    test("questions to a name server are told, other datagrams are not", async () => {
      const probe = open();
      // Two files run this side by side.
      const host = object === "request" ? "127.0.0.86" : "127.0.0.87";
      const answering = createSocket("udp4", (message, from) => answering.send(`a${message}`, from.port, from.address));
      const outcome = await new Promise<string>((resolve) => {
        answering.once("error", (error) => resolve(error.message));
        answering.bind(53, host, () => resolve(""));
      });
      expect(outcome).toBe("");
      await python(datagramScript(host), probe);
      await until(() => {
        probe.drain();
        return probe.chunks.length >= 16;
      }, "sixteen chunks");
      answering.close();
      const client = probe.chunks.filter((chunk) => chunk.role === "client");
      expect(client.filter((chunk) => chunk.direction === "sent").map((chunk) => chunk.data)).toEqual(["q-one", "q-two", "m-one", "m-two"]);
      expect(client.filter((chunk) => chunk.direction === "received").map((chunk) => chunk.data)).toEqual([
        "aq-one",
        "aq-two",
        "am-one",
        "am-two",
      ]);
      expect(probe.chunks).toHaveLength(16);
      const asked = probe.opened.filter((event) => event.role === "client" && event.transport === "udp");
      expect(asked.map((event) => [event.remote.ip, event.remote.port])).toEqual(asked.map(() => [host, 53]));
      probe.kernel.close();
    });

    test("a connection that the agent cannot read is left alone when it says so", async () => {
      const probe = open();
      const { server, port } = await rawServer((text, write) => write(text));
      const socket = await connected({ port });
      const turn = async () => {
        socket.write("\x00\x01");
        await read(socket, 2);
      };
      await turn();
      probe.drain();
      for (const { cookie } of probe.opened) {
        const key = Buffer.alloc(8);
        key.writeBigUInt64LE(cookie);
        probe.kernel.updateMap("ignored_connections", key, Buffer.from([1, 0, 0, 0]));
      }
      for (let count = 0; count < 30; count++) await turn();
      probe.drain();
      // It is looked up every 16th record: 16 of each end, of 62.
      expect(probe.chunks).toHaveLength(32);
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("records that do not fit are lost at the data ring, and the sequence has the hole", async () => {
      const probe = open({ ringBytes: { data_ring: 4096 }, settings: { chunkBytesMax: 256 } });
      const { server, port } = await rawServer((text, write) => write(text));
      const socket = await connected({ port });
      for (let count = 0; count < 30; count++) {
        socket.write("x".repeat(200));
        await read(socket, 200);
      }
      const lost = probe.lost("HW_LOSS_DATA_RING");
      const before = probe.chunks.length;
      probe.drain();
      expect(lost).toBeGreaterThan(0);
      expect(probe.chunks.length - before + lost).toBe(30 * 4);
      socket.write("after");
      await read(socket, 5);
      probe.drain();
      const client = probe.chunks.filter((chunk) => chunk.role === "client");
      expect(client.at(-1)).toMatchObject({ sequence: 62, data: "after" });
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });
  });
}

/** Of pieces one after another. */
function offsetsOf(lengths: readonly number[]): number[] {
  let at = 0;
  return lengths.map((length) => {
    at += length;
    return at - length;
  });
}

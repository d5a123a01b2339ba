/** HTTP/1, told once for the tracepoints of sockets and once for the fallback by sys_exit: both must tell the same. */
import { Agent } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { eventNumbers } from "../../services/agent/event-layout.generated.ts";
import { useTemporaryFolder } from "../conformance/temporary.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { givenUpScript, hangingScript, piecesScript, readAfterResetScript, sendfileScript, sentFileScript } from "./request-scripts.ts";
import { answerOf, ask, Conversation, hostilePayloads, httpServer, python, rawServer, startedPython } from "./request-support.ts";
import { closing, connected, listening, read, until, useSocketProbe } from "./socket-probe.ts";

const { HW_FLAG_EXISTING, HW_FLAG_FALLBACK, HW_FLAG_GAP, HW_FLAG_OVERLAP, HW_FLAG_RESET, HW_FLAG_TRUNCATED, HW_FLAG_UNANSWERED } =
  eventNumbers;

export function describeRequests(object: "request" | "request-fallback"): void {
  const skipReason = noKernelPrograms;
  if (skipReason !== null) process.stdout.write(`test/bpf/${object}.test.ts: ${skipReason}\n`);
  const test = it.skipIf(skipReason !== null);
  const open = useSocketProbe("connection", "socket-iterator", object);
  const folder = useTemporaryFolder();
  const always = object === "request" ? 0 : HW_FLAG_FALLBACK;

  describe(`requests by ${object}`, () => {
    test("every program loads", () => {
      const probe = open();
      const refused = probe.programs.filter((program) => !program.loaded).map((program) => [program.name, program.verifierLog]);
      expect(refused).toEqual([]);
      const own = probe.programs.filter((program) => program.object === object);
      expect(own.map((program) => program.attached)).toEqual(own.map(() => true));
      expect(own.length).toBeGreaterThan(0);
      probe.kernel.close();
    });

    test("each request of a kept connection is one turn at each end, with path, status and times", async () => {
      const probe = open();
      const { server, port } = await httpServer();
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const paths = ["/0", "/bad", "/long", ...Array.from({ length: 60 }, (_, index) => `/item/${index}`)];
      for (const path of paths) expect(await ask({ port, agent, path })).toBe(path === "/bad" ? 503 : 200);
      const conversation = new Conversation(probe, port);
      for (const role of ["client", "server"] as const) {
        const turns = await conversation.turns(role, paths.length);
        expect(turns.map((turn) => turn.request.split(" ")[1])).toEqual(paths);
        expect(turns.map((turn) => turn.response.slice(9, 12))).toEqual(paths.map((path) => (path === "/bad" ? "503" : "200")));
        expect(turns.map((turn) => turn.sequence)).toEqual(paths.map((_, index) => index + 1));
        expect(turns.every((turn) => turn.responseNs > turn.requestNs && turn.atNs === turn.responseNs)).toBe(true);
        expect(turns.every((turn) => turn.flags === always && turn.tgid === process.pid)).toBe(true);
      }
      expect(probe.chunks).toEqual([]);
      expect(probe.losses()).toEqual([]);
      agent.destroy();
      await closing(server);
      probe.kernel.close();
    });

    test("bodies are counted and not copied beyond the bound, 100 Continue is no answer", async () => {
      const probe = open();
      const { server, port } = await httpServer();
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const body = "z".repeat(100_000);
      await ask({ port, agent, path: "/upload", body });
      await ask({ port, agent, path: "/wait", body: "12345", headers: { expect: "100-continue", "content-length": "5" } });
      const [upload, waited] = await new Conversation(probe, port).turns("server", 2);
      expect(upload?.requestBytes).toBeGreaterThan(100_000);
      expect(upload?.request.length).toBeLessThanOrEqual(eventNumbers.HW_TURN_REQUEST_MAX);
      expect((upload?.flags ?? 0) & HW_FLAG_TRUNCATED).toBe(HW_FLAG_TRUNCATED);
      expect(waited?.response).toMatch(/^HTTP\/1.1 200/);
      agent.destroy();
      await closing(server);
      probe.kernel.close();
    });

    test("an interim answer that brings the final one along is passed over", async () => {
      const probe = open();
      const { server, port } = await rawServer((_, write) => write(`HTTP/1.1 100 Continue\r\n\r\n${answerOf("x")}`));
      const socket = await connected({ port });
      socket.write("PUT /interim HTTP/1.1\r\nContent-Length: 1\r\n\r\ny");
      await read(socket, 25 + answerOf("x").length);
      const conversation = new Conversation(probe, port);
      for (const role of ["client", "server"] as const) {
        expect((await conversation.turns(role, 1))[0]?.response).toBe(answerOf("x"));
      }
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("a head that comes in pieces and an answer that is read by the byte are put together", async () => {
      const probe = open();
      const output = await python(piecesScript, probe);
      const [, port] = /^port (\d+)$/m.exec(output) ?? [];
      const conversation = new Conversation(probe, Number(port));
      const [served] = await conversation.turns("server", 1);
      expect(served?.request).toBe("GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n");
      expect(served?.response).toMatch(/^HTTP\/1.1 404 No such thing/);
      const [asked] = await conversation.turns("client", 1);
      expect([asked?.request, asked?.response]).toEqual(["GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"]);
      probe.kernel.close();
    });

    test("pipelined requests leave in chunks that hold all of them", async () => {
      const probe = open();
      const { server, port } = await rawServer((text, write) => {
        for (const path of text.match(/GET \S+/g) ?? []) write(answerOf(path));
      });
      const pipelined = ["/a", "/b", "/c"].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join("");
      const socket = await connected({ port });
      socket.write(pipelined);
      await read(socket, 3 * answerOf("GET /a").length);
      const chunks = await new Conversation(probe, port).chunks("server", 4);
      expect(chunks[0]).toMatchObject({ direction: "received", data: pipelined, offset: 0, bytes: pipelined.length });
      expect(chunks.every((chunk) => chunk.flags === (always | HW_FLAG_OVERLAP))).toBe(true);
      const sent = chunks.filter((chunk) => chunk.direction === "sent");
      expect(sent.map((chunk) => chunk.data).join("")).toBe(["GET /a", "GET /b", "GET /c"].map(answerOf).join(""));
      expect(probe.turns).toEqual([]);
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("a second request before the answer makes the first a chunk as well", async () => {
      const probe = open();
      let waiting = "";
      const { server, port } = await rawServer((text, write) => {
        waiting += text;
        if (waiting.includes("/second")) write(answerOf("1") + answerOf("2"));
      });
      const socket = await connected({ port });
      const [first, second] = ["/first", "/second"].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      socket.write(first ?? "");
      await until(() => waiting === first, "the first request arrived");
      socket.write(second ?? "");
      await read(socket, 2 * answerOf("1").length);
      const chunks = await new Conversation(probe, port).chunks("server", 3);
      expect(chunks.map((chunk) => [chunk.data, chunk.offset, chunk.sequence])).toEqual([
        [first, 0, 1],
        [second, first?.length, 2],
        [answerOf("1") + answerOf("2"), 0, 3],
      ]);
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("an answer nobody asked for is counted as a turn without a request", async () => {
      const probe = open();
      const { server, port } = await rawServer((_, write) => {
        write(answerOf("1"));
        setTimeout(() => write(answerOf("2")), 20);
      });
      const socket = await connected({ port });
      socket.write("POST /both HTTP/1.1\r\nContent-Length: 0\r\n\r\nPOST /hidden HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
      await read(socket, 2 * answerOf("1").length);
      const [first, second] = await new Conversation(probe, port).turns("server", 2);
      expect(first?.request).toMatch(/^POST \/both/);
      expect(second).toMatchObject({ request: "", response: answerOf("2"), flags: always | HW_FLAG_OVERLAP | HW_FLAG_GAP });
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("peeked bytes count once, a body by sendfile counts no answer of its own", async () => {
      const probe = open();
      const port = Number(await python(sendfileScript(folder.path), probe));
      const conversation = new Conversation(probe, port);
      for (const role of ["client", "server"] as const) {
        const turns = await conversation.turns(role, 3);
        expect(turns.map((turn) => turn.request)).toEqual(Array(3).fill("GET /file HTTP/1.1\r\n\r\n"));
        expect(turns.map((turn) => turn.response.slice(0, 15))).toEqual(Array(3).fill("HTTP/1.1 200 OK"));
      }
      probe.kernel.close();
    });

    test("a request that its client gives up is one unanswered turn at each end, however late the server writes", async () => {
      const probe = open();
      const output = await python(givenUpScript, probe);
      const conversation = new Conversation(probe, Number(output));
      const waitedMs = { client: 0, server: 0 };
      for (const role of ["client", "server"] as const) {
        const [answered, given, ...more] = await conversation.turns(role, 2);
        expect(more).toEqual([]);
        expect(answered).toMatchObject({ request: "GET /quick HTTP/1.1\r\n\r\n", response: "HTTP/1.1 204 X\r\n\r\n", flags: always });
        expect(given).toMatchObject({ request: "GET /slow HTTP/1.1\r\n\r\n", response: "", responseBytes: 0, sequence: 2 });
        expect(given?.flags).toBe(always | HW_FLAG_UNANSWERED | (role === "client" ? 0 : HW_FLAG_RESET));
        waitedMs[role] = ((given?.responseNs ?? 0) - (given?.requestNs ?? 0)) / 1e6;
      }
      expect(waitedMs.client).toBeGreaterThan(199);
      expect(waitedMs.server).toBeGreaterThan(399);
      expect(waitedMs.client).toBeLessThan(waitedMs.server);
      probe.kernel.close();
    });

    test("a server that is killed leaves its request unanswered at both ends", async () => {
      const probe = open();
      const { kill, says, port } = await startedPython(hangingScript, probe);
      const socket = await connected({ port });
      socket.on("error", () => {});
      socket.write("GET /never HTTP/1.1\r\n\r\n");
      await says("asked");
      kill();
      await new Promise((resolve) => socket.once("close", resolve));
      const conversation = new Conversation(probe, port);
      for (const role of ["client", "server"] as const) {
        const [turn] = await conversation.turns(role, 1);
        expect(turn).toMatchObject({ request: "GET /never HTTP/1.1\r\n\r\n", response: "" });
        expect((turn?.flags ?? 0) & HW_FLAG_UNANSWERED).toBe(HW_FLAG_UNANSWERED);
      }
      probe.kernel.close();
    });

    test("a server that closes a local socket leaves its request unanswered at the client's end", async () => {
      const probe = open();
      const path = join(folder.path, "local");
      const server = createServer((socket) => void socket.once("data", () => socket.end()));
      await listening(server, { path });
      const socket = await connected({ path });
      socket.write("GET /local HTTP/1.1\r\n\r\n");
      await new Promise((resolve) => socket.resume().once("close", resolve));
      await until(() => {
        probe.drain();
        return probe.turns.length > 0;
      }, "the turn");
      expect(probe.turns).toMatchObject([{ role: "client", request: "GET /local HTTP/1.1\r\n\r\n", response: "" }]);
      expect(probe.turns[0]?.flags).toBe(always | HW_FLAG_UNANSWERED);
      await closing(server);
      probe.kernel.close();
    });

    test("closing a kept connection that waits for nothing tells nothing, and neither does one that was never asked", async () => {
      const probe = open();
      const { server, port } = await httpServer();
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      await ask({ port, agent, path: "/once" });
      agent.destroy();
      await closing(await connected({ port }));
      await until(() => {
        probe.drain();
        return probe.closed.filter((end) => end.local.port === port || end.remote.port === port).length >= 4;
      }, "both connections are closed at both ends");
      await closing(server);
      probe.drain();
      expect(probe.turns.map((turn) => turn.flags)).toEqual([always, always]);
      probe.kernel.close();
    });

    test("an answer whose bytes the programs cannot look at is an answer all the same", async () => {
      const probe = open();
      const port = Number(await python(sentFileScript(folder.path), probe));
      await until(() => {
        probe.drain();
        return probe.closed.filter((end) => end.local.port === port || end.remote.port === port).length >= 2;
      }, "the connection is closed at both ends");
      probe.drain();
      expect(probe.turns.filter(({ flags }) => (flags & HW_FLAG_UNANSWERED) !== 0)).toEqual([]);
      expect(probe.turns.some(({ role, response }) => role === "client" && response.startsWith("HTTP/1.1 200"))).toBe(true);
      probe.kernel.close();
    });

    test("an answer that was there before the reset is still told when it is read", async () => {
      const probe = open();
      const port = Number(await python(readAfterResetScript, probe));
      const [turn] = await new Conversation(probe, port).turns("client", 1);
      expect(turn).toMatchObject({ request: "GET /late HTTP/1.1\r\n\r\n", response: "HTTP/1.1 413 Large\r\n\r\n", flags: always });
      probe.kernel.close();
    });

    test("a connection of before is adopted, with the role that its listener gives", async () => {
      const { server, port } = await rawServer((_, write) => write(answerOf("old")));
      const socket = await connected({ port });
      const probe = open();
      probe.iterate("hw_list_listeners");
      socket.write("GET /old HTTP/1.1\r\n\r\n");
      await read(socket, answerOf("old").length);
      probe.drain();
      expect(probe.turns.map((turn) => [turn.role, turn.request.slice(0, 8)]).sort()).toEqual([
        ["client", "GET /old"],
        ["server", "GET /old"],
      ]);
      expect(probe.opened.every((event) => (event.flags & (HW_FLAG_EXISTING | HW_FLAG_FALLBACK)) !== 0)).toBe(true);
      await closing(socket);
      await closing(server);
      probe.kernel.close();
    });

    test("hostile payloads harm nobody: the next request of an honest client is told", async () => {
      const probe = open();
      const { server, port } = await rawServer((text, write) => {
        if (text.includes("\r\n\r\n")) write(answerOf("x"));
      });
      for (const payload of hostilePayloads()) {
        const socket = await connected({ port });
        socket.on("error", () => {});
        await new Promise<void>((resolve) => socket.write(payload, "latin1", () => resolve()));
        socket.destroy();
      }
      const before = probe.turns.length;
      const honest = await connected({ port });
      honest.write("GET /honest HTTP/1.1\r\n\r\n");
      await read(honest, answerOf("x").length);
      await until(() => {
        probe.drain();
        return probe.turns.filter((turn) => turn.request.startsWith("GET /honest ")).length === 2;
      }, "the honest turn at both ends");
      expect(probe.turns.length).toBeGreaterThan(before);
      expect(probe.turns.every((turn) => turn.request.length <= 256 && turn.response.length <= 64)).toBe(true);
      expect(probe.chunks.every((chunk) => chunk.data.length <= eventNumbers.HW_CHUNK_MAX)).toBe(true);
      await closing(honest);
      await closing(server);
      probe.kernel.close();
    });
  });
}

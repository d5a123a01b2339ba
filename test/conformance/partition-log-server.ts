/** A redis-server that can be killed, started again on the same data, stopped and continued, and a way to it that can be cut. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { findRedis } from "../../lab/servers.ts";
import { temporaryFolder, until } from "./temporary.ts";

export class KillableRedis {
  readonly port: number;
  readonly url: string;
  readonly #folder: Awaited<ReturnType<typeof temporaryFolder>>;
  readonly #args: readonly string[];
  #child: ChildProcess | null = null;

  private constructor(port: number, folder: Awaited<ReturnType<typeof temporaryFolder>>, args: readonly string[]) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#folder = folder;
    this.#args = args;
    process.once("exit", () => this.#child?.kill("SIGKILL"));
  }

  /** Every write is on the disk before it is answered, unless `args` say otherwise. */
  static async start(args: readonly string[] = []): Promise<KillableRedis> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    server.close();
    await once(server, "close");
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const redis = new KillableRedis(port, await temporaryFolder(), args);
    try {
      await redis.again();
    } catch (error) {
      await redis.remove();
      throw error;
    }
    return redis;
  }

  /** Starts the server on the data it left. */
  async again(): Promise<void> {
    const fixed = ["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.#folder.path, "--save", ""];
    const durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];
    this.#child = spawn(findRedis() ?? "redis-server", [...fixed, ...durable, ...this.#args], { stdio: "ignore" });
    // Also one that wants a password first, answers.
    await until("Redis answers", () => answers(this.port, /^(\+PONG|-NOAUTH)/));
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    await this.#folder.remove();
  }
}

/** A way to a server that can be cut after a request has arrived there and before its answer is back. */
export class CutWay {
  readonly url: string;
  answersLost = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #losing: { readonly thenCutMs: number } | null = null;
  #cutUntilMs = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `redis://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket) => this.#connect(socket, port));
  }

  static async to(port: number): Promise<CutWay> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new CutWay(server, port);
  }

  /** Swallows the answer to the next script, cuts the way, and lets nobody through for a time. */
  loseAnswer(options: { readonly thenCutMs: number }): void {
    this.#losing = options;
  }

  mend(): void {
    this.#cutUntilMs = 0;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #connect(socket: Socket, port: number): void {
    if (performance.now() < this.#cutUntilMs) {
      socket.destroy();
      return;
    }
    const onward = connect(port, "127.0.0.1");
    const ends = [socket, onward];
    for (const end of ends) {
      this.#sockets.add(end);
      end.on("error", () => undefined);
      end.on("close", () => {
        this.#sockets.delete(end);
        for (const other of ends) other.destroy();
      });
    }
    let isLost = false;
    socket.on("data", (bytes) => {
      isLost ||= this.#losing !== null && /\r\nEVAL(SHA)?\r\n/i.test(bytes.toString("latin1"));
      onward.write(bytes);
    });
    onward.on("data", (bytes) => {
      if (!isLost) {
        socket.write(bytes);
        return;
      }
      this.answersLost += 1;
      this.#cutUntilMs = performance.now() + (this.#losing?.thenCutMs ?? 0);
      this.#losing = null;
      socket.destroy();
    });
  }
}

function answers(port: number, expected: RegExp): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once("data", (bytes) => {
      resolve(expected.test(bytes.toString()));
      socket.destroy();
    });
    socket.once("error", () => undefined);
    socket.once("close", () => resolve(false));
  });
}

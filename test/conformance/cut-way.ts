import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

const aScript = /\r\nEVAL(SHA)?\r\n/i;

interface LosingOptions {
  readonly thenCutMs: number;
  /** What is in the request whose answer is lost; a script unless told. */
  readonly to?: RegExp;
}

/** A way to a server that can be cut after a request has arrived there and before its answer is back. */
export class CutWay {
  readonly url: string;
  answersLost = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #losing: LosingOptions | null = null;
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

  /** Swallows the answer to the next script or what else is told, cuts the way, and lets nobody through for a time. */
  loseAnswer(options: LosingOptions): void {
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
      isLost ||= this.#losing !== null && (this.#losing.to ?? aScript).test(bytes.toString("latin1"));
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

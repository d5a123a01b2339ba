/** Something that is reached as a Neo4j is, and is none that we can use. */
import { createServer, type Server, type Socket } from "node:net";

export interface FakeServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Takes connections and never says a word. */
export function silentServer(): Promise<FakeServer> {
  return listening(() => undefined);
}

/** Speaks Bolt 4.4 just well enough to say that it is this. */
export function serverThatIs(agent: string): Promise<FakeServer> {
  return listening((socket) => {
    let isGreeted = false;
    socket.on("data", () => {
      socket.write(isGreeted ? success({ server: agent, connection_id: "bolt-1" }) : Buffer.from([0, 0, 4, 4]));
      isGreeted = true;
    });
  });
}

async function listening(onConnection: (socket: Socket) => void): Promise<FakeServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** A chunk with the message SUCCESS and a map of short texts. */
function success(texts: Record<string, string>): Buffer {
  const entries = Object.entries(texts);
  const text = (value: string): Buffer => Buffer.concat([Buffer.from([0xd0, value.length]), Buffer.from(value)]);
  const map = Buffer.concat([Buffer.from([0xa0 + entries.length]), ...entries.flatMap(([key, value]) => [text(key), text(value)])]);
  const message = Buffer.concat([Buffer.from([0xb1, 0x70]), map]);
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message, Buffer.from([0, 0])]);
}

import type { AddressInfo, Socket } from "node:net";
import { createServer, connect as tcpConnect } from "node:net";
import type { ChunkPiece } from "../../../../services/agent/protocol/connection-parser.ts";
import { ConnectionParser } from "../../../../services/agent/protocol/connection-parser.ts";
import type { Exchange } from "../../../../services/agent/protocol/exchange.ts";
import { OperationNames } from "../../../../services/agent/protocol/operation-names.ts";

/** Bytes of one direction as they passed. */
export interface Passage {
  readonly from: "client" | "server";
  readonly data: Uint8Array;
}

export interface FeedOptions {
  readonly role: "client" | "server" | "unknown";
  readonly port?: number;
  /** Captured of a piece at most. */
  readonly capturedMax?: number;
  readonly transport?: "tcp" | "udp";
  readonly existing?: boolean;
  readonly operations?: OperationNames;
  /** Pieces, by number from 0, whose records are lost. */
  readonly lost?: ReadonlySet<number>;
  /** When a passage happened, by its number. */
  readonly atNs?: (passage: number) => number;
}

export function passages(...list: readonly (readonly ["client" | "server", string | Uint8Array])[]): Passage[] {
  return list.map(([from, data]) => ({ from, data: typeof data === "string" ? Buffer.from(data, "latin1") : data }));
}

/** Cuts every passage into pieces of the given sizes, over and over; what belongs to one passage keeps its time. */
export function pieces(list: readonly Passage[], sizes: readonly number[], options: FeedOptions): ChunkPiece[] {
  const offsets = { client: options.existing === true ? 1_000 : 0, server: options.existing === true ? 1_000 : 0 };
  const found: ChunkPiece[] = [];
  let turn = 0;
  for (const [index, passage] of list.entries()) {
    for (let at = 0; at < passage.data.length; ) {
      const size = Math.max(1, sizes.length === 0 ? passage.data.length : (sizes[turn % sizes.length] ?? 1));
      turn += 1;
      const whole = passage.data.subarray(at, at + size);
      const sent = (passage.from === "client") !== (options.role === "server");
      found.push({
        direction: sent ? "sent" : "received",
        role: options.role,
        sequence: found.length + 1,
        atNs: options.atNs?.(index) ?? 1e9 + index * 1_000,
        offset: offsets[passage.from],
        bytes: whole.length,
        // A copy, as the batch is reused behind the parser's back.
        data: new Uint8Array(whole.subarray(0, options.capturedMax ?? whole.length)),
        flags: 0,
      });
      offsets[passage.from] += whole.length;
      at += size;
    }
  }
  return found;
}

export function parserFor(options: FeedOptions): ConnectionParser {
  return new ConnectionParser({
    role: options.role,
    port: options.port ?? 0,
    transport: options.transport ?? "tcp",
    operations: options.operations ?? new OperationNames(),
  });
}

/** All exchanges of these passages; the bytes of each piece are overwritten once it was fed. */
export function feed(
  list: readonly Passage[],
  sizes: readonly number[],
  options: FeedOptions,
): { exchanges: Exchange[]; parser: ConnectionParser } {
  const parser = parserFor(options);
  const exchanges: Exchange[] = [];
  for (const [index, piece] of pieces(list, sizes, options).entries()) {
    if (options.lost?.has(index) === true) continue;
    exchanges.push(...parser.chunk(piece));
    piece.data.fill(0xa5);
  }
  return { exchanges, parser };
}

/** `GET 200` and so on, in order. */
export function said(exchanges: readonly Exchange[]): string[] {
  return exchanges.map((exchange) => `${exchange.operation} ${exchange.status}${exchange.failed === "yes" ? " failed" : ""}`);
}

/** What the parsers answer must not depend on where the bytes were cut. */
export function timeless(exchanges: readonly Exchange[]): Omit<Exchange, "startNs" | "endNs">[] {
  return exchanges.map(({ startNs: _start, endNs: _end, ...rest }) => rest);
}

/** A proxy in front of a server that records what passes, per connection. */
export async function startRecorder(target: { port: number; host?: string }): Promise<{
  readonly port: number;
  readonly connections: Passage[][];
  close(): Promise<void>;
}> {
  const connections: Passage[][] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const passed: Passage[] = [];
    connections.push(passed);
    const upstream = tcpConnect(target.port, target.host ?? "127.0.0.1");
    for (const [socket, other, from] of [
      [client, upstream, "client"],
      [upstream, client, "server"],
    ] as const) {
      sockets.add(socket);
      socket.on("data", (data) => {
        passed.push({ from, data: new Uint8Array(data) });
        other.write(data);
      });
      socket.on("end", () => other.end());
      socket.on("error", () => other.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

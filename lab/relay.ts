/**
 * The network between the services, as a process: one listening port per edge, bytes passed on as they come.
 * An edge that was told so delays them, half of the time on each way, so that neither side's own work takes longer.
 */
import { connect, createServer, type Socket } from "node:net";
import type { Place } from "./address.ts";
import { answerParent, endWithParent } from "./child.ts";
import type { ToRelay } from "./message.ts";

interface Edge {
  target: Place | null;
  /** The address from which it is reached where a firewall puts the caller's in its place; null: any. */
  standIn: string | null;
  delayMs: number;
}

const edges = new Map<string, Edge>();

/** Passes bytes on in order; a chunk never overtakes one that came before it, also when the delay changes in between. */
function pass(from: Socket, to: Socket, edge: Edge): void {
  let dueMs = 0;
  let held = 0;
  const later = (act: () => void): void => {
    const nowMs = performance.now();
    dueMs = Math.max(dueMs, nowMs + edge.delayMs / 2);
    if (held === 0 && dueMs - nowMs < 1) {
      act();
      return;
    }
    held += 1;
    setTimeout(() => {
      held -= 1;
      act();
    }, dueMs - nowMs);
  };
  from.on("data", (chunk) => later(() => to.write(chunk)));
  from.on("end", () => later(() => to.end()));
  from.on("error", () => to.destroy());
  from.on("close", () => later(() => to.destroy()));
}

function accept(client: Socket, edge: Edge): void {
  if (edge.target === null) {
    client.destroy();
    return;
  }
  client.setNoDelay(true);
  // With the caller's own port, so that its address makes this the very connection that the caller opened.
  const from = edge.standIn === null ? {} : { localAddress: edge.standIn, localPort: client.remotePort };
  const target = connect({ ...edge.target, ...from, noDelay: true });
  pass(client, target, edge);
  pass(target, client, edge);
}

function listen(name: string): Promise<[string, number]> {
  const edge: Edge = { target: null, standIn: null, delayMs: 0 };
  edges.set(name, edge);
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (client) => accept(client, edge));
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve([name, typeof address === "object" && address !== null ? address.port : 0]);
    });
  });
}

async function obey(message: ToRelay): Promise<void> {
  if (message.type === "edges") {
    const ports = Object.fromEntries(await Promise.all(message.edges.map(listen)));
    answerParent({ type: "listening", ports });
    return;
  }
  const edge = edges.get(message.edge);
  if (edge === undefined) {
    answerParent({ type: "failed", text: `there is no edge ${message.edge}` });
    return;
  }
  if (message.type === "target") {
    edge.target = message.place;
    edge.standIn = message.standIn;
  } else edge.delayMs = message.delayMs;
  answerParent({ type: "done" });
}

endWithParent();
process.on("message", (message) => {
  obey(message as ToRelay).catch((error: unknown) => answerParent({ type: "failed", text: String(error) }));
});

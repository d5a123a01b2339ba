/** A caller that gives up, a server that goes away: one failed exchange at each end, in whatever order the rings tell of it. */
import { describe, expect, it } from "vitest";
import { ConnectionTable } from "../../../services/agent/connection-table.ts";
import { EventIntake } from "../../../services/agent/event-intake.ts";
import { IdentityBook } from "../../../services/agent/identity.ts";
import type { Chunk, KernelEvent } from "../../../services/agent/kernel-event.ts";
import { KernelEvents } from "../../../services/agent/kernel-events.ts";
import type { ObservedExchange } from "../../../services/agent/observed-exchange.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { RequestTable } from "../../../services/agent/request-table.ts";
import { SpanChoice } from "../../../services/agent/span-choice.ts";
import { StreamTable } from "../../../services/agent/stream-table.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { makeProc } from "./agent-world.ts";
import { closedEvent, openedEvent, turnEvent } from "./kernel-events-by-hand.ts";

const folder = useTemporaryFolder();
const ms = 1_000_000;
const ends = {
  client: { cookie: 5n, role: "client", tgid: 10, local: "10.0.0.1:4000", remote: "10.0.0.2:6379" },
  server: { cookie: 6n, role: "server", tgid: 20, local: "10.0.0.2:6379", remote: "10.0.0.1:4000" },
} as const;
type Side = keyof typeof ends;
const sides = ["client", "server"] as const;

function world() {
  makeProc(folder.path, [
    { pid: 10, command: "node", environment: { OTEL_SERVICE_NAME: "cart" } },
    { pid: 20, command: "node", environment: { OTEL_SERVICE_NAME: "stock" } },
  ]);
  const onCounted = () => undefined;
  const book = { host: "h", cgroups: [], selfTgid: 1, processesMax: 100, readsPerSecondMax: 100 };
  const identities = new IdentityBook({ files: new ProcessFiles(folder.path), ...book, onCounted });
  const connections = new ConnectionTable({ endsMax: 100, listenersMax: 10, lingerNs: 2e9, onCounted });
  const streams = new StreamTable({ identities, streamsMax: 100, ownersMax: 10, onOpaque: () => undefined, onCounted });
  const events = new KernelEvents({ identities, host: "h", recordsPerServiceMax: 10, recordsMax: 10, learnNs: 1e9, onCounted });
  const requests = new RequestTable({ servicesMax: 10, rowsPerServiceMax: 50, onCounted });
  const bounds = { exchangesMax: 100, aloneMax: 10, failedPerSecondMax: 50, slowestPerOperation: 3, operationsMax: 10 };
  const choice = new SpanChoice({ ...bounds, host: "h", onCounted });
  const found: ObservedExchange[] = [];
  const onExchange = (observed: ObservedExchange) => {
    found.push(observed);
    requests.add(observed);
    choice.add(observed);
  };
  const parts = { connections, identities, streams, events, waitingMax: 100, waitNs: 500 * ms };
  const intake = new EventIntake({ ...parts, onExchange, onSystem: () => undefined, onCounted });
  const take = (...list: KernelEvent[]) => {
    for (const event of list) intake.take(event, 0);
  };
  const spans = () => choice.spans({ connections, nowNs: 10e9, seconds: 5, later: null });
  for (const side of sides) take(openedEvent({ ...ends[side], atNs: 1 * ms }));
  return { intake, take, found, requests, spans, connections, streams };
}

const closed = (side: Side, atMs: number, outcome: "closed" | "reset-by-peer" = "closed") =>
  closedEvent({ ...ends[side], atNs: atMs * ms, outcome });

function unansweredTurn(side: Side, of: { startMs: number; endMs: number; flags: number }) {
  const texts = { requestText: "GET /slow HTTP/1.1\r\n\r\n", responseText: "" };
  const { cookie, role, tgid } = ends[side];
  const times = { requestNs: of.startMs * ms, responseNs: of.endMs * ms, atNs: of.endMs * ms };
  return turnEvent({ ...texts, ...times, cookie, role, tgid, flags: of.flags });
}

const offsets = { "*1\r\n$6\r\nDBSIZE\r\n": 0, ":3\r\n": 0 };

function piece(side: Side, text: keyof typeof offsets, of: { atMs: number; sequence: number }): Chunk {
  const isRequest = text.startsWith("*");
  const { cookie, role, tgid } = ends[side];
  const direction = isRequest === (role === "client") ? "sent" : "received";
  const data = Buffer.from(text);
  const header = { cgroup: 0n, tid: tgid, netns: 1, transport: "tcp", flags: 0, offset: offsets[text] } as const;
  return { type: "chunk", ...header, atNs: of.atMs * ms, cookie, role, tgid, direction, bytes: data.length, sequence: of.sequence, data };
}

/** `service side error.type seconds count`, of every point. */
function pointsOf(requests: RequestTable): string[] {
  return requests
    .metrics()
    .flatMap(({ resource, items }) =>
      items.flatMap((metric) =>
        metric.kind === "histogram"
          ? metric.points.map(({ attributes, sum, count }) =>
              [resource["service.name"], metric.name, attributes["error.type"], sum, count].join(" "),
            )
          : [],
      ),
    )
    .sort();
}

describe("a connection that ends before the answer", () => {
  it("is one failed call of the caller and one failed request of the server, for as long as each waited, in HTTP", () => {
    const { take, intake, requests, spans } = world();
    take(unansweredTurn("client", { startMs: 1_000, endMs: 2_500, flags: 32 }), closed("client", 2_500));
    take(closed("server", 4_000, "reset-by-peer"), unansweredTurn("server", { startMs: 1_001, endMs: 4_000, flags: 32 | 64 }));
    intake.endBatch(4_500 * ms);
    expect(pointsOf(requests)).toEqual([
      "cart http.client.request.duration closed 1.5 1",
      "stock http.server.request.duration reset 2.999 1",
    ]);
    const all = spans().flatMap(({ items }) => items);
    const [client, server] = [all.find(({ kind }) => kind === "client"), all.find(({ kind }) => kind === "server")];
    expect(all).toHaveLength(2);
    expect(server?.parentSpanId).toBe(client?.spanId);
    expect([client?.failed, client?.attributes["error.type"]]).toEqual(["yes", "closed"]);
    expect(client?.attributes).not.toHaveProperty("http.response.status_code");
  });

  it("is the same in a stream, whose last bytes may be told behind its end", () => {
    const { take, intake, requests, found } = world();
    take(closed("client", 2_500), closed("server", 2_501));
    for (const side of sides) take(piece(side, "*1\r\n$6\r\nDBSIZE\r\n", { atMs: 1_000, sequence: 1 }));
    intake.endBatch(2_600 * ms);
    expect(found).toEqual([]);
    intake.endBatch(2_700 * ms);
    expect(pointsOf(requests)).toEqual([
      "cart db.client.operation.duration closed 1.5 1",
      "redis@10.0.0.2:6379 db.server.operation.duration closed 1.501 1",
    ]);
    intake.endBatch(9_000 * ms);
    expect(found).toHaveLength(2);
  });

  it("is no failure when the answer is told behind the end", () => {
    const { take, intake, requests } = world();
    for (const side of sides) take(piece(side, "*1\r\n$6\r\nDBSIZE\r\n", { atMs: 1_000, sequence: 1 }));
    take(closed("client", 1_010), closed("server", 1_010));
    for (const side of sides) take(piece(side, ":3\r\n", { atMs: 1_009, sequence: 2 }));
    intake.endBatch(9_000 * ms);
    expect(pointsOf(requests).map((point) => point.split(" ").slice(2).join(" "))).toEqual([" 0.009 1", " 0.009 1"]);
  });

  it("counts an answer that comes after the failure was told no second time", () => {
    const { take, intake, found } = world();
    take(piece("server", "*1\r\n$6\r\nDBSIZE\r\n", { atMs: 1_000, sequence: 1 }), closed("server", 1_500));
    intake.endBatch(2_000 * ms);
    take(piece("server", ":3\r\n", { atMs: 2_100, sequence: 2 }));
    intake.endBatch(9_000 * ms);
    expect(found).toMatchObject([{ side: "server", exchange: { failed: "yes", status: "", unanswered: "closed" } }]);
  });

  it("settles each end once, before and after older ones are forgotten", () => {
    const { connections, take } = world();
    const settled: bigint[] = [];
    take(closed("client", 100));
    connections.settle(200 * ms, (end) => settled.push(end.cookie));
    connections.expire(3_000 * ms);
    take(closed("server", 3_000));
    connections.settle(2_999 * ms, (end) => settled.push(end.cookie));
    expect(settled).toEqual([5n]);
    connections.settle(3_000 * ms, (end) => settled.push(end.cookie));
    connections.settle(9_000 * ms, (end) => settled.push(end.cookie));
    expect(settled).toEqual([5n, 6n]);
  });
});

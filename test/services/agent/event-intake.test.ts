import { describe, expect, it } from "vitest";
import { ConnectionTable } from "../../../services/agent/connection-table.ts";
import { EventIntake } from "../../../services/agent/event-intake.ts";
import { IdentityBook } from "../../../services/agent/identity.ts";
import { KernelEvents } from "../../../services/agent/kernel-events.ts";
import type { ObservedExchange } from "../../../services/agent/observed-exchange.ts";
import { ProcessFiles } from "../../../services/agent/process-files.ts";
import { StreamTable } from "../../../services/agent/stream-table.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { makeProc } from "./agent-world.ts";
import { openedEvent, turnEvent } from "./kernel-events-by-hand.ts";

const folder = useTemporaryFolder();
const ms = 1_000_000;

function intake(changed: { waitingMax?: number; streamsMax?: number } = {}) {
  makeProc(folder.path, [{ pid: 10, command: "node", environment: { OTEL_SERVICE_NAME: "cart" } }]);
  const found: ObservedExchange[] = [];
  const counted: string[] = [];
  const onCounted = (what: string) => void counted.push(what);
  const book = { host: "h", cgroups: [], selfTgid: 1, processesMax: 100, readsPerSecondMax: 100 };
  const identities = new IdentityBook({ files: new ProcessFiles(folder.path), ...book, onCounted });
  const connections = new ConnectionTable({ endsMax: 100, listenersMax: 10, lingerNs: 1e9, onCounted });
  const streams = new StreamTable({
    identities,
    streamsMax: changed.streamsMax ?? 100,
    ownersMax: 10,
    onOpaque: () => undefined,
    onCounted,
  });
  const events = new KernelEvents({ identities, host: "h", recordsPerServiceMax: 10, recordsMax: 10, learnNs: 1e9, onCounted });
  const bounds = { waitingMax: changed.waitingMax ?? 100, waitNs: 500 * ms };
  const onExchange = (observed: ObservedExchange) => void found.push(observed);
  const made = new EventIntake({ connections, identities, streams, events, ...bounds, onExchange, onSystem: () => undefined, onCounted });
  const turn = (cookie: bigint, atMs: number, tgid = 10) => {
    const texts = { requestText: "GET /a HTTP/1.1\r\n\r\n", responseText: "HTTP/1.1 200 OK\r\n\r\n" };
    const times = { requestNs: (atMs - 1) * ms, responseNs: atMs * ms, atNs: atMs * ms };
    made.take(turnEvent({ ...texts, ...times, cookie, tgid, role: "client" }), 0);
  };
  return { made, turn, found, counted };
}

describe("the intake of events", () => {
  it("lets a request wait for its connection, which another ring tells", () => {
    const { made, turn, found, counted } = intake();
    turn(5n, 100);
    made.endBatch(110 * ms);
    expect(found).toEqual([]);
    made.take(openedEvent({ cookie: 5n, role: "client", tgid: 10, atNs: 99 * ms, local: "10.0.0.1:4000", remote: "10.0.0.2:80" }), 0);
    made.endBatch(120 * ms);
    expect(found).toMatchObject([{ side: "client", server: { ip: "10.0.0.2", port: 80 }, who: { name: "cart" } }]);
    expect(counted).toEqual([]);
  });

  it("counts a request all the same when its connection is never told", () => {
    const { made, turn, found, counted } = intake();
    turn(5n, 100);
    made.endBatch(700 * ms);
    expect(found).toMatchObject([{ side: "client", server: null }]);
    expect(counted).toEqual(["connection-unknown"]);
  });

  it("waits for no more than its bound, counted, and loses none", () => {
    const { made, turn, found, counted } = intake({ waitingMax: 3 });
    for (let at = 0; at < 5; at += 1) turn(BigInt(10 + at), 100);
    made.endBatch(700 * ms);
    expect(found).toHaveLength(5);
    expect(counted.filter((what) => what === "exchanges-not-waited-for")).toHaveLength(2);
  });

  it("keeps no more parsers than its bound, counted, and reports nobody's requests", () => {
    const { made, turn, found, counted } = intake({ streamsMax: 2 });
    for (let at = 0; at < 4; at += 1) turn(BigInt(20 + at), 100, 999);
    made.endBatch(700 * ms);
    expect(found).toEqual([]);
    expect(counted.filter((what) => what === "streams-forgotten")).toHaveLength(2);
  });
});

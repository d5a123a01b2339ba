import { describe, expect, it } from "vitest";
import { type ConnectionEnd, ConnectionTable } from "../../../services/agent/connection-table.ts";
import type { ServiceIdentity } from "../../../services/agent/identity.ts";
import type { ObservedExchange } from "../../../services/agent/observed-exchange.ts";
import type { SpanItem } from "../../../services/agent/otlp-item.ts";
import type { Exchange } from "../../../services/agent/protocol/exchange.ts";
import { SpanChoice, type SpanChoiceOptions } from "../../../services/agent/span-choice.ts";
import { bootMs } from "./agent-world.ts";
import { openedEvent } from "./kernel-events-by-hand.ts";

const ms = 1_000_000;

function service(name: string): ServiceIdentity {
  const none = { namespace: null, version: null, zone: null, containerId: null, podUid: null };
  return { key: name, name, instance: "i", host: "h", source: "environment", ...none };
}

function exchange(startMs: number, endMs: number, changed: Partial<Exchange> = {}): Exchange {
  const plain = { protocol: "http", operation: "GET /a", status: "200", failed: "no", requestBytes: 1, responseBytes: 1 } as const;
  return { ...plain, startNs: startMs * ms, endNs: endMs * ms, ...changed };
}

class Host {
  readonly connections = new ConnectionTable({ endsMax: 1_000, listenersMax: 10, lingerNs: 1e9, onCounted: () => undefined });
  readonly counted: string[] = [];
  readonly #host: string;

  constructor(host: string) {
    this.#host = host;
  }

  choice(changed: Partial<SpanChoiceOptions> = {}): SpanChoice {
    return new SpanChoice({
      ...{ exchangesMax: 1_000, aloneMax: 200, failedPerSecondMax: 50, slowestPerOperation: 3, operationsMax: 100 },
      host: this.#host,
      onCounted: (what) => this.counted.push(what),
      ...changed,
    });
  }

  end(fields: Parameters<typeof openedEvent>[0]): ConnectionEnd {
    const end = this.connections.opened(openedEvent({ atNs: 1, ...fields }));
    if (end === null) throw new Error("refused");
    return end;
  }

  spans(choice: SpanChoice, later: SpanChoice | null = null): (SpanItem & { service: unknown })[] {
    const resources = choice.spans({ connections: this.connections, nowNs: 10e9, seconds: 1, later });
    return resources.flatMap(({ resource, items }) => items.map((item) => ({ ...item, service: resource["service.name"] })));
  }
}

function seen(who: string, end: ConnectionEnd, of: Exchange): ObservedExchange {
  const side = end.role === "client" ? "client" : "server";
  const server = side === "client" ? end.remote : end.local;
  return { exchange: of, who: service(who), side, end, server, clockOffsetNs: bootMs * ms, isSent: false };
}

const clientSide = { cookie: 1n, role: "client", tgid: 10, local: "10.0.0.1:4000", remote: "10.0.0.2:80" } as const;
const serverSide = { cookie: 2n, role: "server", tgid: 20, local: "10.0.0.2:80", remote: "10.0.0.1:4000" } as const;

describe("the choice of spans", () => {
  it("pairs the same exchange of both sides, the server's inside the client's", () => {
    const host = new Host("h");
    const [client, server] = [host.end(clientSide), host.end(serverSide)];
    const choice = host.choice();
    for (const startMs of [100, 200, 300]) choice.add(seen("server", server, exchange(startMs + 1, startMs + 8)));
    for (const startMs of [100, 200, 300]) choice.add(seen("client", client, exchange(startMs, startMs + 10)));
    const spans = host.spans(choice);
    for (const child of spans.filter(({ kind }) => kind === "server")) {
      const parent = spans.find(({ spanId }) => spanId === child.parentSpanId);
      expect(parent?.traceId).toBe(child.traceId);
      expect(child.startNs - (parent?.startNs ?? 0n)).toBe(BigInt(ms));
      expect(child.attributes["headwater.confidence"]).toBeUndefined();
    }
    expect(spans.filter(({ kind }) => kind === "server").length).toBe(3);
    expect(spans.filter(({ kind }) => kind === "client").length).toBe(3);
  });

  it("finds the other side of an exchange that began before the end of the interval and was answered after it", () => {
    const host = new Host("h");
    const [client, server] = [host.end(clientSide), host.end(serverSide)];
    const [choice, later] = [host.choice(), host.choice()];
    choice.add(seen("server", server, exchange(990, 999, { status: "500", failed: "yes" })));
    later.add(seen("client", client, exchange(989, 1_001, { status: "500", failed: "yes" })));
    expect(host.spans(choice, later).map(({ kind, failed }) => `${kind} ${failed}`)).toEqual(["client yes", "server yes"]);
    expect(host.spans(later)).toEqual([]);
  });

  it("makes one trace of a connection between two hosts, without either knowing of the other", () => {
    const [here, there] = [new Host("here"), new Host("there")];
    const [calling, called] = [here.choice(), there.choice()];
    calling.add(seen("client", here.end(clientSide), exchange(100, 120)));
    called.add(seen("server", there.end({ ...serverSide, cookie: 77n }), exchange(500, 520)));
    const [client, server] = [here.spans(calling)[0], there.spans(called)[0]];
    expect(server?.traceId).toBe(client?.traceId);
    expect(server?.parentSpanId).toBe(client?.spanId);
    expect(client?.attributes).toMatchObject({ "server.address": "10.0.0.2", "server.port": 80, "network.peer.address": "10.0.0.2" });
  });

  it("keeps two hosts apart whose connections lie within themselves", () => {
    const trace = (name: string) => {
      const host = new Host(name);
      const choice = host.choice();
      choice.add(seen("server", host.end({ ...serverSide, local: "127.0.0.1:80", remote: "127.0.0.1:4000" }), exchange(100, 120)));
      return host.spans(choice)[0]?.traceId;
    };
    expect(trace("one")).not.toBe(trace("two"));
  });

  it("reports a connection alone once in ten seconds, further failures of it under the same parent", () => {
    const host = new Host("h");
    const server = host.end(serverSide);
    const first = host.choice();
    for (const startMs of [100, 200, 300])
      first.add(seen("server", server, exchange(startMs, startMs + 5, { status: "503", failed: "yes" })));
    const spans = host.spans(first);
    expect(spans).toHaveLength(3);
    expect(new Set(spans.map(({ parentSpanId }) => parentSpanId)).size).toBe(1);
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(3);
    const second = host.choice({ slowestPerOperation: 0 });
    second.add(seen("server", server, exchange(2_000, 2_005)));
    expect(host.spans(second).filter(({ startNs }) => startNs === BigInt(bootMs + 2_000) * 1_000_000n).length).toBeLessThanOrEqual(1);
    const later = host.choice({ slowestPerOperation: 0 });
    later.add(seen("server", server, exchange(12_000, 12_005)));
    expect(host.spans(later)).toHaveLength(1);
  });

  it("pairs local sockets by their processes, and says that it is not certain", () => {
    const host = new Host("h");
    const end = (cookie: bigint, role: "client" | "server", tgid: number, peerTgid: number) =>
      host.end({ cookie, role, tgid, transport: "local", local: { ip: "", port: 0, peerTgid }, remote: { ip: "", port: 0, peerTgid } });
    const choice = host.choice();
    choice.add(seen("client", end(1n, "client", 10, 20), exchange(100, 110)));
    choice.add(seen("db", end(2n, "server", 20, 10), exchange(101, 109)));
    const [client, server] = host.spans(choice);
    expect(server?.parentSpanId).toBe(client?.spanId);
    expect(server?.attributes["headwater.confidence"]).toBe(0.8);
  });

  it("is bounded, counted: exchanges, failures of a service, connections alone", () => {
    const host = new Host("h");
    const choice = host.choice({ exchangesMax: 100, aloneMax: 10, failedPerSecondMax: 5, slowestPerOperation: 0 });
    for (let at = 0; at < 120; at += 1) {
      const end = host.end({ ...serverSide, cookie: BigInt(100 + at), remote: `10.0.1.${at % 200}:5000` });
      const failed = at < 20 ? ({ status: "500", failed: "yes" } as const) : {};
      choice.add(seen("server", end, exchange(at, at + 1, failed)));
    }
    expect(host.spans(choice)).toHaveLength(5 + 10);
    const count = (what: string) => host.counted.filter((one) => one === what).length;
    expect(count("exchanges-passed-over")).toBe(20);
    expect(count("failed-passed-over")).toBe(15);
    expect(count("alone-passed-over")).toBe(85);
  });
});

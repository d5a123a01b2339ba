import { describe, expect, it } from "vitest";
import { type ConnectionEnd, ConnectionTable } from "../../../services/agent/connection-table.ts";
import { closedEvent, openedEvent } from "./kernel-events-by-hand.ts";

const second = 1_000_000_000;

function table(endsMax = 100): { connections: ConnectionTable; counted: string[] } {
  const counted: string[] = [];
  const connections = new ConnectionTable({ endsMax, listenersMax: 10, lingerNs: second, onCounted: (what) => counted.push(what) });
  return { connections, counted };
}

function open(connections: ConnectionTable, fields: Parameters<typeof openedEvent>[0]): ConnectionEnd {
  const end = connections.opened(openedEvent(fields));
  if (end === null) throw new Error("refused");
  return end;
}

describe("the connection table", () => {
  it("joins two ends of one four-tuple across network namespaces", () => {
    const { connections } = table();
    const client = open(connections, { cookie: 1n, role: "client", netns: 1, local: "10.0.0.2:5000", remote: "10.0.0.3:80" });
    const server = open(connections, { cookie: 2n, role: "server", netns: 2, local: "10.0.0.3:80", remote: "10.0.0.2:5000" });
    expect(connections.peerOf(client, 0)).toBe(server);
    expect(connections.peerOf(server, 0)).toBe(client);
  });

  it("joins an IPv4 client with a server that takes both families", () => {
    const { connections } = table();
    const client = open(connections, { cookie: 1n, role: "client", local: "10.0.0.2:5000", remote: "10.0.0.3:80" });
    const server = open(connections, { cookie: 2n, role: "server", local: "::ffff:10.0.0.3:80", remote: "::ffff:10.0.0.2:5000" });
    expect(connections.peerOf(client, 0)).toBe(server);
  });

  it("keeps loopback connections within their namespace", () => {
    const { connections } = table();
    const client = open(connections, { cookie: 1n, role: "client", netns: 1, local: "127.0.0.1:5000", remote: "127.0.0.1:80" });
    open(connections, { cookie: 2n, role: "server", netns: 2, local: "127.0.0.1:80", remote: "127.0.0.1:5000" });
    expect(connections.peerOf(client, 10 * second)).toBeNull();
  });

  it("joins through address translation when nobody else it could be is there, and only once that has had time to show", () => {
    const { connections } = table();
    const client = open(connections, { cookie: 1n, role: "client", atNs: second, local: "10.0.0.2:5000", remote: "10.96.0.10:80" });
    const server = open(connections, { cookie: 2n, role: "server", atNs: second + 1_000, local: "10.0.0.3:8080", remote: "10.0.0.2:5000" });
    expect(connections.peerOf(client, second + 1_000)).toBeNull();
    expect(connections.peerOf(client, 2 * second)).toBe(server);
  });

  it("joins nobody through translation when two servers or two clients could be meant", () => {
    const { connections } = table();
    const client = open(connections, { cookie: 1n, role: "client", atNs: second, local: "10.0.0.2:5000", remote: "10.96.0.10:80" });
    open(connections, { cookie: 2n, role: "server", atNs: second, netns: 2, local: "10.0.0.3:8080", remote: "10.0.0.2:5000" });
    open(connections, { cookie: 3n, role: "server", atNs: second, netns: 3, local: "10.1.0.3:8080", remote: "10.0.0.2:5000" });
    expect(connections.peerOf(client, 3 * second)).toBeNull();
    const other = table();
    const first = open(other.connections, {
      cookie: 1n,
      role: "client",
      atNs: second,
      netns: 1,
      local: "10.0.0.2:5000",
      remote: "10.96.0.10:80",
    });
    open(other.connections, { cookie: 2n, role: "client", atNs: second, netns: 9, local: "10.0.0.2:5000", remote: "192.0.2.1:443" });
    open(other.connections, { cookie: 3n, role: "server", atNs: second, netns: 2, local: "10.0.0.3:8080", remote: "10.0.0.2:5000" });
    expect(other.connections.peerOf(first, 3 * second)).toBeNull();
  });

  it("does not join a reused client address with the connection that had it before", () => {
    const { connections } = table();
    const before = open(connections, { cookie: 1n, role: "server", atNs: second, local: "10.0.0.3:80", remote: "10.0.0.2:5000" });
    connections.closed(closedEvent({ cookie: 1n, atNs: 2 * second }));
    const client = open(connections, {
      cookie: 2n,
      role: "client",
      atNs: 2 * second + 100_000_000,
      local: "10.0.0.2:5000",
      remote: "10.0.0.3:80",
    });
    expect(connections.peerOf(client, 5 * second)).toBeNull();
    const server = open(connections, {
      cookie: 3n,
      role: "server",
      atNs: 2 * second + 100_100_000,
      local: "10.0.0.3:80",
      remote: "10.0.0.2:5000",
    });
    expect(connections.peerOf(client, 5 * second)).toBe(server);
    expect(before.peer).toBeNull();
  });

  it("joins nobody when the same four-tuple lives in two networks at once", () => {
    const { connections, counted } = table();
    // Told in an order in which no pair is the only one: both clients, then both servers.
    const first = open(connections, { cookie: 1n, role: "client", netns: 1, local: "10.0.0.2:5000", remote: "10.0.0.3:80" });
    const second_ = open(connections, { cookie: 2n, role: "client", netns: 2, local: "10.0.0.2:5000", remote: "10.0.0.3:80" });
    open(connections, { cookie: 3n, role: "server", netns: 3, local: "10.0.0.3:80", remote: "10.0.0.2:5000" });
    open(connections, { cookie: 4n, role: "server", netns: 4, local: "10.0.0.3:80", remote: "10.0.0.2:5000" });
    expect([connections.peerOf(first, 0), connections.peerOf(second_, 0)]).toEqual([null, null]);
    expect(counted).toContain("ambiguous");
  });

  it("guesses the role of an old connection from who listens", () => {
    const { connections } = table();
    connections.listener(openedEvent({ type: "listener", cookie: 9n, role: "server", local: "0.0.0.0:80", remote: "0.0.0.0:0" }));
    const server = open(connections, { cookie: 1n, role: "unknown", flags: 2, local: "10.0.0.3:80", remote: "10.0.0.2:5000" });
    const unknown = open(connections, { cookie: 2n, role: "unknown", flags: 2, local: "10.0.0.3:4000", remote: "10.0.0.2:5000" });
    expect([server.role, unknown.role]).toEqual(["server", "unknown"]);
  });

  it("forgets closed ends after a while and refuses ends beyond its bound, counted", () => {
    const { connections, counted } = table(2);
    open(connections, { cookie: 1n, role: "client", local: "10.0.0.2:1", remote: "10.0.0.3:80" });
    open(connections, { cookie: 2n, role: "client", local: "10.0.0.2:2", remote: "10.0.0.3:80" });
    expect(connections.opened(openedEvent({ cookie: 3n, role: "client", local: "10.0.0.2:3", remote: "10.0.0.3:80" }))).toBeNull();
    expect(counted).toEqual(["ends-refused"]);
    connections.closed(closedEvent({ cookie: 1n, atNs: second }));
    connections.expire(second + 1);
    expect(connections.size).toBe(2);
    connections.expire(2 * second);
    expect([connections.size, connections.end(1n)]).toEqual([1, null]);
  });
});

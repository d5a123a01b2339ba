import { describe, expect, it } from "vitest";
import type { ServiceIdentity } from "../../../services/agent/identity.ts";
import type { HistogramPoint } from "../../../services/agent/otlp-item.ts";
import type { Exchange, Protocol } from "../../../services/agent/protocol/exchange.ts";
import { RequestTable } from "../../../services/agent/request-table.ts";

const none = { namespace: null, version: null, zone: null, containerId: null, podUid: null };
const who: ServiceIdentity = { key: "web", name: "web", instance: "i", host: "h", source: "environment", ...none };

function table(bounds: Partial<{ servicesMax: number; rowsPerServiceMax: number }> = {}) {
  const counted: string[] = [];
  const requests = new RequestTable({ servicesMax: 10, rowsPerServiceMax: 50, ...bounds, onCounted: (what) => counted.push(what) });
  const add = (changed: Partial<Exchange>, side: "client" | "server" = "client", ip = "10.0.0.1") => {
    const plain = { protocol: "http", operation: "GET /a", status: "200", failed: "no", requestBytes: 0, responseBytes: 0 } as const;
    const exchange = { ...plain, startNs: 0, endNs: 1_000_000, ...changed };
    requests.add({ exchange, who, side, end: null, server: { ip, port: 80, peerTgid: 0 }, clockOffsetNs: 0, isSent: false });
  };
  return { requests, add, counted };
}

function pointsOf(requests: RequestTable): { name: string; point: HistogramPoint }[] {
  return requests
    .metrics()
    .flatMap(({ items }) =>
      items.flatMap((metric) => (metric.kind === "histogram" ? metric.points.map((point) => ({ name: metric.name, point })) : [])),
    );
}

describe("the request table", () => {
  it.each<[Protocol, "client" | "server", string, string, Record<string, unknown>]>([
    ["http", "server", "GET /orders/{id}", "http.server.request.duration", { "http.request.method": "GET", "http.route": "/orders/{id}" }],
    ["grpc", "client", "shop.Orders/Place", "rpc.client.call.duration", { "rpc.system.name": "grpc", "rpc.method": "shop.Orders/Place" }],
    [
      "postgresql",
      "server",
      "SELECT orders",
      "db.server.operation.duration",
      { "db.system.name": "postgresql", "db.operation.name": "SELECT" },
    ],
    [
      "kafka",
      "client",
      "Produce",
      "messaging.client.operation.duration",
      { "messaging.system": "kafka", "messaging.operation.name": "Produce" },
    ],
    ["dns", "client", "AAAA", "dns.lookup.duration", { "dns.question.type": "AAAA" }],
  ])("writes %s of the %s's side by semantic conventions", (protocol, side, operation, name, attributes) => {
    const { requests, add } = table();
    add({ protocol, operation }, side);
    const [row] = pointsOf(requests);
    expect(row?.name).toBe(name);
    expect(row?.point.attributes).toMatchObject(
      side === "client" ? { ...attributes, "server.address": "10.0.0.1", "server.port": 80 } : attributes,
    );
  });

  it("keeps failed ones apart, by what failed", () => {
    const { requests, add } = table();
    add({});
    add({ status: "500", failed: "yes" });
    add({ status: "503", failed: "yes" });
    const rows = pointsOf(requests).map(({ point }) => [point.attributes["error.type"], point.count, point.sum]);
    expect(rows).toEqual([
      [undefined, 1, 0.001],
      ["500", 1, 0.001],
      ["503", 1, 0.001],
    ]);
  });

  it("has no side of a lookup but that of who asks, counted", () => {
    const { requests, add, counted } = table();
    add({ protocol: "dns", operation: "A" }, "server");
    expect([pointsOf(requests), counted]).toEqual([[], ["no-metric"]]);
  });

  it("folds operations, then servers, and loses no exchange", () => {
    const { requests, add, counted } = table({ rowsPerServiceMax: 10 });
    for (let at = 0; at < 300; at += 1)
      add({ operation: `GET /${at}`, status: String(at), failed: at % 2 === 0 ? "yes" : "no" }, "client", `10.0.0.${at}`);
    const rows = pointsOf(requests);
    expect(rows.reduce((sum, { point }) => sum + point.count, 0)).toBe(300);
    expect(rows.length).toBeLessThanOrEqual(22);
    expect(rows.filter(({ point }) => point.attributes["error.type"] !== undefined).reduce((sum, { point }) => sum + point.count, 0)).toBe(
      150,
    );
    expect(counted).toContain("operations-folded");
    expect(counted).toContain("servers-folded");
  });
});

/** Exchanges in the words of OpenTelemetry's semantic conventions: metric, attributes, name of a span. */
import type { EndAddress } from "./kernel-event.ts";
import type { Attributes } from "./otlp-item.ts";
import type { Exchange, Protocol } from "./protocol/exchange.ts";

export type Side = "client" | "server";

const metricNames: Readonly<Record<Protocol, Readonly<Record<Side, string | null>>>> = {
  http: { server: "http.server.request.duration", client: "http.client.request.duration" },
  http2: { server: "http.server.request.duration", client: "http.client.request.duration" },
  grpc: { server: "rpc.server.call.duration", client: "rpc.client.call.duration" },
  redis: { server: "db.server.operation.duration", client: "db.client.operation.duration" },
  postgresql: { server: "db.server.operation.duration", client: "db.client.operation.duration" },
  mysql: { server: "db.server.operation.duration", client: "db.client.operation.duration" },
  kafka: { server: "messaging.process.duration", client: "messaging.client.operation.duration" },
  // The conventions know a lookup from the side of who asks only.
  dns: { server: null, client: "dns.lookup.duration" },
};

/** Null where the side has no metric. */
export function durationMetric(protocol: Protocol, side: Side): string | null {
  return metricNames[protocol][side];
}

/** The datastore or broker that speaks a protocol, as spans name it (`db.system.name`, `messaging.system`); null of the others. */
export function systemOf(protocol: Protocol): string | null {
  return protocol === "redis" || protocol === "postgresql" || protocol === "mysql" || protocol === "kafka" ? protocol : null;
}

/** What was asked for, without values. */
export function operationAttributes(protocol: Protocol, operation: string): Attributes {
  const space = operation.indexOf(" ");
  const [verb, object] = space < 0 ? [operation, ""] : [operation.slice(0, space), operation.slice(space + 1)];
  switch (protocol) {
    case "http":
    case "http2":
      return { "http.request.method": verb, ...(object === "" ? {} : { "http.route": object }) };
    case "grpc":
      return { "rpc.system.name": "grpc", "rpc.method": operation };
    case "kafka":
      return { "messaging.system": "kafka", "messaging.operation.name": operation };
    case "dns":
      return { "dns.question.type": operation };
    default:
      return { "db.system.name": protocol, "db.operation.name": verb, ...(object === "" ? {} : { "db.collection.name": object }) };
  }
}

/** What a failure is called (`error.type`), null where there is none: the status, or how the connection of an unanswered request ended. */
export function errorTypeOf({ status, failed, unanswered }: Exchange): string | null {
  if (failed === "no") return null;
  return status === "" ? (unanswered ?? "unknown") : status;
}

/** How it went, on a span. */
export function statusAttributes(exchange: Exchange): Attributes {
  const { protocol, status } = exchange;
  const errorType = errorTypeOf(exchange);
  const error = errorType === null ? {} : { "error.type": errorType };
  if (status === "") return error;
  switch (protocol) {
    case "http":
    case "http2":
      return { ...(/^\d{3}$/.test(status) ? { "http.response.status_code": Number(status) } : {}), ...error };
    case "grpc":
      return { "rpc.response.status_code": status, ...error };
    case "kafka":
      return { "messaging.kafka.error_code": status, ...error };
    case "dns":
      return { "dns.response.code": status, ...error };
    default:
      return { "db.response.status_code": status, ...error };
  }
}

/** The server as this side sees it; nothing of a local socket. */
export function serverAttributes(server: EndAddress | null): Attributes {
  return server === null || server.ip === "" ? {} : { "server.address": server.ip, "server.port": server.port };
}

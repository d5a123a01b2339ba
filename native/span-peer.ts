/** Whom a span talked to, and how: the address key and the protocol, from stable semantic conventions and their predecessors. */
import type { OtlpAttributes } from "./otlp-model.ts";
import { boundedText, singleLine } from "./text.ts";

/** An address key must fit into `peer=…` of a series' attributes. */
const peerLengthMax = 480;
const protocolLengthMax = 64;

const defaultPorts: Readonly<Record<string, string>> = { http: "80", https: "443", ws: "80", wss: "443", grpc: "443" };

/**
 * `host:port`, or `system@host:port` for datastores and brokers, or null when the span does not say.
 * The port is left out where it is not known. A datastore without an address is told apart by its database or destination.
 */
export function peerKey(attributes: OtlpAttributes): string | null {
  const system = first(attributes, ["db.system.name", "db.system", "messaging.system"]);
  const address = peerAddress(attributes);
  if (system === null) return address === null ? null : clean(address);
  const place = address ?? first(attributes, ["db.namespace", "db.name", "messaging.destination.name"]);
  return clean(place === null ? system.toLowerCase() : `${system.toLowerCase()}@${place}`);
}

/** `grpc`, `http`, `postgresql`, `redis`, `kafka`, … or `unknown`. */
export function peerProtocol(attributes: OtlpAttributes): string {
  const named = first(attributes, ["rpc.system.name", "rpc.system", "db.system.name", "db.system", "messaging.system"]);
  if (named !== null) return boundedText(singleLine(named.toLowerCase()), protocolLengthMax);
  const http = first(attributes, ["http.request.method", "http.method", "url.full", "http.url", "http.route", "http.response.status_code"]);
  return http === null ? "unknown" : "http";
}

function peerAddress(attributes: OtlpAttributes): string | null {
  const server = attributes.get("server.address") ?? "";
  if (server !== "") return hostAndPort(server, attributes.get("server.port") ?? schemePort(attributes));
  const legacy = attributes.get("net.peer.name") ?? "";
  if (legacy !== "") return hostAndPort(legacy, attributes.get("net.peer.port") ?? schemePort(attributes));
  const service = attributes.get("peer.service") ?? "";
  if (service !== "") return service;
  const fromUrl = urlAddress(first(attributes, ["url.full", "http.url"]) ?? "");
  if (fromUrl !== null) return fromUrl;
  const network = first(attributes, ["network.peer.address", "net.sock.peer.addr", "net.peer.ip"]);
  if (network === null) return null;
  return hostAndPort(network, first(attributes, ["network.peer.port", "net.sock.peer.port", "net.peer.port"]) ?? undefined);
}

function hostAndPort(host: string, port: string | undefined): string {
  const name = host.toLowerCase();
  if (/^[^:]+:\d{1,5}$/.test(name)) return name;
  if (port === undefined || !/^\d{1,5}$/.test(port) || port === "0") return name;
  return name.includes(":") && !name.startsWith("[") ? `[${name}]:${port}` : `${name}:${port}`;
}

function schemePort(attributes: OtlpAttributes): string | undefined {
  const scheme =
    attributes.get("url.scheme") ?? attributes.get("http.scheme") ?? urlScheme(first(attributes, ["url.full", "http.url"]) ?? "");
  return defaultPorts[scheme];
}

function urlScheme(url: string): string {
  return /^([a-z][a-z0-9+.-]{0,15}):\/\//i.exec(url)?.[1]?.toLowerCase() ?? "";
}

function urlAddress(url: string): string | null {
  const found = /^[a-z][a-z0-9+.-]{0,15}:\/\/(?:[^/?#@]{0,256}@)?(\[[0-9a-f:.]{2,45}\]|[^/?#:@[\]]{1,255})(?::(\d{1,5}))?(?:[/?#]|$)/i.exec(
    url,
  );
  if (found === null) return null;
  return hostAndPort(found[1] ?? "", found[2] ?? defaultPorts[urlScheme(url)]);
}

function first(attributes: OtlpAttributes, keys: readonly string[]): string | null {
  for (const key of keys) {
    const value = attributes.get(key);
    if (value !== undefined && value !== "") return value;
  }
  return null;
}

/** An address key stands in attribute lists, so it has no commas. */
function clean(text: string): string {
  return boundedText(singleLine(text), peerLengthMax).replaceAll(",", ";");
}

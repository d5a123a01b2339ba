/** Which attributes become part of a series' key, and how they are written there. */
import { compareCodeUnits } from "../contract/canonical.ts";
import { attributesLengthMax } from "../contract/series.ts";
import type { OtlpAttributes } from "./otlp-model.ts";
import { boundedText, singleLine } from "./text.ts";

/** Semantic conventions (stable ones and their predecessors) that tell quantities apart without being identities. */
const keptKeys: ReadonlySet<string> = new Set([
  "http.request.method",
  "http.method",
  "http.route",
  "http.response.status_code",
  "http.status_code",
  "rpc.system",
  "rpc.service",
  "rpc.method",
  "rpc.grpc.status_code",
  "rpc.response.status_code",
  "db.system.name",
  "db.system",
  "db.operation.name",
  "db.operation",
  "db.collection.name",
  "db.client.connection.state",
  "db.client.connection.pool.name",
  "db.client.connections.state",
  "state",
  "pool.name",
  "pool",
  "queue.name",
  "queue",
  "cache.name",
  "cache",
  "cache.result",
  "messaging.system",
  "messaging.operation.name",
  "messaging.destination.name",
  "messaging.consumer.group.name",
  "error.type",
  "server.address",
  "server.port",
  "network.io.direction",
  "network.interface.name",
  "network.connection.state",
  "disk.io.direction",
  "system.device",
  "device",
  "direction",
  "mountpoint",
  "system.filesystem.mountpoint",
  "system.filesystem.state",
  "system.memory.state",
  "system.paging.direction",
  "cpu.mode",
  "cpu.state",
  "system.cpu.state",
  "process.cpu.state",
  "process.context_switch.type",
  "jvm.memory.type",
  "jvm.memory.pool.name",
  "jvm.gc.name",
  "jvm.gc.action",
  "jvm.thread.state",
  "v8js.gc.type",
  "v8js.heap.space.name",
  "nodejs.eventloop.state",
  "go.memory.type",
  "cpython.gc.generation",
  "dotnet.gc.heap.generation",
  "thread.pool.name",
  "quantile",
]);

/** What besides those tells the agent's series apart. */
const keptKernelKeys: ReadonlySet<string> = new Set(["syscall", "reason"]);

/** The attributes of the bound on series: everything that found no place of its own. */
export const otherAttributes = "other=true";

/** Kept attributes as `key=value,key=value`, sorted by key, at most 512 characters. */
export function seriesAttributes(attributes: OtlpAttributes, of: "any" | "kernel" = "any"): string {
  const isKept = (key: string): boolean => keptKeys.has(key) || (of === "kernel" && keptKernelKeys.has(key));
  const kept: [string, string][] = [];
  for (const [key, value] of attributes) if (isKept(key) && value !== "") kept.push([key, value]);
  if (kept.length === 0) return "";
  kept.sort(([left], [right]) => compareCodeUnits(left, right));
  return boundedText(kept.map(([key, value]) => `${key}=${attributeText(value, attributesLengthMax)}`).join(","), attributesLengthMax);
}

/** A list with one more `key=value`, which must be no longer than a list may be and sort after those that are there. */
export function withAttribute(list: string, added: string): string {
  if (list === "") return added;
  const room = attributesLengthMax - added.length - 1;
  return `${boundedText(list, room)},${added}`;
}

/** A value that can stand in a list of attributes: one line, without commas, at most `lengthMax` characters. */
export function attributeText(value: string, lengthMax: number): string {
  const line = boundedText(singleLine(value), lengthMax);
  return line.includes(",") ? line.replaceAll(",", ";") : line;
}

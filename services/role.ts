/** Which part of the flow a process runs, and what it needs for that (design §4, two ways to run). */
import type { Config } from "../config/config.ts";
import { HeadwaterError } from "../contract/error.ts";

export type PortName = "queue" | "log" | "graph" | "events" | "telemetry";

/** Roles in the order of the flow, each with the ports that it uses. */
export const roleNeeds = {
  gateway: ["queue"],
  ingest: ["queue", "log"],
  detection: ["log", "telemetry"],
  topology: ["log", "graph"],
  incident: ["queue", "log", "events", "graph"],
  ranking: ["queue", "events", "graph", "telemetry"],
  api: ["queue", "events", "graph", "telemetry"],
  store: ["telemetry"],
} as const satisfies Record<string, readonly PortName[]>;

export type Role = keyof typeof roleNeeds;

export const allRoles = Object.keys(roleNeeds) as readonly Role[];

/** The URL that puts a port on a server. Queue and log share one Redis, so that one step can mark a batch and append what came of it. */
const urlOf = { queue: "queue", log: "queue", graph: "graph", events: "events", telemetry: "telemetry" } as const satisfies Record<
  PortName,
  keyof Config["urls"]
>;

/** `all`, or names separated by commas. Throws REQUEST_INVALID naming the unknown one and those that are known. */
export function parseRoles(text: string): readonly Role[] {
  if (text === "all") return allRoles;
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.filter((name) => !(name in roleNeeds));
  if (unknown.length > 0) {
    throw new HeadwaterError("REQUEST_INVALID", `unknown role ${unknown.join(", ")}; known are ${allRoles.join(", ")}, and all`);
  }
  return allRoles.filter((role) => names.includes(role));
}

/** Ports that a process with these roles has to open. */
export function portsOf(roles: readonly Role[]): ReadonlySet<PortName> {
  return new Set(roles.flatMap((role) => roleNeeds[role]));
}

/** Whether the port's server is somewhere else; what is not is in this process's data directory. */
export function isRemote(config: Config, port: PortName): boolean {
  return config.urls[urlOf[port]] !== null;
}

/**
 * A process that runs only some roles shares its ports with other processes, which an embedded adapter cannot do.
 * Throws CONFIG_INVALID naming what is missing.
 */
export function refuseUnshared(config: Config, roles: readonly Role[]): void {
  if (roles.length === allRoles.length) return;
  const ports = [...portsOf(roles)].filter((port) => !(port === "telemetry" && roles.includes("store")));
  const missing = [...new Set(ports.filter((port) => !isRemote(config, port)).map((port) => urlOf[port]))];
  if (missing.length === 0) return;
  throw new HeadwaterError(
    "CONFIG_INVALID",
    `role ${roles.join(", ")} alone shares ${missing.join(", ")} with other processes: set ${missing.map((key) => `urls.${key}`).join(", ")}, or start --role all`,
  );
}

/** What can be asked of the lab, by name; the lab itself is another program. */
import { HeadwaterError } from "../../contract/error.ts";

/** How the services are observed: by what they report, by what the kernel sees of them, or by both. */
const telemetryKinds = ["otlp", "kernel", "both"] as const;
export type TelemetryKind = (typeof telemetryKinds)[number];

/** Of the services and between them. */
const faults = ["slow-code", "exception-deploy", "pool-leak", "crash", "slow-dependency", "bad-flag"];
/** Of the machine, for which the lab has to be root. */
const rootFaults = ["packet-loss", "refused", "network-delay", "disk-throttle", "cpu-quota", "memory-limit", "noisy-neighbour"];

const sets: Readonly<Record<string, readonly string[]>> = { all: faults, root: rootFaults, every: [...faults, ...rootFaults] };

/** For help texts. */
export const faultWords = `${faults.join(", ")}; as root ${rootFaults.join(", ")}`;

/** Faults from `all` (which need no root), `root`, `every`, or names separated by commas. Throws REQUEST_INVALID. */
export function parseFaults(text: string): readonly string[] {
  const chosen = sets[text] ?? text.split(",");
  const unknown = chosen.filter((name) => !faults.includes(name) && !rootFaults.includes(name));
  if (unknown.length === 0) return chosen;
  throw new HeadwaterError("REQUEST_INVALID", `unknown fault ${unknown.join(", ")}; known are ${[...faults, ...rootFaults].join(", ")}`);
}

/** One fault by name. Throws REQUEST_INVALID. */
export function parseFault(name: string): string {
  if (name in sets || name.includes(",")) throw new HeadwaterError("REQUEST_INVALID", `one fault is needed: ${faultWords}`);
  return parseFaults(name)[0] ?? name;
}

/** Throws REQUEST_INVALID naming the option. */
export function parseTelemetry(text: string, option: string): TelemetryKind {
  const found = telemetryKinds.find((kind) => kind === text);
  if (found === undefined) throw new HeadwaterError("REQUEST_INVALID", `${option} must be one of ${telemetryKinds.join(", ")}`);
  return found;
}

/** How the services of a demo or drill are observed: by what they report themselves, by what the kernel sees of them, or by both. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { HeadwaterError } from "../../contract/error.ts";
import { builtObjectPath, KernelProbe } from "../../native/kernel-probe.ts";
import type { TelemetryKind } from "./lab-words.ts";

export interface TelemetryChoice {
  readonly kind: TelemetryKind;
  /** A sentence for people: what was chosen, and why when nobody asked for it. */
  readonly words: string;
}

/** On a host with v1 as well, and on one without. */
const unified = ["/sys/fs/cgroup/unified/cgroup.controllers", "/sys/fs/cgroup/cgroup.controllers"];

const described: Readonly<Record<TelemetryKind, string>> = {
  otlp: "the services report by OpenTelemetry",
  kernel: "the services report nothing; the agent tells what the kernel sees of them",
  both: "the services report by OpenTelemetry, and the agent tells what the kernel sees of them",
};

/** Why the kernel cannot tell anything here, as a phrase; null where it can. */
function obstacle(): string | null {
  if (process.getuid?.() !== 0) return "the lab does not run as root, which control groups and the firewall need";
  if (spawnSync("nft", ["--version"]).status !== 0) return "nftables is not installed (Debian: nftables)";
  if (!unified.some((file) => existsSync(file))) return "there is no unified hierarchy of control groups (cgroup v2)";
  const able = KernelProbe.available();
  if (!able.ok) return able.reason;
  return builtObjectPath("connection") === null ? "the programs for the kernel are not built (node scripts/setup.mjs --kernel)" : null;
}

/** What was asked for, or the most that this machine can do. Throws LAB_FAILED where it cannot do what was asked for. */
export function chooseTelemetry(asked: TelemetryKind | null, obstacleTo: () => string | null = obstacle): TelemetryChoice {
  if (asked === "otlp") return { kind: asked, words: described.otlp };
  const reason = obstacleTo();
  if (reason === null) return { kind: asked ?? "both", words: described[asked ?? "both"] };
  if (asked !== null) throw new HeadwaterError("LAB_FAILED", `--telemetry ${asked} is not possible: ${reason}`);
  return { kind: "otlp", words: `${described.otlp} and nothing else: ${reason}` };
}

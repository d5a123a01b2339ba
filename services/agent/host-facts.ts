/** What a machine and this process are, as far as programs in the kernel care: read from `/proc` and `/sys`, never changed. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readText } from "./process-files.ts";

export interface HostFacts {
  /** As `uname -r` says. */
  readonly kernel: string;
  /** Effective user; 0 is root. */
  readonly uid: number;
  /** Effective ones of this process, by name (`CAP_BPF`), in the kernel's order. */
  readonly capabilities: readonly string[];
  readonly typeInformation: "there" | "missing";
  /** `unknown` where the kernel's security folder is not mounted or not to be read. */
  readonly lockdown: "none" | "integrity" | "confidentiality" | "unknown";
  readonly cgroups: CgroupLayout;
}

export interface CgroupLayout {
  /** Where the unified hierarchy (v2) is mounted; null where it is not. */
  readonly unified: string | null;
  /** Controllers that hierarchies of v1 have. */
  readonly legacy: readonly string[];
}

/** Folders in place of the real ones. */
export interface HostPlaces {
  readonly proc: string;
  readonly sys: string;
}

const realPlaces: HostPlaces = { proc: "/proc", sys: "/sys" };

/** Capabilities in the order of their bits (`include/uapi/linux/capability.h`). */
export const capabilityNames: readonly string[] = [
  ...["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE"],
  ...["NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT"],
  ...["SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE"],
  ...["AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"],
  ...["PERFMON", "BPF", "CHECKPOINT_RESTORE"],
].map((name) => `CAP_${name}`);

export function readHostFacts(kernel: string, places: HostPlaces = realPlaces): HostFacts {
  const status = readText(join(places.proc, "self/status")) ?? "";
  return {
    kernel,
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN),
    capabilities: capabilitiesOf(/^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? "0"),
    typeInformation: existsSync(join(places.sys, "kernel/btf/vmlinux")) ? "there" : "missing",
    lockdown: lockdownOf(readText(join(places.sys, "kernel/security/lockdown"))),
    cgroups: cgroupLayoutOf(places),
  };
}

/** Names of the bits of a hexadecimal mask; bits without a name here are told by their number. */
export function capabilitiesOf(mask: string): string[] {
  const bits = BigInt(`0x${mask}`);
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit += 1) {
    if ((bits >> BigInt(bit)) & 1n) names.push(capabilityNames[bit] ?? `CAP_${bit}`);
  }
  return names;
}

/** `none [integrity] confidentiality`: the one in brackets holds. */
function lockdownOf(text: string | null): HostFacts["lockdown"] {
  const found = /\[(\w+)\]/.exec(text ?? "")?.[1];
  return found === "none" || found === "integrity" || found === "confidentiality" ? found : "unknown";
}

function cgroupLayoutOf({ proc, sys }: HostPlaces): CgroupLayout {
  const root = join(sys, "fs/cgroup");
  const unified = [join(root, "unified"), root].find((path) => existsSync(join(path, "cgroup.controllers"))) ?? null;
  const controllers = (readText(join(proc, "self/cgroup")) ?? "").split("\n").flatMap((line) => (line.split(":")[1] ?? "").split(","));
  return { unified, legacy: controllers.filter((name) => name !== "" && !name.startsWith("name=")).sort() };
}

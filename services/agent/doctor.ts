/** What of the agent works on this machine, what does not, why, and what to do about it: rows for people, from facts. */
import type { ProbeObjectInfo, ProgramInfo } from "../../native/kernel-probe.ts";
import { capabilityNames, type HostFacts } from "./host-facts.ts";

export interface DoctorRow {
  readonly about: "host" | "program";
  /** Of the host's row, or `object/program`. */
  readonly name: string;
  /** `note`: nothing is lost by it. */
  readonly state: "works" | "lost" | "note";
  /** Words for people, without a full stop. */
  readonly finding: string;
  /** What cannot be seen without it; null where nothing is lost. */
  readonly lost: string | null;
  /** What to do; null where there is nothing to do. */
  readonly remedy: string | null;
  /** The last lines of the verifier where it refused a program. */
  readonly detail: readonly string[];
}

/** Tools and files of the installation. */
export interface InstallationFacts {
  /** Why the addon cannot be used; null when it can. */
  readonly addon: string | null;
  /** First line of `clang --version`; null where it is not installed. */
  readonly compiler: string | null;
}

/** An object as it was tried: null where it is not compiled. */
export interface TriedObject {
  readonly name: string;
  readonly path: string | null;
  /** Null where nothing could be tried. */
  readonly object: ProbeObjectInfo | null;
  readonly programs: readonly ProgramInfo[];
}

/** Exit codes of `doctor` hang on it. */
export type DoctorVerdict = "everything works" | "something is lost" | "nothing can be loaded";

const build = "node scripts/setup.mjs --kernel builds them (as root on Debian it installs clang and libbpf-dev first)";

/** What the agent does not see without an object's programs. */
const purposes: Readonly<Record<string, string>> = {
  connection: "connections: who calls whom, failures, resets, retransmits, round trips, bytes",
  request: "requests: protocol, operation, status, latency; the fallback takes over",
  "request-fallback": "requests on kernels without the tracepoints of sockets",
  syscall: "system calls: counts, errors, latency, paths and arguments",
  process: "processes: started, ended, killed for memory",
  schedule: "processor time and waits for a processor",
  block: "latency and errors of block devices",
  interface: "packets and bytes of interfaces, dropped packets and why",
  "socket-iterator": "connections and listeners that were there before the agent",
};

/** What a single program adds, where that is less than its object. */
const programPurposes: Readonly<Record<string, string>> = {
  hw_connection_retransmit: "retransmits",
  hw_connection_reset_received: "resets by the other end",
  hw_connection_reset_sent: "resets by this end",
  hw_read_flows: "bytes and round trips of connections that are still open",
  hw_list_listeners: "services that listened before the agent",
  hw_list_connections: "connections that were open before the agent",
  process_oom_kill: "processes killed for memory",
  interface_drop: "dropped packets and why",
  syscall_enter: "duration of system calls",
};

/** Objects of the agent, in the order of the rows. */
export const doctorObjects: readonly string[] = Object.keys(purposes);

/** Capabilities that a program needs, by the first part of its section; the first that fits. */
const needs: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^(?:tp|tracepoint)\//, ["CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH"]],
  [/^(?:tc|tcx|classifier|cgroup|cgroup_skb|xdp|sockops|sk_msg|sk_skb)\b/, ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]],
  [/^(?:uprobe|uretprobe|usdt)\b/, ["CAP_SYS_ADMIN"]],
  [/^/, ["CAP_BPF", "CAP_PERFMON"]],
];

/** What a program of this section needs and the process has not; CAP_SYS_ADMIN includes the two of BPF. */
export function capabilitiesMissing(section: string, capabilities: readonly string[]): string[] {
  const wanted = needs.find(([pattern]) => pattern.test(section))?.[1] ?? [];
  const isAdmin = capabilities.includes("CAP_SYS_ADMIN");
  const has = (name: string) => capabilities.includes(name) || (isAdmin && (name === "CAP_BPF" || name === "CAP_PERFMON"));
  return wanted.filter((name) => !has(name));
}

/** All rows: the host's, then one for each program. */
export function diagnose(host: HostFacts, installation: InstallationFacts, tried: readonly TriedObject[]): DoctorRow[] {
  const programs = tried.flatMap((one) => objectRows(one, host, installation));
  const needsFallback = programs.some(({ name, state }) => belongsTo(name, "request") && state !== "works");
  const rows = programs.map((row) => {
    return row.state === "lost" && belongsTo(row.name, "request-fallback") && !needsFallback ? { ...row, ...unneeded } : row;
  });
  return [...hostRows(host, installation, tried), ...rows];
}

/** The fallback is of use only where the programs that it stands in for do not work. */
const unneeded = { state: "note", lost: null, remedy: null } as const;

function belongsTo(row: string, object: string): boolean {
  return row === object || row.startsWith(`${object}/`);
}

export function verdictOf(rows: readonly DoctorRow[]): DoctorVerdict {
  if (!rows.some(({ about, state }) => about === "program" && state === "works")) return "nothing can be loaded";
  return rows.some(({ state }) => state === "lost") ? "something is lost" : "everything works";
}

/** Why live commands cannot work here, in one line; null when the programs that are needed are attached. */
export function troubleOf(programs: readonly ProgramInfo[], objects: readonly ProbeObjectInfo[], host: HostFacts): string | null {
  const failed = programs.find((program) => program.wanted && !isUsable(program));
  const broken = objects.find(({ errno }) => errno !== 0);
  if (failed === undefined) return broken === undefined ? null : oneLine(broken.reason);
  const missing = capabilitiesMissing(failed.section, host.capabilities);
  if (missing.length > 0) return `this process lacks ${missing.join(" and ")}: run it as root, or grant them`;
  return `program ${failed.name} is not ${failed.loaded ? "attached" : "loaded"} on kernel ${host.kernel}: ${oneLine(failed.reason)}`;
}

/** Iterators and programs that are run by hand are never attached. */
function isUsable({ section, loaded, attached }: ProgramInfo): boolean {
  return loaded && (attached || /^(?:iter|syscall)\b/.test(section));
}

function hostRows(host: HostFacts, installation: InstallationFacts, tried: readonly TriedObject[]): DoctorRow[] {
  return [
    note("kernel", `Linux ${host.kernel}`),
    typeRow(host),
    ...capabilityRows(host),
    lockdownRow(host),
    cgroupRow(host),
    installation.addon === null
      ? hostRow({ name: "addon", finding: "the addon for the kernel is there" })
      : hostRow({ name: "addon", finding: installation.addon, lost: "everything the kernel tells", remedy: build }),
    compiledRow(installation, tried),
  ];
}

function typeRow({ typeInformation }: HostFacts): DoctorRow {
  const name = "type information";
  if (typeInformation === "there") return hostRow({ name, finding: "BTF is in /sys/kernel/btf/vmlinux" });
  const finding = "the kernel has no BTF: /sys/kernel/btf/vmlinux is not there";
  return hostRow({ name, finding, lost: "everything the kernel tells", remedy: "use a kernel with CONFIG_DEBUG_INFO_BTF" });
}

/** The first to look into a process of another user, the second to open its files. */
const namingCapabilities = ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"] as const;

function areMissing(names: readonly string[]): string {
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} missing`;
}

/** Without rights everything is lost by the programs' own rows; here is what each capability is for. */
function capabilityRows({ uid, capabilities }: HostFacts): DoctorRow[] {
  const owned = capabilities.length;
  const lacking = capabilityNames.filter((name) => !capabilities.includes(name));
  const all = lacking.length === 0 ? `all ${owned}` : `all but ${lacking.join(", ")}`;
  const list = owned === 0 ? "none" : lacking.length < owned / 2 ? all : capabilities.join(", ");
  const rows = [note("capabilities", `${uid === 0 ? "root" : `user ${uid}`}; effective: ${list}`)];
  const missing = capabilitiesMissing("", capabilities);
  if (missing.length > 0) {
    rows.push(
      hostRow({
        name: "right to load programs",
        finding: areMissing(missing),
        lost: "every program",
        remedy:
          "run as root, or grant CAP_BPF and CAP_PERFMON (systemd: AmbientCapabilities=; Kubernetes: securityContext.capabilities.add)",
      }),
    );
  }
  const unnamed = namingCapabilities.filter((name) => !capabilities.includes(name));
  if (unnamed.length > 0) {
    rows.push(
      hostRow({
        name: "right to name processes",
        finding: `${areMissing(unnamed)}: /proc/PID/environ of other users cannot be read`,
        lost: "service names, versions and zones that only the environment of a process tells; its open files",
        remedy: `grant ${unnamed.join(" and ")}: neither is enough without the other`,
      }),
    );
  }
  return rows;
}

function lockdownRow({ lockdown }: HostFacts): DoctorRow {
  const name = "lockdown";
  if (lockdown === "none") return hostRow({ name, finding: "the kernel is not locked down" });
  if (lockdown === "unknown") return note(name, "not known: /sys/kernel/security/lockdown cannot be read (securityfs is not mounted)");
  if (lockdown === "integrity") return note(name, "integrity: programs may read, not change; nothing of the agent needs more");
  const remedy = "boot without lockdown=confidentiality";
  return hostRow({ name, finding: "confidentiality: programs may not read the kernel", lost: "most programs", remedy });
}

function cgroupRow({ cgroups: { unified, legacy } }: HostFacts): DoctorRow {
  const name = "control groups";
  if (unified === null) {
    const finding = `no unified hierarchy (v2)${legacy.length === 0 ? "" : `; v1 has ${legacy.join(", ")}`}`;
    return hostRow({ name, finding, lost: "choosing by control group", remedy: "mount -t cgroup2 none /sys/fs/cgroup/unified" });
  }
  return hostRow({ name, finding: `v2 at ${unified}${legacy.length === 0 ? "" : `, v1 has ${legacy.join(", ")}`}` });
}

function compiledRow({ compiler }: InstallationFacts, tried: readonly TriedObject[]): DoctorRow {
  const name = "compiled programs";
  const missing = tried.filter(({ path }) => path === null).map((one) => one.name);
  const tool = compiler === null ? "clang is not installed" : compiler;
  if (missing.length === 0) return hostRow({ name, finding: `all ${tried.length} objects are there; ${tool}` });
  return hostRow({ name, finding: `not compiled: ${missing.join(", ")}; ${tool}`, lost: "see their rows", remedy: build });
}

function objectRows(tried: TriedObject, host: HostFacts, installation: InstallationFacts): DoctorRow[] {
  const { name, path, object, programs } = tried;
  const lost = purposes[name] ?? "what this object is for";
  const row = (finding: string, remedy: string) => ({ ...emptyProgram, name, state: "lost" as const, finding, lost, remedy });
  if (path === null) return [row("not compiled", build)];
  if (installation.addon !== null || host.typeInformation === "missing") return [row("not tried: see the rows of the host", "see above")];
  if (object !== null && programs.length === 0) return [row(oneLine(object.reason), `compile ${name} again: ${build}`)];
  return programs.map((program) => programRow(program, lost, host));
}

function programRow(program: ProgramInfo, lostWithObject: string, host: HostFacts): DoctorRow {
  const name = `${program.object}/${program.name}`;
  if (isUsable(program)) {
    const finding = program.attached
      ? `loaded and attached to ${program.section}`
      : `loaded; run when it is asked for (${program.section})`;
    return { ...emptyProgram, name, state: "works", finding };
  }
  const { why, remedy } = failureOf(program, host);
  const isRefused = program.reason.startsWith("the verifier refused it");
  const lost = programPurposes[program.name] ?? lostWithObject;
  const log = program.verifierLog === "" ? [] : program.verifierLog.trimEnd().split("\n");
  const detail = isRefused ? [`${program.name} (${program.section}) on kernel ${host.kernel}, the verifier's last lines:`, ...log] : log;
  return { ...emptyProgram, name, state: "lost", finding: `not ${program.loaded ? "attached" : "loaded"}: ${why}`, lost, remedy, detail };
}

/** `errno` of what the kernel refused, in the words of this machine: the same number means a right here and a kernel there. */
function failureOf({ section, errno, reason }: ProgramInfo, host: HostFacts): { why: string; remedy: string } {
  const missing = capabilitiesMissing(section, host.capabilities);
  const cause = oneLine(reason);
  if ((errno === 1 || errno === 13) && missing.length > 0) {
    return { why: `${missing.join(" and ")} missing`, remedy: `run as root, or grant ${missing.join(" and ")}` };
  }
  if (reason.startsWith("the verifier refused it")) {
    return { why: cause, remedy: `report the lines below: kernel ${host.kernel} refuses what others take` };
  }
  if (errno === 1) {
    const by = host.lockdown === "none" || host.lockdown === "unknown" ? "by the kernel" : `by the kernel's lockdown (${host.lockdown})`;
    return { why: `programs of kind ${section.split("/")[0]} are refused ${by}`, remedy: "nothing on this kernel" };
  }
  const target = section.split("/")[1] ?? section;
  if (errno === 2 || errno === 3) return { why: `this kernel has no ${target}: ${cause}`, remedy: "a newer kernel, or one built with it" };
  return { why: cause, remedy: "a newer kernel, or one built with it" };
}

const emptyProgram = { about: "program", lost: null, remedy: null, detail: [] } as const;

function note(name: string, finding: string): DoctorRow {
  return { about: "host", name, state: "note", finding, lost: null, remedy: null, detail: [] };
}

function hostRow(row: { name: string; finding: string; lost?: string; remedy?: string }): DoctorRow {
  const { name, finding, lost = null, remedy = null } = row;
  return { about: "host", name, state: lost === null ? "works" : "lost", finding, lost, remedy, detail: [] };
}

/** What libbpf adds stands behind `; libbpf:` and is several lines of advice for programmers. */
function oneLine(reason: string): string {
  return (reason.split("; libbpf:")[0] ?? reason).replaceAll("\n", " ").trim();
}

/** `headwater syscalls`: the system calls of a process, a command, a group or everything, as they are made, or how often. */
import { existsSync } from "node:fs";
import { release } from "node:os";
import { HeadwaterError } from "../../contract/error.ts";
import type { ProbeBatch } from "../../contract/port.ts";
import { CgroupFiles } from "../agent/cgroup-files.ts";
import { decodeSyscalls } from "../agent/decode-counters.ts";
import { EventDecoder } from "../agent/decode-events.ts";
import { readHostFacts } from "../agent/host-facts.ts";
import { whenAsked } from "../agent/kernel-message.ts";
import { type LiveProbe, openLiveProbe } from "../agent/live-probe.ts";
import { SyscallFrequencies, type SyscallFrequency, syscallLine, syscallText, syscallTitles } from "../agent/live-syscalls.ts";
import { countText, durationText, printable } from "../agent/live-text.ts";
import { type ProbeSettings, quietSettings } from "../agent/probe-settings.ts";
import { ProcessFiles, readText } from "../agent/process-files.ts";
import { syscallBits, syscallName, syscallNumber } from "../agent/syscall-names.ts";
import { type LiveSurroundings, processSurroundings, sayEnd, untilOver, withProbe, writeTable } from "./live-output.ts";
import type { OutputFormat } from "./output.ts";
import { table } from "./table.ts";

export interface SyscallsOptions {
  readonly pid: number | null;
  /** As the kernel calls the process: at most 15 bytes count. */
  readonly command: string | null;
  /** Path of the group in cgroup v2, from the root of the hierarchy or from that of the file system. Groups below it count as well. */
  readonly cgroup: string | null;
  /** Names separated by commas, or `all`. */
  readonly syscall: string;
  readonly view: "lines" | "top";
  readonly seconds: number | null;
  readonly format: OutputFormat;
}

type Names = readonly string[] | "all";

const lookEveryMs = 1_000;
const processEveryMs = 200;
const groupsMax = 4_000;
const rowsMax = 30;
const commandBytesMax = 15;
const ringBytes = { detail_ring: 33_554_432 } as const;
const mapEntriesMax = { syscalls: 16_384 } as const;
/** Rows of processes that are gone make room for others, so many at a time. */
const forgottenMax = 500;

/** Answers the exit code. Throws REQUEST_INVALID for what does not exist. */
export async function runSyscalls(options: SyscallsOptions, surroundings: LiveSurroundings = processSurroundings()): Promise<number> {
  const names = namesOf(options.syscall);
  if (options.pid !== null) checkProcess(options.pid);
  const groups = options.cgroup === null ? null : groupsOf(options.cgroup);
  const opened = await openLiveProbe(
    {
      needed: ["syscall"],
      further: [],
      programs: null,
      settings: settingsOf(options, names),
      ringBytes,
      mapEntriesMax,
      rings: ["detail_ring"],
      maps: options.view === "top" ? [{ name: "syscalls", everyMs: whenAsked }] : [],
      iterators: [],
    },
    surroundings.places,
  );
  return await withProbe(opened, surroundings, async (probe) => {
    const watch = () => probe.watch(groups === null ? watchedProcesses(options) : groups().map((cgroup) => ({ cgroup })));
    await watch();
    surroundings.tell(`observing ${subjectOf(options)}; Ctrl-C ends it`);
    const { over, cancel } = untilOver(surroundings, options.seconds);
    const gone = untilGone(options.pid);
    const timer = groups === null ? undefined : setInterval(() => void watch().catch(() => undefined), lookEveryMs);
    try {
      const run = { options, names, probe, surroundings, until: Promise.race([over, gone.over]) };
      await (options.view === "top" ? showTop(run) : showLines(run));
    } finally {
      clearInterval(timer);
      gone.cancel();
      cancel();
    }
  });
}

interface Run {
  readonly options: SyscallsOptions;
  readonly names: Names;
  readonly probe: LiveProbe;
  readonly surroundings: LiveSurroundings;
  readonly until: Promise<void>;
}

async function showLines({ options, probe, surroundings, until }: Run): Promise<void> {
  const decoder = new EventDecoder();
  let shown = 0;
  if (options.format === "text") await surroundings.write(`${syscallTitles}\n`);
  await probe.read(until, async (batch) => {
    const lines: string[] = [];
    decoder.decode(batch.bytes, (event) => {
      if (event.type !== "syscall") return;
      const line = syscallLine(event, batch.clockOffsetNs);
      lines.push(options.format === "json" ? JSON.stringify(line) : syscallText(line));
    });
    shown += lines.length;
    if (lines.length > 0) await surroundings.write(`${lines.join("\n")}\n`);
  });
  await sayEnd(surroundings, { format: options.format, shown, what: "calls", lost: probe.losses });
}

async function showTop(run: Run): Promise<void> {
  const { options, probe, surroundings, until } = run;
  const frequencies = new SyscallFrequencies();
  const commands = new Map<number, string>();
  let shown = 0;
  let isFirst = true;
  let isOver = false;
  const ending = until.then(() => {
    isOver = true;
  });
  const timer = setInterval(() => void probe.source.readNow().catch(() => undefined), lookEveryMs);
  try {
    await probe.source.readNow();
    await probe.read(ending, async (batch) => {
      // The last reading is cut short, and would be a rate of a moment.
      if (batch.kind !== "entries" || batch.name !== "syscalls" || isOver) return;
      const rows = decodeSyscalls(batch) ?? [];
      const commandOf = (pid: number): string => {
        // One that is gone is called as it was; one that is there may have executed something else.
        const command = readText(`/proc/${pid}/comm`)?.trimEnd() ?? commands.get(pid) ?? "";
        commands.set(pid, command);
        return command;
      };
      const wanted = rows.filter((row) => isWanted(run, syscallName(row.number)));
      const found = frequencies.read(wanted, batch.atMs, commandOf).filter((row) => isCommand(row.command, options.command));
      if (!isFirst) {
        shown += 1;
        await writeTop(run, found, batch);
      }
      isFirst = false;
      await forgetGone(probe, new Set(rows.map(({ tgid }) => tgid)), rows);
      for (const pid of commands.keys()) if (!existsSync(`/proc/${pid}`)) commands.delete(pid);
    });
  } finally {
    clearInterval(timer);
  }
  await sayEnd(surroundings, { format: options.format, shown, what: "readings", lost: probe.losses });
}

async function writeTop({ options, surroundings }: Run, rows: readonly SyscallFrequency[], { atMs }: ProbeBatch): Promise<void> {
  if (options.format === "json") {
    await surroundings.write(`${JSON.stringify({ at: new Date(atMs).toISOString(), rows })}\n`);
    return;
  }
  const titles = ["PID", "COMMAND", "SYSCALL", "CALLS/S", "ERRORS/S", "P50", "P95"];
  const cells = rows
    .slice(0, rowsMax)
    .map((row) => [
      ...[String(row.pid), printable(row.command), row.syscall, countText(row.callsPerSecond), countText(row.errorsPerSecond)],
      ...[row.p50Ns, row.p95Ns].map((ns) => (ns === null ? "-" : durationText(ns))),
    ]);
  const more = rows.length > rowsMax ? [`and ${rows.length - rowsMax} more`] : [];
  await writeTable(surroundings, [...table([titles, ...cells]), ...more]);
}

/** The map keeps what was counted of processes that ended. */
async function forgetGone(probe: LiveProbe, pids: ReadonlySet<number>, rows: readonly { tgid: number; number: number }[]): Promise<void> {
  const gone = new Set([...pids].filter((pid) => !existsSync(`/proc/${pid}`)));
  for (const row of rows.filter(({ tgid }) => gone.has(tgid)).slice(0, forgottenMax)) {
    const key = new Uint8Array(8);
    new DataView(key.buffer).setUint32(0, row.tgid, true);
    new DataView(key.buffer).setUint32(4, row.number, true);
    await probe.source.deleteFromMap("syscalls", key);
  }
}

function settingsOf(options: SyscallsOptions, names: Names): ProbeSettings {
  const isScoped = options.pid !== null || options.cgroup !== null;
  const base: ProbeSettings = { ...quietSettings, selfTgid: process.pid, scope: isScoped ? "watched" : "all" };
  if (options.view === "top") return base;
  const numbers = { numbers: syscallBits(names), numbersCompat: syscallBits(names, "32") };
  const of = { of: isScoped ? ("watched" as const) : ("all" as const), tgid: 0, cgroup: 0n, command: options.command, perSecond: 0 };
  return { ...base, counts: "off", detail: { ...of, ...numbers } };
}

function subjectOf({ pid, command, cgroup }: SyscallsOptions): string {
  const parts = [
    pid === null ? null : `process ${pid}`,
    command === null ? null : `processes called ${printable(command)}`,
    cgroup === null ? null : `control group ${printable(cgroup)}`,
  ].filter((part) => part !== null);
  return parts.length === 0 ? "every process" : parts.join(", ");
}

function watchedProcesses({ pid }: SyscallsOptions): { tgid: number }[] {
  return pid === null ? [] : [{ tgid: pid }];
}

/** Of 32-bit programs the name carries a mark that nobody types. */
function isWanted({ names }: Run, name: string): boolean {
  return names === "all" || names.includes(name.replace("/32", ""));
}

function isCommand(command: string, wanted: string | null): boolean {
  if (wanted === null) return true;
  return command === Buffer.from(wanted, "utf8").subarray(0, commandBytesMax).toString("utf8");
}

function namesOf(text: string): Names {
  const names = text.split(",").map((name) => name.trim());
  if (names.includes("all")) return "all";
  const unknown = names.filter((name) => syscallNumber(name) === null && syscallNumber(name, "32") === null);
  if (unknown.length === 0) return names;
  throw new HeadwaterError("REQUEST_INVALID", `--syscall: there is no system call ${unknown.map((name) => `"${name}"`).join(", ")}`);
}

function checkProcess(pid: number): void {
  const leader = Number(/^Tgid:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? "")?.[1] ?? Number.NaN);
  if (leader === pid) return;
  const what = Number.isNaN(leader) ? `there is no process ${pid}` : `${pid} is a thread of process ${leader}`;
  throw new HeadwaterError("REQUEST_INVALID", `--pid: ${what}`);
}

/** Ids of the group and those below it, asked again as groups come and go. */
function groupsOf(path: string): () => bigint[] {
  const { unified } = readHostFacts(release()).cgroups;
  if (unified === null) throw new HeadwaterError("REQUEST_INVALID", "--cgroup: no unified hierarchy (v2) of control groups is mounted");
  const below = path === unified || path.startsWith(`${unified}/`) ? path.slice(unified.length) : path;
  const files = new CgroupFiles();
  if (files.idsBelow([below], 1).length === 0) {
    throw new HeadwaterError("REQUEST_INVALID", `--cgroup ${path}: there is no such control group below ${unified}`);
  }
  return () => files.idsBelow([below], groupsMax);
}

/** Resolves when the process is gone; never without one. */
function untilGone(pid: number | null): { over: Promise<void>; cancel: () => void } {
  if (pid === null) return { over: new Promise(() => undefined), cancel: () => undefined };
  const files = new ProcessFiles();
  const ticks = files.startTicks(pid);
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setInterval(() => {
      if (files.startTicks(pid) !== ticks) resolve();
    }, processEveryMs);
  });
  return { over, cancel: () => clearInterval(timer) };
}

/** `headwater doctor`: what of the agent works here, what does not, why, and what to do. Everything is tried, and let go again. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { release } from "node:os";
import { basename, resolve } from "node:path";
import { HeadwaterError } from "../../contract/error.ts";
import { builtObjectPath, KernelProbe } from "../../native/kernel-probe.ts";
import {
  type DoctorRow,
  type DoctorVerdict,
  diagnose,
  doctorObjects,
  type InstallationFacts,
  type TriedObject,
  verdictOf,
} from "../agent/doctor.ts";
import { readHostFacts } from "../agent/host-facts.ts";
import { encodeSettings, quietSettings } from "../agent/probe-settings.ts";
import { exitCode, type OutputFormat, print } from "./output.ts";
import { table } from "./table.ts";

export interface DoctorOptions {
  /** One more compiled object, tried as well. */
  readonly program: string | null;
  readonly format: OutputFormat;
}

const exitCodes: Readonly<Record<DoctorVerdict, number>> = {
  "everything works": exitCode.ok,
  "something is lost": exitCode.failed,
  "nothing can be loaded": exitCode.missing,
};

/** Where compiled objects are, and where lines go. */
export interface DoctorPlaces {
  readonly objectPath: (name: string) => string | null;
  readonly print: (line: string) => void;
}

const installed: DoctorPlaces = { objectPath: builtObjectPath, print };

/** Answers the exit code: 0 everything works, 1 something is lost, 3 nothing can be loaded. */
export function runDoctor(options: DoctorOptions, places: DoctorPlaces = installed): number {
  const host = readHostFacts(release());
  const able = KernelProbe.available();
  const addon = able.ok || host.typeInformation === "missing" ? null : able.reason;
  const installation: InstallationFacts = { addon, compiler: compilerOf() };
  const objects = [...doctorObjects.map((name) => ({ name, path: places.objectPath(name) })), ...additional(options.program)];
  const tried = objects.map((object) => tryObject(object, able.ok ? "load" : "leave"));
  const rows = diagnose(host, installation, tried);
  const verdict = verdictOf(rows);
  if (options.format === "json") places.print(JSON.stringify({ verdict, host, installation, rows }));
  else for (const line of linesOf(rows, verdict)) places.print(line);
  return exitCodes[verdict];
}

function additional(path: string | null): { name: string; path: string }[] {
  if (path === null) return [];
  if (!existsSync(path)) throw new HeadwaterError("REQUEST_INVALID", `--program ${path}: there is no such file`);
  return [{ name: basename(path).replace(/(?:\.bpf)?\.o$/, ""), path: resolve(path) }];
}

function compilerOf(): string | null {
  const clang = spawnSync("clang", ["--version"], { encoding: "utf8" });
  return clang.status === 0 ? (clang.stdout.split("\n")[0] ?? "clang") : null;
}

/** Each object alone, with settings that observe nothing, so that trying costs the machine some milliseconds and no more. */
function tryObject({ name, path }: { name: string; path: string | null }, how: "load" | "leave"): TriedObject {
  if (path === null || how === "leave") return { name, path, object: null, programs: [] };
  const probe = new KernelProbe();
  try {
    const object = probe.open({ objects: [{ name, path }], ringBytes: {}, mapEntriesMax: {} })[0] ?? null;
    if (object === null || object.errno !== 0) return { name, path, object, programs: [] };
    // Objects of others need not have our settings.
    if (doctorObjects.includes(name)) probe.writeSettings(name, encodeSettings({ ...quietSettings, selfTgid: process.pid }));
    probe.load();
    return { name, path, object, programs: probe.attach() };
  } finally {
    probe.close();
  }
}

const marks: Readonly<Record<DoctorRow["state"], string>> = { works: "ok", lost: "LOST", note: "" };

function linesOf(rows: readonly DoctorRow[], verdict: DoctorVerdict): string[] {
  const heads = table(rows.map(({ name, state, finding }) => [marks[state], name, finding]));
  const lines = rows.flatMap((row, index) => [
    ...(row.about === "program" && rows[index - 1]?.about === "host" ? [""] : []),
    heads[index] ?? "",
    ...(row.lost === null ? [] : [`        lost: ${row.lost}`]),
    ...(row.remedy === null ? [] : [`        what to do: ${row.remedy}`]),
    ...row.detail.map((line) => `        | ${line}`),
  ]);
  const lost = rows.filter(({ state }) => state === "lost").length;
  return [...lines, "", verdict === "everything works" ? verdict : `${verdict}: ${lost} ${lost === 1 ? "row" : "rows"}`];
}

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DoctorRow, doctorObjects } from "../../services/agent/doctor.ts";
import { runDoctor } from "../../services/command/doctor.ts";
import { compileObject, noKernelPrograms as skipReason } from "../native/bpf-object.ts";

if (skipReason !== null) process.stdout.write(`test/bpf/doctor.test.ts: ${skipReason}\n`);
const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "headwater-doctor-"));
let broken = "";
beforeAll(() => {
  if (skipReason !== null) return;
  for (const name of doctorObjects) compileObject(`bpf/${name}.bpf.c`, folder);
  broken = compileObject("test/bpf/broken.bpf.c", folder).path;
  chmodSync(folder, 0o755);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Told {
  readonly verdict: string;
  readonly host: { readonly capabilities: readonly string[] };
  readonly rows: readonly DoctorRow[];
}

function objectPath(name: string): string | null {
  const path = join(folder, `${name}.bpf.o`);
  return existsSync(path) ? path : null;
}

function doctor(program: string | null = null): { code: number; told: Told } {
  const lines: string[] = [];
  const code = runDoctor({ program, format: "json" }, { objectPath, print: (line) => lines.push(line) });
  return { code, told: JSON.parse(lines.join("\n")) as Told };
}

/** As another user with these capabilities and no others. */
function doctorAs(capabilities: readonly string[]): { code: number | null; text: string; told: Told } {
  const script = join(folder, "doctor.mts");
  writeFileSync(
    script,
    `import { existsSync } from "node:fs";
     import { runDoctor } from ${JSON.stringify(join(root, "services/command/doctor.ts"))};
     const objectPath = (name) => { const path = ${JSON.stringify(folder)} + "/" + name + ".bpf.o"; return existsSync(path) ? path : null; };
     process.exitCode = runDoctor({ program: null, format: process.argv[2] }, { objectPath, print: (line) => process.stdout.write(line + "\\n") });`,
  );
  const kept = capabilities.map((name) => `+${name}`).join(",");
  const drop = capabilities.length === 0 ? ["--inh-caps=-all"] : [`--inh-caps=-all,${kept}`, `--ambient-caps=${kept}`];
  const as = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    ...drop,
    process.execPath,
    "--import",
    join(root, "node_modules/tsx/dist/esm/index.mjs"),
  ];
  const run = (format: string) =>
    spawnSync("setpriv", [...as, script, format], { encoding: "utf8", cwd: "/", env: { PATH: process.env.PATH, HOME: folder } });
  const [json, text] = [run("json"), run("text")];
  if (json.stdout === "") expect.fail(json.stderr);
  return { code: json.status, text: text.stdout, told: JSON.parse(json.stdout) as Told };
}

const programRows = ({ rows }: Told) => rows.filter(({ about }) => about === "program");

describe.skipIf(skipReason !== null)("headwater doctor", () => {
  it("as root says of every program that this kernel allows that it is loaded, and ends with 0", () => {
    const { code, told } = doctor();
    expect(programRows(told).filter(({ state }) => state !== "works")).toEqual([]);
    expect(programRows(told).length).toBeGreaterThanOrEqual(25);
    for (const object of doctorObjects) expect(programRows(told).some(({ name }) => name.startsWith(`${object}/`))).toBe(true);
    expect([told.verdict, code]).toEqual(["everything works", 0]);
    expect(told.host.capabilities).toContain("CAP_BPF");
  });

  it("shows the verifier's words of a program that it refuses, with its name, the instruction and the kernel, and ends with 1", () => {
    const { code, told } = doctor(broken);
    const row = programRows(told).find(({ name }) => name === "broken/beyond_bounds");
    expect(row?.state).toBe("lost");
    expect(row?.finding).toContain("the verifier refused it: R0 unbounded memory access");
    expect(row?.detail[0]).toBe(`beyond_bounds (tp_btf/sys_enter) on kernel ${release()}, the verifier's last lines:`);
    expect(row?.detail.some((line) => /^\d+: \(79\) r\d+ = \*\(u64 \*\)\(r0 \+0\)/.test(line))).toBe(true);
    expect(programRows(told).filter(({ state }) => state === "lost")).toHaveLength(1);
    expect([told.verdict, code]).toEqual(["something is lost", 1]);
  });

  it("says of objects that are not compiled what is lost, and how to compile them", () => {
    const lines: string[] = [];
    const none = { objectPath: () => null, print: (line: string) => lines.push(line) };
    expect(runDoctor({ program: null, format: "json" }, none)).toBe(3);
    const told = JSON.parse(lines.join("\n")) as Told;
    expect(programRows(told).map(({ name, finding }) => [name, finding])).toEqual(doctorObjects.map((name) => [name, "not compiled"]));
    expect(programRows(told)[0]?.remedy).toContain("node scripts/setup.mjs --kernel");
  });

  it("refuses a file that is not there", () => {
    expect(() => doctor("/nowhere/x.bpf.o")).toThrow("--program /nowhere/x.bpf.o: there is no such file");
  });

  it("as a normal user names what is missing for which part, and ends with 3", () => {
    const { code, text, told } = doctorAs([]);
    expect([told.verdict, code]).toEqual(["nothing can be loaded", 3]);
    for (const row of programRows(told)) expect([row.name, row.finding]).toEqual([row.name, "not loaded: CAP_BPF and CAP_PERFMON missing"]);
    expect(text).toMatch(/LOST +right to load programs +CAP_BPF and CAP_PERFMON are missing/);
    expect(text).toMatch(/LOST +right to name processes +CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH are missing/);
    expect(text).toMatch(/capabilities +user 65534; effective: none/);
  });

  it("with the two capabilities of programs everything but names of processes works; with one of them nothing does", () => {
    const both = doctorAs(["bpf", "perfmon"]);
    expect(programRows(both.told).filter(({ state }) => state !== "works")).toEqual([]);
    expect(both.told.rows.filter(({ state }) => state === "lost").map(({ name }) => name)).toEqual(["right to name processes"]);
    expect(both.code).toBe(1);
    const one = doctorAs(["bpf"]);
    expect(one.code).toBe(3);
    expect(new Set(programRows(one.told).map(({ finding }) => finding))).toEqual(new Set(["not loaded: CAP_PERFMON missing"]));
  });
});

/**
 * Writes `services/agent/event-layout.generated.ts` from `bpf/event.h`: compiles every struct, enum and number of it with clang and reads
 * offsets and values from the BTF of the result. Run `npx tsx scripts/event-layout.ts` after a change of event.h; a test compares.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type BtfStruct, btfOfObject, readBtf } from "../services/agent/btf.ts";

const outputPath = "services/agent/event-layout.generated.ts";

/** The generated file's text, or the reason why there is none (no clang, an error in event.h). */
export function eventLayoutText(root: string): { readonly text: string } | { readonly reason: string } {
  const folder = mkdtempSync(join(tmpdir(), "headwater-layout-"));
  try {
    const source = join(folder, "layout.c");
    const object = join(folder, "layout.o");
    writeFileSync(source, layoutSource(readFileSync(join(root, "bpf/event.h"), "utf8")));
    const args = ["-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86", "-I", join(root, "bpf"), "-c", source, "-o", object];
    const clang = spawnSync("clang", args, { encoding: "utf8" });
    if (clang.status !== 0) {
      return { reason: clang.error?.message ?? clang.stderr };
    }
    const section = btfOfObject(readFileSync(object));
    const types = section === null ? null : readBtf(section, () => true);
    if (types === null) {
      return { reason: "clang wrote no BTF" };
    }
    const values = types.enums.flatMap((entry) => entry.values.map((value): [string, number] => [value.name, value.value]));
    return { text: render(types.structs, new Map(values)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A variable of every struct and enum, and the plain numbers as an enum, so that all of them get into BTF. */
function layoutSource(header: string): string {
  const names = [...header.matchAll(/^(struct|enum) (hw_\w+) \{/gm)].map((match) => `${match[1]} ${match[2]}`);
  const numbers = [...header.matchAll(/^#define (HW_\w+) (?:0x[0-9a-f]+|\d+)$/gm)].map((match) => match[1]);
  return [
    '#include "kernel.h"',
    '#include "event.h"',
    `enum layout_numbers { ${numbers.map((name) => `LAYOUT_${name} = ${name}`).join(", ")} };`,
    "enum layout_numbers layout_numbers;",
    ...names.map((name, index) => `${name} layout_${index};`),
    "",
  ].join("\n");
}

function render(structs: readonly BtfStruct[], values: ReadonlyMap<string, number>): string {
  const known = structs.filter((entry) => entry.name.startsWith("hw_"));
  const lines = known.map((entry) => {
    const fields = entry.fields.map((field) => `${camelCase(field.name)}: ${field.offset}`);
    return `  ${camelCase(entry.name.slice(3))}: { structBytes: ${entry.bytes}, ${fields.join(", ")} },`;
  });
  return [
    "// Written by scripts/event-layout.ts from bpf/event.h: do not edit.",
    "",
    "/** Offsets in bytes of every field of bpf/event.h, by struct; `structBytes` is the struct's size. */",
    "export const eventLayout = {",
    ...lines.sort(),
    "} as const;",
    "",
    "/** Numbers and enum constants of bpf/event.h, by their names there. */",
    "export const eventNumbers = {",
    ...[...values].map(([name, value]) => `  ${name.replace(/^LAYOUT_/, "")}: ${value},`),
    "} as const;",
    "",
  ].join("\n");
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function main(): void {
  const result = eventLayoutText(process.cwd());
  if ("reason" in result) {
    process.stderr.write(`event layout: ${result.reason}\n`);
    process.exitCode = 1;
    return;
  }
  writeFileSync(outputPath, result.text);
  spawnSync("npx", ["biome", "format", "--write", outputPath], { stdio: "ignore" });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  main();
}

/**
 * Writes `services/agent/syscall-table.generated.ts` from the kernel headers of this machine (x86, 64 and 32 bit). Run
 * `npx tsx scripts/syscall-names.ts` where linux-libc-dev is installed; the result is committed, so nobody else needs the headers.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = "/usr/include/x86_64-linux-gnu/asm";
const outputPath = "services/agent/syscall-table.generated.ts";

/** Calls that are newer than the headers of Debian 12; from 424 on both tables of x86 agree. */
const newer: readonly (readonly [number, string])[] = [
  [451, "cachestat"],
  [452, "fchmodat2"],
  [453, "map_shadow_stack"],
  [454, "futex_wake"],
  [455, "futex_wait"],
  [456, "futex_requeue"],
  [457, "statmount"],
  [458, "listmount"],
  [459, "lsm_get_self_attr"],
  [460, "lsm_set_self_attr"],
  [461, "lsm_list_modules"],
  [462, "mseal"],
  [463, "setxattrat"],
  [464, "getxattrat"],
  [465, "listxattrat"],
  [466, "removexattrat"],
  [467, "open_tree_attr"],
  [468, "file_getattr"],
  [469, "file_setattr"],
];

/** The generated file's text. */
export function syscallTableText(headerOf: (file: string) => string): string {
  return [
    "// Written by scripts/syscall-names.ts from the kernel's headers: do not edit.",
    "",
    "/** Names of the 64-bit calls of x86 by number; empty where there is none. */",
    `export const syscallNames64: readonly string[] = ${table(headerOf("unistd_64.h"))}.split(" ");`,
    "",
    "/** Names of the 32-bit calls of x86 by number; empty where there is none. */",
    `export const syscallNames32: readonly string[] = ${table(headerOf("unistd_32.h"))}.split(" ");`,
    "",
  ].join("\n");
}

function table(header: string): string {
  const names: string[] = [];
  for (const match of header.matchAll(/^#define __NR_(\w+) (\d+)$/gm)) {
    names[Number(match[2])] = match[1] ?? "";
  }
  for (const [number, name] of newer) {
    names[number] ??= name;
  }
  return JSON.stringify(Array.from(names, (name) => name ?? "").join(" "));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(
    outputPath,
    syscallTableText((file) => readFileSync(`${folder}/${file}`, "utf8")),
  );
  spawnSync("npx", ["biome", "format", "--write", outputPath], { stdio: "ignore" });
}

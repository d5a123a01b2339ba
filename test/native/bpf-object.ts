/** Compiled BPF objects for tests, and why they cannot run here. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { KernelProbe, recordPrefixBytes } from "../../native/kernel-probe.ts";
import { eventLayout } from "../../services/agent/event-layout.generated.ts";

const root = join(import.meta.dirname, "../..");

/** Why programs cannot be compiled and loaded here; null when they can. */
export const noKernelPrograms: string | null = reasonAgainst();

function reasonAgainst(): string | null {
  const able = KernelProbe.available();
  if (!able.ok) return able.reason;
  if (process.getuid?.() !== 0) return "programs are loaded into the kernel by root only";
  if (spawnSync("clang", ["--version"]).status !== 0) return "clang is not installed";
  if (spawnSync("bpftool", ["version"]).status !== 0) return "bpftool is not installed";
  return existsSync("/usr/include/bpf/bpf_helpers.h") ? null : "libbpf-dev is not installed";
}

/** Compiles a source of this repository into the folder; answers name and path as `KernelProbe.open` takes them. */
export function compileObject(source: string, folder: string): { name: string; path: string } {
  const name = source.replace(/^.*\//, "").replace(/\.bpf\.c$/, "");
  const path = join(folder, `${name}.bpf.o`);
  const args = [
    "-O2",
    "-g",
    "-Wall",
    "-Werror",
    "-target",
    "bpf",
    "-D__TARGET_ARCH_x86",
    `-I${join(root, "bpf")}`,
    "-c",
    join(root, source),
    "-o",
    path,
  ];
  const result = spawnSync("clang", args, { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`clang refused ${source}: ${result.stderr}`);
  return { name, path };
}

/** Number of a record that the generator wrote: `offset` of `hw_chunk`, behind the prefix and the header. */
export function generatedNumbers(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numbers: number[] = [];
  for (let at = 0; at < bytes.length; at += 8 + Math.ceil(view.getUint32(at, true) / 8) * 8) {
    if (view.getUint32(at + 4, true) !== 0) throw new Error(`record at ${at}: its prefix is not u32 length, u32 zero`);
    numbers.push(Number(view.getBigUint64(at + recordPrefixBytes + eventLayout.chunk.offset, true)));
  }
  return numbers;
}

/** Bytes of a record that the generator wrote, with its prefix. */
export const generatedBytes = 136;

/** The context of the program `generate`. `wake`: 0 nobody, 1 the kernel's rule, 2 at every record, 3 every second record is discarded. */
export function generatorContext(options: { first: number; count: number; wake: 0 | 1 | 2 | 3 }): Uint8Array {
  const context = new DataView(new ArrayBuffer(32));
  context.setBigUint64(0, BigInt(options.first), true);
  context.setUint32(8, options.count, true);
  context.setUint32(12, options.wake, true);
  return new Uint8Array(context.buffer);
}

/** What `generate` says in its context. */
export function generated(context: Uint8Array): { written: number; lost: number } {
  const view = new DataView(context.buffer, context.byteOffset, context.byteLength);
  return { written: Number(view.getBigUint64(16, true)), lost: Number(view.getBigUint64(24, true)) };
}

import { readFileSync, statSync } from "node:fs";
import { readBtf } from "./btf.ts";

/** A kernel's BTF has some 6 MB; more than this is not read. */
const bytesMax = 64 << 20;

/**
 * An enum of the running kernel, value to name: the numbers differ between kernel versions, so they are never written down here.
 * Null where the kernel has no BTF, is not readable, or does not know the enum. `path` is another file for tests.
 */
export function readKernelEnum(name: string, path = "/sys/kernel/btf/vmlinux"): ReadonlyMap<number, string> | null {
  const bytes = readBounded(path);
  if (bytes === null) {
    return null;
  }
  const found = readBtf(bytes, (candidate) => candidate === name)?.enums[0];
  return found === undefined ? null : new Map(found.values.map((entry) => [entry.value, entry.name]));
}

/** Reasons of `kfree_skb` by number in words: `SKB_DROP_REASON_NO_SOCKET` is `no_socket`. Empty where the kernel does not tell. */
export function dropReasons(path?: string): ReadonlyMap<number, string> {
  const names = readKernelEnum("skb_drop_reason", path);
  return new Map([...(names ?? [])].map(([value, name]) => [value, name.replace(/^SKB_(DROP_REASON_)?/, "").toLowerCase()]));
}

function readBounded(path: string): Uint8Array | null {
  try {
    return statSync(path).size > bytesMax ? null : readFileSync(path);
  } catch {
    return null;
  }
}

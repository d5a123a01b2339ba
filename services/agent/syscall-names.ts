import { eventNumbers } from "./event-layout.generated.ts";
import { syscallNames32, syscallNames64 } from "./syscall-table.generated.ts";

const compat = eventNumbers.HW_SYSCALL_COMPAT;
/** What the kernel does not know ends in this number: the highest that the programs count. */
const unknownNumber = eventNumbers.HW_SYSCALLS_MAX - 1;

/** Name of a number as the programs report it: `openat`; `openat/32` for one of the 32-bit table; `syscall-500` where there is no name. */
export function syscallName(number: number): string {
  const plain = number & ~compat;
  if (plain === unknownNumber) {
    return number === plain ? "syscall-unknown" : "syscall-unknown/32";
  }
  const name = (number === plain ? syscallNames64 : syscallNames32)[plain] || `syscall-${plain}`;
  return number === plain ? name : `${name}/32`;
}

/** Number of a name in one of the tables, without the mark of the 32-bit table; null where the table has no such call. */
export function syscallNumber(name: string, table: "64" | "32" = "64"): number | null {
  const number = name === "" ? -1 : (table === "64" ? syscallNames64 : syscallNames32).indexOf(name);
  return number < 0 ? null : number;
}

/** Bits of `hw_settings.detail_numbers`, for the calls of these names; `all` of them without names. Unknown names set nothing. */
export function syscallBits(names: readonly string[] | "all", table: "64" | "32" = "64"): Uint8Array {
  const bits = new Uint8Array(eventNumbers.HW_SYSCALLS_MAX / 8);
  if (names === "all") {
    return bits.fill(0xff);
  }
  for (const name of names) {
    const number = syscallNumber(name, table);
    if (number !== null) {
      bits[number >>> 3] = (bits[number >>> 3] ?? 0) | (1 << (number & 7));
    }
  }
  return bits;
}

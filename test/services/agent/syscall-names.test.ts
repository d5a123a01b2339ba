import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import { syscallBits, syscallName, syscallNumber } from "../../../services/agent/syscall-names.ts";
import { syscallNames32, syscallNames64 } from "../../../services/agent/syscall-table.generated.ts";

const compat = eventNumbers.HW_SYSCALL_COMPAT;

it("numbers of both tables have their names", () => {
  expect([0, 59, 257, 437, 462].map(syscallName)).toEqual(["read", "execve", "openat", "openat2", "mseal"]);
  expect([compat | 5, compat | 11, compat | 295].map(syscallName)).toEqual(["open/32", "execve/32", "openat/32"]);
  expect([500, compat | 500, 511, compat | 511].map(syscallName)).toEqual([
    "syscall-500",
    "syscall-500/32",
    "syscall-unknown",
    "syscall-unknown/32",
  ]);
});

it("names have their numbers, and what is no name has none", () => {
  expect([syscallNumber("openat"), syscallNumber("openat", "32"), syscallNumber("nonsense"), syscallNumber("")]).toEqual([
    257,
    295,
    null,
    null,
  ]);
  for (const [number, name] of syscallNames64.entries()) if (name !== "") expect(syscallNumber(name)).toBe(number);
  for (const [number, name] of syscallNames32.entries()) if (name !== "") expect(syscallNumber(name, "32")).toBe(number);
});

it("a set of names is a bit for each number", () => {
  const bits = syscallBits(["read", "openat", "nonsense"]);
  const set = [...bits].flatMap((byte, index) =>
    Array.from({ length: 8 }, (_, bit) => bit).flatMap((bit) => (byte & (1 << bit) ? [8 * index + bit] : [])),
  );
  expect(set).toEqual([0, 257]);
  expect(syscallBits("all").every((byte) => byte === 0xff)).toBe(true);
});

it("the committed numbers are those of this machine's headers", () => {
  const path = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
  const header = existsSync(path) ? readFileSync(path, "utf8") : "#define __NR_read 0\n";
  for (const [, name, number] of header.matchAll(/^#define __NR_(\w+) (\d+)$/gm))
    expect([name, syscallNames64[Number(number)]]).toEqual([name, name]);
});

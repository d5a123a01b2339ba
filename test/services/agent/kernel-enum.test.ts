import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { btfOfObject, readBtf } from "../../../services/agent/btf.ts";
import { dropReasons, readKernelEnum } from "../../../services/agent/kernel-enum.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";

const kernelBtf = "/sys/kernel/btf/vmlinux";
const hasBtf = existsSync(kernelBtf);
if (!hasBtf) process.stdout.write(`test/services/agent/kernel-enum.test.ts: ${kernelBtf} is not there\n`);
const folder = useTemporaryFolder();

/** BTF of a struct `pair { first; second }` at 0 and 4, and of an enum `word { NO = -1, YES = 7 }`. */
function handMade(): Buffer {
  const names = Buffer.from("\0pair\0first\0second\0word\0NO\0YES\0");
  const name = (text: string): number => names.indexOf(`\0${text}\0`) + 1;
  const words = (values: readonly number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);
  const types = words([
    ...[name("pair"), (4 << 24) | 2, 8, name("first"), 0, 0, name("second"), 0, 32],
    ...[name("word"), ((6 << 24) | 2 | (1 << 31)) >>> 0, 4, name("NO"), 0xffff_ffff, name("YES"), 7],
  ]);
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header.writeUInt8(1, 2);
  header.writeUInt32LE(24, 4);
  header.writeUInt32LE(0, 8);
  header.writeUInt32LE(types.length, 12);
  header.writeUInt32LE(types.length, 16);
  header.writeUInt32LE(names.length, 20);
  return Buffer.concat([header, types, names]);
}

it("structs and enums are read with their members", () => {
  const word = {
    name: "word",
    values: [
      { name: "NO", value: -1 },
      { name: "YES", value: 7 },
    ],
  };
  const pair = {
    name: "pair",
    bytes: 8,
    fields: [
      { name: "first", offset: 0 },
      { name: "second", offset: 4 },
    ],
  };
  expect(readBtf(handMade(), () => true)).toEqual({ structs: [pair], enums: [word] });
  expect(readBtf(handMade(), (name) => name === "word")).toEqual({ structs: [], enums: [word] });
});

it("what is no BTF, or is cut or changed, gives null or types, never an exception", () => {
  expect(readBtf(Buffer.alloc(0), () => true)).toBeNull();
  expect(readBtf(handMade().subarray(0, 60), () => true)).toBeNull();
  const change = fc.tuple(fc.nat(200), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 8 }), fc.nat(200), (changes, length) => {
      const bytes = handMade().subarray(0, length);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      readBtf(bytes, () => true);
      btfOfObject(bytes);
    }),
    { numRuns: 1_000 },
  );
});

it("a file that is no object has no section", () => {
  expect(btfOfObject(readFileSync("package.json"))).toBeNull();
  expect(btfOfObject(readFileSync("/bin/sh"))).toBeNull();
});

it("an enum is read from a file, and a missing or unknown one is null", () => {
  mkdirSync(folder.path, { recursive: true });
  const path = join(folder.path, "btf");
  writeFileSync(path, handMade());
  expect([...(readKernelEnum("word", path) ?? [])]).toEqual([
    [-1, "NO"],
    [7, "YES"],
  ]);
  expect(readKernelEnum("other", path)).toBeNull();
  expect(readKernelEnum("word", join(folder.path, "missing"))).toBeNull();
  expect([...dropReasons(path)]).toEqual([]);
});

it.skipIf(!hasBtf)("the running kernel names its reasons for a drop", () => {
  const names = new Set(dropReasons().values());
  for (const name of ["no_socket", "netfilter_drop", "tcp_csum"]) expect(names).toContain(name);
});

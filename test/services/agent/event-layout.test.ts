import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { eventLayoutText } from "../../../scripts/event-layout.ts";
import { eventLayout, eventNumbers } from "../../../services/agent/event-layout.generated.ts";

const hasClang = spawnSync("clang", ["--version"]).status === 0;
if (!hasClang) process.stdout.write("test/services/agent/event-layout.test.ts: clang is not installed\n");

const plain = (text: string): string => text.replace(/\s+/g, "").replaceAll(",}", "}");

it.skipIf(!hasClang)("the committed offsets are those of bpf/event.h", () => {
  const result = eventLayoutText(process.cwd());
  if ("reason" in result) return expect.fail(result.reason);
  expect(plain(readFileSync("services/agent/event-layout.generated.ts", "utf8"))).toBe(plain(result.text));
});

it("records are multiples of 8 bytes and begin with their header", () => {
  for (const name of ["connection", "connectionEnd", "turn", "chunk", "syscall", "process"] as const) {
    expect([name, eventLayout[name].structBytes % 8, eventLayout[name].header]).toEqual([name, 0, 0]);
  }
  expect(eventNumbers.HW_EVENT_VERSION).toBe(1);
});

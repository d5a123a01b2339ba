import { expect, it } from "vitest";
import { eventLayout, eventNumbers } from "../../../services/agent/event-layout.generated.ts";
import { encodeSettings, quietSettings, scopeKey, scopeValue } from "../../../services/agent/probe-settings.ts";

const layout = eventLayout.settings;

it("quiet settings capture nothing", () => {
  const bytes = Buffer.from(encodeSettings(quietSettings));
  expect([bytes.length, bytes.readUInt32LE(layout.level), bytes.readUInt32LE(layout.detailOn)]).toEqual([layout.structBytes, 0, 0]);
});

it("every field is where the programs read it, cut to what they can do", () => {
  const numbers = new Uint8Array(100).fill(3);
  const bytes = Buffer.from(
    encodeSettings({
      selfTgid: 1,
      scope: "watched",
      level: 3,
      chunkBytesMax: 1e6,
      turnRequestMax: 1e6,
      wakeBytes: 5,
      generation: 6,
      scopeGeneration: 9,
      counts: "off",
      detail: {
        of: "watched",
        tgid: 7,
        cgroup: 2n ** 40n,
        command: "a command of more than 16",
        perSecond: 8,
        numbers,
        numbersCompat: numbers,
      },
    }),
  );
  const u32 = (name: "selfTgid" | "scopeWatchOnly" | "level" | "chunkBytesMax" | "turnRequestMax" | "wakeBytes" | "generation"): number =>
    bytes.readUInt32LE(layout[name]);
  expect([u32("selfTgid"), u32("scopeWatchOnly"), u32("level"), u32("wakeBytes"), u32("generation")]).toEqual([1, 1, 3, 5, 6]);
  expect([u32("chunkBytesMax"), u32("turnRequestMax")]).toEqual([eventNumbers.HW_TRANSFER_MAX, eventNumbers.HW_TURN_REQUEST_MAX]);
  expect([bytes.readUInt32LE(layout.detailOn), bytes.readUInt32LE(layout.detailTgid), bytes.readUInt32LE(layout.detailPerSecond)]).toEqual([
    2, 7, 8,
  ]);
  expect(bytes.readBigUInt64LE(layout.detailCgroup)).toBe(2n ** 40n);
  expect(bytes.toString("utf8", layout.detailCommand, layout.detailCommand + 16)).toBe("a command of mo\0");
  expect(bytes.subarray(layout.detailNumbers, layout.detailNumbers + 128).every((byte) => byte === 3)).toBe(true);
  expect([bytes.readUInt32LE(layout.scopeGeneration), bytes.readUInt32LE(layout.countsOff)]).toEqual([9, 1]);
});

it("rows of the scope are for a cgroup or for a process", () => {
  expect(Buffer.from(scopeKey({ cgroup: 42n })).readBigUInt64LE()).toBe(42n);
  expect(Buffer.from(scopeKey({ tgid: 42 })).readBigUInt64LE()).toBe((1n << 63n) | 42n);
  expect([scopeValue("watch")[0], scopeValue("ignore")[0]]).toEqual([1, 2]);
});

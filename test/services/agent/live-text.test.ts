import { expect, it } from "vitest";
import { errorName } from "../../../services/agent/errno.ts";
import { countText, durationText, printable, resultText, wallTime } from "../../../services/agent/live-text.ts";

it("results are numbers, names of errors, or addresses", () => {
  expect([3, 0, -2, -13, -512, -3_999, -4_096, 0x7f2c99aba000].map(resultText)).toEqual([
    ...["3", "0", "-ENOENT", "-EACCES", "-ERESTARTSYS", "-E3999", "-4096", "0x7f2c99aba000"],
  ]);
  expect([0, -11, -95, -117, -5_000].map(errorName)).toEqual([null, "EAGAIN", "EOPNOTSUPP", "EUCLEAN", null]);
});

it("durations and counts have three figures and a unit", () => {
  expect([0, 812, 1_234, 56_789, 1_500_000, 250e6, 3.456e9, 7_200e9].map(durationText)).toEqual([
    ...["0 ns", "812 ns", "1.23 µs", "56.8 µs", "1.50 ms", "250 ms", "3.46 s", "2.0 h"],
  ]);
  expect([0, 0.4, 12.34, 999, 1_500, 2.5e6, 3e9].map(countText)).toEqual(["0", "0.40", "12.3", "999", "1.50 k", "2.50 M", "3 G"]);
});

it("times have microseconds, on both sides of a millisecond", () => {
  const offset = Date.parse("2026-11-25T18:00:00.000Z") * 1e6;
  expect(wallTime(123_456_000, offset)).toBe("2026-11-25T18:00:00.123456Z");
  expect(wallTime(999_999_500, offset)).toMatch(/^2026-11-25T18:00:00\.99999\dZ$/);
  expect(wallTime(1_000_001_000, offset)).toBe("2026-11-25T18:00:01.000001Z");
});

it("nothing in a path steers a terminal", () => {
  expect(printable("/tmp/\u001b[2J\nx\u009b\u202e")).toBe("/tmp/\\x1b[2J\\x0ax\\x9b\\x202e");
  expect(printable("/tmp/größe 日本")).toBe("/tmp/größe 日本");
});

/** Values of live commands, for people. */
import { errorName } from "./errno.ts";

/** Numbers from here on are addresses. */
const addressMin = 2 ** 32;

/** A call's result as strace writes it: `3`, `-ENOENT`, `0x7f12e4a00000`. */
export function resultText(result: number): string {
  const error = errorName(result);
  if (error !== null) return `-${error}`;
  return result >= addressMin ? `0x${result.toString(16)}` : String(result);
}

const hourMs = 3_600_000;

/** `12 µs`, `3.4 ms`, `1.20 s`; three figures at most below an hour. */
export function durationText(ns: number): string {
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${threeFigures(ns / 1e3)} µs`;
  if (ns < 1e9) return `${threeFigures(ns / 1e6)} ms`;
  return ns < hourMs * 1e6 ? `${threeFigures(ns / 1e9)} s` : `${(ns / 1e6 / hourMs).toFixed(1)} h`;
}

/** `950`, `12.3 k`, `4.56 M`. */
export function countText(value: number): string {
  if (value < 1e3) return threeFigures(value);
  if (value < 1e6) return `${threeFigures(value / 1e3)} k`;
  return value < 1e9 ? `${threeFigures(value / 1e6)} M` : `${threeFigures(value / 1e9)} G`;
}

function threeFigures(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Wall time with microseconds, as `2026-11-25T18:00:00.123456Z`; from monotonic ns and what they lack to wall time. */
export function wallTime(atNs: number, clockOffsetNs: number): string {
  const us = Math.floor(atNs / 1e3 + clockOffsetNs / 1e3);
  const ms = Math.floor(us / 1e3);
  return `${new Date(ms).toISOString().slice(0, -1)}${String(us - ms * 1e3).padStart(3, "0")}Z`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced, or a path could steer the terminal.
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Text from elsewhere, with nothing in it that steers a terminal. */
export function printable(text: string): string {
  return text.replace(unprintable, (found) => `\\x${found.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

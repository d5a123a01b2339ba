/**
 * One way to write JSON, to hash it, and to sort: the ground of byte-equal verdicts (design §4, Determinism).
 */
import { createHash } from "node:crypto";
import { invariant } from "./invariant.ts";

/** Orders two strings by UTF-16 code unit; never by locale. */
export function compareCodeUnits(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** A copy of `items`, sorted by the string key of each. */
export function sortedBy<T>(items: Iterable<T>, key: (item: T) => string): T[] {
  return [...items].sort((left, right) => compareCodeUnits(key(left), key(right)));
}

/** JSON with sorted keys and no spaces; `undefined` members are left out; NaN and infinities are a programmer error. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    invariant(Number.isFinite(value), `canonicalJson: ${value} has no JSON form`);
    return JSON.stringify(Object.is(value, -0) ? 0 : value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(",")}]`;
  invariant(typeof value === "object", `canonicalJson: a ${typeof value} has no JSON form`);
  const members = Object.entries(value as Record<string, unknown>)
    .filter(([, member]) => member !== undefined)
    .sort(([left], [right]) => compareCodeUnits(left, right))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(",")}}`;
}

/** The first 128 bits of SHA-256 of the canonical JSON, as 32 hex digits. Ids of things made from content. */
export function contentHash(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex").slice(0, 32);
}

/** 32-bit FNV-1a of the UTF-16 code units; spreads keys over partitions, not for ids. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

/** Number of partitions of each ordered log, the same in both modes (design §4). */
export const partitionCount = 16;

/** Every partition's number. */
export const allPartitions: readonly number[] = Array.from({ length: partitionCount }, (_, partition) => partition);

/** The partition that owns a key. */
export function partitionOf(key: string): number {
  return hash32(key) % partitionCount;
}

/** Rounds to 1e-9, as all scores are before they are compared or written. */
export function roundScore(value: number): number {
  const rounded = Math.round(value * 1e9) / 1e9;
  return Object.is(rounded, -0) ? 0 : rounded;
}

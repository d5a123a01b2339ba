/** Values of OTLP/JSON (proto3 JSON: 64-bit integers as strings or numbers, ids in hex, enums as numbers or names). */
import { noTime, type OtlpAttributes, type OtlpTime, valueDepthMax } from "./otlp-model.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A list of key-value objects as a map; what has not that shape is left out. */
export function jsonAttributes(value: unknown): OtlpAttributes {
  const attributes: OtlpAttributes = new Map();
  if (!Array.isArray(value)) return attributes;
  for (const pair of value) {
    if (isJsonObject(pair) && typeof pair.key === "string") attributes.set(pair.key, jsonAnyValue(pair.value, 0));
  }
  return attributes;
}

/** As `readAnyValue` of the protobuf side: the same value has the same text in both encodings. */
export function jsonAnyValue(value: unknown, depth: number): string {
  const nothing = depth === 0 ? "" : "null";
  if (!isJsonObject(value)) return nothing;
  const text = value.stringValue ?? value.bytesValue;
  if (typeof text === "string") return depth === 0 ? text : JSON.stringify(text);
  if (typeof value.boolValue === "boolean") return String(value.boolValue);
  if (value.intValue !== undefined) return integerText(value.intValue) ?? nothing;
  if (value.doubleValue !== undefined) return String(jsonNumber(value.doubleValue) ?? nothing);
  const items = isJsonObject(value.arrayValue) ? value.arrayValue.values : undefined;
  if (isJsonObject(value.arrayValue)) return jsonList(items, depth);
  if (isJsonObject(value.kvlistValue)) return jsonMap(value.kvlistValue.values, depth);
  return nothing;
}

function jsonList(items: unknown, depth: number): string {
  if (!Array.isArray(items) || depth >= valueDepthMax) return "[]";
  return `[${items.map((item) => jsonAnyValue(item, depth + 1)).join(",")}]`;
}

function jsonMap(pairs: unknown, depth: number): string {
  if (!Array.isArray(pairs) || depth >= valueDepthMax) return "{}";
  const parts = pairs.filter(isJsonObject).map((pair) => `${JSON.stringify(jsonString(pair.key))}:${jsonAnyValue(pair.value, depth + 1)}`);
  return `{${parts.join(",")}}`;
}

export function jsonString(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Ids are hex in OTLP/JSON, in either case. */
export function jsonHex(value: unknown): string {
  return typeof value === "string" ? value.toLowerCase() : "";
}

/** A double: a number, a decimal string, or "NaN", "Infinity", "-Infinity". Null when it is none of these or missing. */
export function jsonNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (typeof value !== "string" || !/^(?:NaN|-?Infinity|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$/.test(value)) return null;
  return Number(value);
}

/** A 64-bit integer, rounded to the nearest double. Null when it is none or missing. */
export function jsonInteger(value: unknown): number | null {
  const text = integerText(value);
  return text === null ? null : Number(text);
}

/** Nanoseconds since 1970. Unset when missing; −1 µs, which nothing accepts, when it is not an unsigned integer. */
export function jsonTime(value: unknown): OtlpTime {
  if (value === undefined || value === null) return noTime;
  const text = integerText(value);
  if (text === null || text.startsWith("-")) return { us: -1, ns: 0 };
  return { us: Number(text.slice(0, -3)), ns: Number(text.slice(-3)) };
}

/** An enum by number or by name; a name that is unknown is −1. */
export function jsonEnum(value: unknown, names: readonly string[]): number {
  if (value === undefined || value === null) return 0;
  if (typeof value === "string" && !/^\d+$/.test(value)) return names.indexOf(value);
  const number = Number(value);
  return Number.isInteger(number) ? number : -1;
}

/** Decimal digits of an integer without leading zeros, or null. */
function integerText(value: unknown): string | null {
  if (typeof value === "number") return Number.isInteger(value) && Math.abs(value) < 1e21 ? String(BigInt(value)) : null;
  if (typeof value !== "string" || !/^-?\d{1,20}$/.test(value)) return null;
  return value.length < 16 ? String(Number(value)) : String(BigInt(value));
}

/** A log line's shape: what stays when everything that varies is masked. A pure function, so that any worker finds the same (design §4). */
import { hash64Hex, shortenedText, singleLine } from "./text.ts";

/** Characters of a line that are looked at. */
const lineLengthMax = 2_048;
/** Characters of a masked line that are kept and hashed. */
const shapeTextLengthMax = 512;
/** A structured body longer than this is not parsed for its message. */
const structuredLengthMax = 16_384;

/**
 * One pass; the first alternative that fits at a place wins. None can match empty and none has nested repetition, so the time is linear.
 */
const varying = new RegExp(
  [
    /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/.source,
    /"[^"]*"|(?<![\w'])'[^']*'(?!\w)|`[^`]*`/.source,
    /\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?/.source,
    /\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d+)?\b/.source,
    /\b0x[0-9a-f]+\b/.source,
    /\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b/.source,
    /\d+(?:\.\d+)?/.source,
  ].join("|"),
  "gi",
);

interface LineShape {
  /** 16 hex digits of a hash of `text`. */
  readonly shape: string;
  /** The masked line, at most 512 characters. */
  readonly text: string;
}

/** Masks ids, addresses, times, quoted texts and numbers, also inside paths and words. */
export function lineShape(body: string): LineShape {
  const line = singleLine(body.length > lineLengthMax ? body.slice(0, lineLengthMax) : body);
  const masked = line
    .replace(varying, (found) => maskOf(found))
    .replace(/\s+/g, " ")
    .trim();
  const text = shortenedText(masked, shapeTextLengthMax);
  return { shape: hash64Hex(text), text };
}

function maskOf(found: string): string {
  const first = found.charAt(0);
  if (first === '"' || first === "'" || first === "`") return "<text>";
  if (/^[\d.]+$/.test(found)) return found.split(".").length === 4 ? "<address>" : "<number>";
  if (/^\d{4}-\d\d-\d\d(?:$|[T ])/i.test(found)) return "<time>";
  if (found.includes(":")) return "<address>";
  return "<id>";
}

/** The sentence in a structured body (`message`, `msg`, `event`, `error` of a JSON object), else the body itself. */
export function lineMessage(body: string): string {
  if (!body.startsWith("{") || !body.endsWith("}") || body.length > structuredLengthMax) return body;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return body;
  }
  const fields = parsed as Record<string, unknown>;
  for (const key of ["message", "msg", "event", "error"]) {
    const value = fields[key];
    if (typeof value === "string" && value !== "") return value;
  }
  return body;
}

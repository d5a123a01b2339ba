/** CloudEvents 1.0 over HTTP to changes: structured, batch and binary mode. */
import { Buffer } from "node:buffer";
import { Change, ChangeData, ChangeKind, changeTypePrefix } from "../../contract/change.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { parseJsonBody } from "../../native/json-body.ts";
import type { ChangeMode } from "./door.ts";
import type { GatewayHeaders } from "./gateway-message.ts";

const eventsMax = 1_000;
const pastMaxMs = 30 * 86_400_000;
const futureMaxMs = 300_000;

type EventFields = Readonly<Record<string, unknown>>;

/**
 * The changes of a request, all of them valid, and the request as structured JSON.
 * Throws BODY_MALFORMED and REQUEST_INVALID naming the field.
 */
export function changesOf(
  mode: ChangeMode,
  headers: GatewayHeaders,
  body: Uint8Array,
  receivedAtMs: number,
): { changes: Change[]; structured: unknown } {
  if (mode === "binary") {
    const event = binaryEvent(headers, body);
    return { changes: [changeOf(event, "", receivedAtMs)], structured: event };
  }
  const value = parsed(body);
  if (mode === "structured") return { changes: [changeOf(fieldsOf(value, ""), "", receivedAtMs)], structured: value };
  if (!Array.isArray(value)) throw invalid("", "the batch is not a list of events");
  if (value.length > eventsMax) throw invalid("", `the batch has ${value.length} events, at most ${eventsMax} are taken at once`);
  const changes = value.map((event, index) => changeOf(fieldsOf(event, `[${index}]`), `[${index}].`, receivedAtMs));
  return { changes, structured: value };
}

function parsed(body: Uint8Array): unknown {
  const result = parseJsonBody(body);
  if (result.ok) return result.value;
  throw new HeadwaterError("BODY_MALFORMED", `the body is not valid JSON at byte ${result.offset}: ${result.message}`);
}

/** Attributes from `ce-…` headers, percent-decoded; the body is `data`. */
function binaryEvent(headers: GatewayHeaders, body: Uint8Array): EventFields {
  const event: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith("ce-") && value !== undefined) event[name.slice(3)] = percentDecoded(value, name);
  }
  return { ...event, ...(body.length === 0 ? {} : { data: parsed(body) }) };
}

function percentDecoded(value: string, name: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw invalid(name, "has a malformed percent-encoding");
  }
}

function fieldsOf(value: unknown, path: string): EventFields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as EventFields;
  throw invalid(path, "is not an event object");
}

function changeOf(event: EventFields, path: string, receivedAtMs: number): Change {
  if (event.specversion !== "1.0") throw invalid(`${path}specversion`, `is ${shown(event.specversion)}; CloudEvents 1.0 is expected`);
  text(event, "source", path, 2_048);
  const kind = kindOf(text(event, "type", path, 200), path);
  const data = ChangeData.safeParse(dataOf(event, path));
  if (!data.success) {
    const issue = data.error.issues[0];
    throw invalid(`${path}${["data", ...(issue?.path ?? [])].join(".")}`, issue?.message ?? "is not valid");
  }
  const change = Change.safeParse({
    id: text(event, "id", path, 200),
    atMs: timeOf(event, path, receivedAtMs),
    entity: text(event, "subject", path, 512),
    kind,
    ...data.data,
  });
  if (change.success) return change.data;
  const issue = change.error.issues[0];
  throw invalid(`${path}${issue?.path.join(".") ?? ""}`, issue?.message ?? "is not valid");
}

function text(event: EventFields, field: string, path: string, lengthMax: number): string {
  const value = event[field];
  if (typeof value !== "string" || value === "") throw invalid(`${path}${field}`, `is ${shown(value)}; a text is expected`);
  if (value.length > lengthMax) throw invalid(`${path}${field}`, `has ${value.length} characters, at most ${lengthMax} are allowed`);
  return value;
}

function kindOf(type: string, path: string): ChangeKind {
  const kind = ChangeKind.safeParse(type.startsWith(changeTypePrefix) ? type.slice(changeTypePrefix.length) : type);
  if (kind.success && type.startsWith(changeTypePrefix)) return kind.data;
  const allowed = ChangeKind.options.map((option) => `${changeTypePrefix}${option}`).join(", ");
  throw invalid(`${path}type`, `is ${shown(type)}, an unknown change kind; allowed are ${allowed}`);
}

function dataOf(event: EventFields, path: string): unknown {
  const contentType = event.datacontenttype;
  if (contentType !== undefined && !/^application\/(?:[\w.+-]+\+)?json\b/i.test(String(contentType))) {
    throw invalid(`${path}datacontenttype`, `is ${shown(contentType)}; application/json is expected`);
  }
  const base64 = event.data_base64;
  if (typeof base64 === "string" && event.data === undefined) return parsed(Buffer.from(base64, "base64"));
  return event.data ?? {};
}

/** RFC 3339, or the receipt when it is left out. */
function timeOf(event: EventFields, path: string, receivedAtMs: number): number {
  const value = event.time;
  if (value === undefined || value === null) return receivedAtMs;
  const valid = typeof value === "string" && /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/.test(value);
  const atMs = valid ? Date.parse(value.toUpperCase().replace(" ", "T")) : Number.NaN;
  if (!Number.isFinite(atMs)) throw invalid(`${path}time`, `is ${shown(value)}; RFC 3339 is expected, for example 2026-11-25T10:58:00Z`);
  if (atMs < receivedAtMs - pastMaxMs) throw invalid(`${path}time`, `is ${shown(value)}, more than 30 days before its receipt`);
  if (atMs > receivedAtMs + futureMaxMs) throw invalid(`${path}time`, `is ${shown(value)}, more than 5 minutes after its receipt`);
  return atMs;
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value).slice(0, 120);
}

function invalid(field: string, problem: string): HeadwaterError {
  return new HeadwaterError("REQUEST_INVALID", field === "" ? problem : `"${field.replace(/\.$/, "")}" ${problem}`);
}

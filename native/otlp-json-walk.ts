/** Checks the structure of an OTLP body in JSON: the lists from the top down to the items. */
import type { Signal } from "../contract/telemetry.ts";
import { parseJsonBody } from "./json-body.ts";
import { isJsonObject, type JsonObject, jsonAttributes } from "./otlp-json-value.ts";
import type { OtlpAttributes } from "./otlp-model.ts";
import { signalNames } from "./otlp-schema.ts";
import type { OtlpWalk } from "./otlp-walk.ts";
import { resourceIdentity } from "./resource.ts";

const metricDataFields = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] as const;

/** Never throws. A refusal that is about shape, not syntax, has the offset 0 and names the path. */
export function walkOtlpJson(signal: Signal, body: Uint8Array): OtlpWalk {
  const parsed = parseJsonBody(body);
  if (!parsed.ok) return parsed;
  try {
    return checkRequest(signal, parsed.value);
  } catch (error) {
    if (error instanceof ShapeError) return { ok: false, offset: 0, message: error.message };
    throw error;
  }
}

/** Ends the check at the first wrong shape; never leaves this file. */
class ShapeError extends Error {}

function checkRequest(signal: Signal, value: unknown): OtlpWalk {
  const names = signalNames[signal];
  const top = object(value, "the body");
  if (top[names.resources] === undefined) refuseOtherSignal(signal, top);
  let resource: OtlpAttributes | null = null;
  let itemCount = 0;
  list(top, names.resources, "").forEach((groupValue, groupIndex) => {
    const groupPath = `${names.resources}[${groupIndex}]`;
    const group = object(groupValue, groupPath);
    if (group.resource != null) resource ??= jsonAttributes(object(group.resource, `${groupPath}.resource`).attributes);
    list(group, names.scopes, `${groupPath}.`).forEach((scopeValue, scopeIndex) => {
      const scopePath = `${groupPath}.${names.scopes}[${scopeIndex}]`;
      list(object(scopeValue, scopePath), names.items, `${scopePath}.`).forEach((item, itemIndex) => {
        itemCount += countItem(signal, object(item, `${scopePath}.${names.items}[${itemIndex}]`));
      });
    });
  });
  return { ok: true, resource: resourceIdentity(resource ?? new Map()), itemCount };
}

/** Helps the sender of the right body to the wrong path, and of names in snake case. */
function refuseOtherSignal(signal: Signal, top: JsonObject): void {
  const wanted = signalNames[signal].resources;
  for (const other of Object.keys(signalNames) as Signal[]) {
    const { resources } = signalNames[other];
    const snake = resources.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (top[resources] !== undefined && other !== signal) {
      throw new ShapeError(`the body holds "${resources}", so it belongs to /v1/${other}; /v1/${signal} expects "${wanted}"`);
    }
    if (top[snake] !== undefined) throw new ShapeError(`"${snake}" is not a field of OTLP/JSON; did you mean "${resources}"?`);
  }
}

function countItem(signal: Signal, item: JsonObject): number {
  if (signal !== "metrics") return 1;
  for (const field of metricDataFields) {
    const data = item[field];
    const points = isJsonObject(data) ? data.dataPoints : undefined;
    if (Array.isArray(points)) return points.length;
  }
  return 0;
}

function object(value: unknown, path: string): JsonObject {
  if (!isJsonObject(value)) throw new ShapeError(`${path} is ${describe(value)}, expected an object`);
  return value;
}

function list(parent: JsonObject, field: string, path: string): readonly unknown[] {
  const value = parent[field];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new ShapeError(`${path}${field} is ${describe(value)}, expected a list`);
  return value;
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

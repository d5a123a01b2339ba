/** Calls a method of the store with the body of a request, checked, and writes its answer as lines. */
import type { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import type { TelemetryStore } from "../../contract/port.ts";
import { type Method, methods, seriesJson } from "./telemetry-protocol.ts";

/** Problems of a body that an error names. */
const problemsMax = 5;

type Call = (store: TelemetryStore, body: unknown) => Promise<Iterable<string>>;

/** Lines are made one by one, as they are sent. */
const calls: Record<Method, Call> = {
  append: async (store, body) => {
    await store.append(checked(methods.append, body));
    return [];
  },
  series: async (store, body) => linesOf(await store.series(checked(methods.series, body)), seriesJson),
  summaries: async (store, body) => linesOf(await store.summaries(checked(methods.summaries, body))),
  durations: async (store, body) => linesOf(await store.durations(checked(methods.durations, body))),
  spans: async (store, body) => linesOf(await store.spans(checked(methods.spans, body))),
  templates: async (store, body) => linesOf(await store.templates(checked(methods.templates, body))),
  lines: async (store, body) => linesOf(await store.lines(checked(methods.lines, body))),
  retain: async (store, body) => linesOf(await store.retain(checked(methods.retain, body).nowMs)),
};

/** Throws NOT_FOUND, BODY_MALFORMED, REQUEST_INVALID, and what the store throws. */
export async function callMethod(store: TelemetryStore, name: string, body: string): Promise<Iterable<string>> {
  if (!Object.hasOwn(calls, name)) {
    throw new HeadwaterError("NOT_FOUND", `the telemetry store has no method "${name}"; it has ${Object.keys(calls).join(", ")}`);
  }
  return await calls[name as Method](store, parsed(body));
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (error) {
    throw new HeadwaterError("BODY_MALFORMED", `the body is not JSON: ${(error as Error).message}`, { cause: error });
  }
}

function checked<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const { issues } = result.error;
  const named = issues.slice(0, problemsMax).map(({ path, message }) => `${path.map(String).join(".") || "the body"}: ${message}`);
  const more = issues.length > problemsMax ? ` (and ${issues.length - problemsMax} more)` : "";
  throw new HeadwaterError("REQUEST_INVALID", `${named.join("; ")}${more}`);
}

function* linesOf<T>(items: readonly T[], json: (item: T) => string = JSON.stringify): Iterable<string> {
  for (const item of items) yield json(item);
}

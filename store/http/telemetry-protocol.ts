/** How the telemetry store is spoken to over HTTP: what server and client must agree on. */
import { z } from "zod";
import { type ErrorCode, errorTable, HeadwaterError } from "../../contract/error.ts";
import type { SeriesSamples, TelemetryAppend } from "../../contract/port.ts";
import {
  DurationQuery,
  LineQuery,
  SeriesQuery,
  SpanQuery,
  SummaryQuery,
  TelemetryAppend as TelemetryAppendSchema,
  TemplateQuery,
} from "../../contract/telemetry-store.ts";

/** Rises when an older client or server would misunderstand what is sent. */
export const protocolVersion = 1;
/** Every answer of a telemetry server has this header, with the protocol's version; it tells our answers from a proxy's. */
export const protocolHeader = "headwater-telemetry-store";
/** Answers product and protocol; asked when a client opens. Outside of `/v1`, so that any version finds it. */
export const protocolPath = "/protocol";
/** Largest body of a request. */
export const requestBytesMax = 67_108_864;
/** Windows in one request. */
export const windowsMax = 4_096;
/** While a method runs the server says so this often (102 Processing), so that a client can tell a long query from a server that is away. */
export const heartbeatMs = 1_000;

export const Protocol = z.object({ product: z.literal("headwater telemetry store"), protocol: z.number().int() });

/** `POST /v1/<method>` with this JSON as its body. The answer is a list, each item a line of JSON; of `append` it is empty. */
export const methods = {
  append: z.array(TelemetryAppendSchema).max(windowsMax),
  series: SeriesQuery,
  summaries: SummaryQuery,
  durations: DurationQuery,
  spans: SpanQuery,
  templates: TemplateQuery,
  lines: LineQuery,
  retain: z.strictObject({ nowMs: z.number() }),
} as const;
export type Method = keyof typeof methods;

const ErrorBody = z.object({ code: z.string(), message: z.string(), retryAfterSeconds: z.number().nullable() });

export function errorJson({ code, message, retryAfterSeconds }: HeadwaterError): string {
  return JSON.stringify({ code, message, retryAfterSeconds });
}

/** The error that the other side sent, as itself; null when it is none of ours. */
export function errorFromJson(text: string): HeadwaterError | null {
  const parsed = ErrorBody.safeParse(jsonOrNull(text));
  if (!parsed.success || !Object.hasOwn(errorTable, parsed.data.code)) return null;
  const { code, message, retryAfterSeconds } = parsed.data;
  return new HeadwaterError(code as ErrorCode, message, retryAfterSeconds === null ? {} : { retryAfterSeconds });
}

/** Null where the text is no JSON. */
export function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** One series with its samples. `JSON.stringify` would write −0 as 0; the files keep the difference, so the way to them must. */
export function seriesJson(series: SeriesSamples): string {
  if (!series.samples.some(hasNegativeZero)) return JSON.stringify(series);
  const { samples, ...rest } = series;
  return withList(rest, "samples", samples.map(sampleJson));
}

export function appendJson(window: TelemetryAppend): string {
  const { series, ...rest } = window;
  return withList(rest, "series", series.map(seriesJson));
}

type StoredSample = SeriesSamples["samples"][number];

/** Asked of every sample that passes, so without lists. */
function hasNegativeZero({ value, lower, upper, score }: StoredSample): boolean {
  return isNegativeZero(value) || isNegativeZero(lower) || isNegativeZero(upper) || isNegativeZero(score);
}

function sampleJson(sample: StoredSample): string {
  const members = Object.entries(sample).map(
    ([name, value]) => `${JSON.stringify(name)}:${isNegativeZero(value) ? "-0" : JSON.stringify(value)}`,
  );
  return `{${members.join(",")}}`;
}

/** An object's JSON with one more member, a list of texts that are JSON already. */
function withList(object: object, name: string, items: readonly string[]): string {
  return `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(name)}:[${items.join(",")}]}`;
}

function isNegativeZero(value: number | null): boolean {
  return Object.is(value, -0);
}

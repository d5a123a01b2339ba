/** `case.json`: what a case is, when it was, and the acceptable answers, which no ranker ever sees. */
import { z } from "zod";
import type { Interval } from "../../contract/evidence.ts";
import { caseInvalid } from "./case-text.ts";
import type { TruthItem } from "./score.ts";

/** Unix seconds; later ones are milliseconds by mistake. */
const secondsMax = 32_503_680_000;
const Seconds = z.number().min(0).max(secondsMax);
const SecondsInterval = z
  .object({ from: Seconds, to: Seconds })
  .refine((interval) => interval.from <= interval.to, { message: "`from` must not be after `to`" });

const CaseFile = z.object({
  id: z.string().min(1).max(500),
  system: z.string().min(1).max(200),
  normal: SecondsInterval,
  fault: SecondsInterval,
  alert: z
    .object({ entity: z.string().min(1).max(512), metric: z.string().min(1).max(256), at: Seconds })
    .nullable()
    .default(null),
  truth: z
    .array(
      z.object({ type: z.enum(["entity", "dependency", "change"]), id: z.string().min(1).max(1_200), kind: z.string().max(200).nullish() }),
    )
    .nullable()
    .default(null),
});

export interface CaseHeader {
  readonly id: string;
  readonly system: string;
  readonly normal: Interval;
  readonly fault: Interval;
  readonly alert: { readonly entity: string; readonly metric: string; readonly atMs: number } | null;
  readonly truth: readonly TruthItem[] | null;
}

/** Checks the parsed `case.json`; `file` is its name in errors. Throws CASE_INVALID with the path of the first wrong field. */
export function caseHeaderOf(value: unknown, file: string): CaseHeader {
  const parsed = CaseFile.safeParse(value);
  if (!parsed.success) throw caseInvalid(file, fieldErrorText(parsed.error));
  const { data } = parsed;
  const interval = (seconds: { from: number; to: number }): Interval => ({ fromMs: msOf(seconds.from), toMs: msOf(seconds.to) });
  const normal = interval(data.normal);
  const fault = interval(data.fault);
  if (normal.toMs > fault.fromMs) throw caseInvalid(file, "field normal.to: the normal interval must end before the fault begins");
  return {
    id: data.id,
    system: data.system,
    normal,
    fault,
    alert: data.alert === null ? null : { entity: data.alert.entity, metric: data.alert.metric, atMs: msOf(data.alert.at) },
    truth: data.truth === null ? null : data.truth.map((item) => ({ type: item.type, id: item.id, kind: item.kind ?? null })),
  };
}

/** Unix seconds as integer milliseconds. */
export function msOf(seconds: number): number {
  return Math.round(seconds * 1_000);
}

/** Path and message of the first thing a schema refused. */
export function fieldErrorText(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "is not valid";
  return `field ${issue.path.length === 0 ? "(whole)" : issue.path.join(".")}: ${issue.message}`;
}

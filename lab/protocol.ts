/** What the shop as a program is told on standard input and says on standard output: one JSON object per line. */
import { type FaultName, faultNames, rootFaultNames } from "./fault/fault.ts";

export type LabCommand =
  | {
      readonly command: "cycle";
      readonly fault: FaultName;
      readonly cycle: number;
      /** How long all is well before the onset may come. */
      readonly settleSeconds: number;
      /** How long the fault lasts; null = as drawn. */
      readonly durationSeconds: number | null;
    }
  | { readonly command: "quiet"; readonly minutes: number }
  | { readonly command: "quit" };

/** What the users of an entry service had of a fault: requests that began while it was there and were answered or given up. */
export interface Felt {
  readonly requests: number;
  readonly failed: number;
  readonly p95Ms: number;
  /** While all was well. */
  readonly usualP95Ms: number;
}

export type LabEvent =
  | { readonly event: "progress"; readonly text: string }
  | {
      readonly event: "ready";
      readonly services: readonly string[];
      readonly entries: readonly string[];
      readonly datastores: string;
      /**
       * The control group below which its services are, as `/proc/PID/cgroup` has it; null where they have none or do not call each other
       * directly, so that the kernel could not tell who calls whom.
       */
      readonly cgroup: string | null;
      readonly seconds: number;
    }
  | { readonly event: "fault-begins"; readonly cycle: number; readonly fault: FaultName; readonly atMs: number }
  | { readonly event: "fault-ends"; readonly cycle: number; readonly atMs: number; readonly felt: Felt }
  | { readonly event: "recovered"; readonly cycle: number; readonly atMs: number; readonly healthy: "yes" | "no" }
  | { readonly event: "quiet-ends"; readonly atMs: number; readonly requests: number; readonly failed: number; readonly dropped: number }
  /** The cycle's number where it was one, which then does not take place. */
  | { readonly event: "refused"; readonly text: string; readonly cycle?: number }
  | { readonly event: "failed"; readonly code: string; readonly text: string };

const settleSecondsDefault = 30;
const settleSecondsMax = 600;
const durationSecondsMax = 20;
const minutesMax = 1_440;

/** A command from a line, or a sentence that says what is wrong with it. */
export function parseCommand(line: string): LabCommand | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "the line is not JSON";
  }
  if (typeof value !== "object" || value === null) return "the line is not a JSON object";
  const fields = value as Record<string, unknown>;
  switch (fields.command) {
    case "quit":
      return { command: "quit" };
    case "quiet":
      return isWithin(fields.minutes, 0.01, minutesMax)
        ? { command: "quiet", minutes: fields.minutes }
        : `"minutes" must be a number from 0.01 to ${minutesMax}`;
    case "cycle":
      return parseCycle(fields);
    default:
      return `"command" must be one of cycle, quiet, quit`;
  }
}

function parseCycle(fields: Record<string, unknown>): LabCommand | string {
  const known = [...faultNames, ...rootFaultNames];
  const fault = known.find((name) => name === fields.fault);
  if (fault === undefined) return `"fault" must be one of ${known.join(", ")}`;
  const { cycle, settleSeconds = settleSecondsDefault, durationSeconds = null } = fields;
  if (!isWithin(cycle, 0, 1e6) || !Number.isInteger(cycle)) return `"cycle" must be a whole number from 0 to 1000000`;
  if (!isWithin(settleSeconds, 0, settleSecondsMax)) return `"settleSeconds" must be a number from 0 to ${settleSecondsMax}`;
  if (durationSeconds !== null && !isWithin(durationSeconds, 1, durationSecondsMax)) {
    return `"durationSeconds" must be a number from 1 to ${durationSecondsMax}`;
  }
  return { command: "cycle", fault, cycle, settleSeconds, durationSeconds };
}

function isWithin(value: unknown, from: number, to: number): value is number {
  return typeof value === "number" && value >= from && value <= to;
}

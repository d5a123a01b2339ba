/** Ranges of time in requests. */
import type { TimeRange } from "../../contract/port.ts";
import { RequestInvalid } from "./problem.ts";

/** The range, when it ends at or after its beginning; else REQUEST_INVALID. */
export function orderedRange(query: { fromMs: number; toMs: number }): TimeRange {
  if (query.toMs < query.fromMs) throw new RequestInvalid([{ path: "query.toMs", message: "must not lie before fromMs" }]);
  return { fromMs: query.fromMs, toMs: query.toMs };
}

/** How badly users are hurt, as P1 to P4: share of bad requests, and share of all traffic that the entry service carries. */
import type { z } from "zod";
import type { Severity as SeveritySchema } from "../../contract/incident.ts";

export type Severity = z.infer<typeof SeveritySchema>;

/**
 * P1: half of the requests of a service with a tenth of the traffic, or a quarter of all requests. P2: a tenth of its requests.
 * P3: less. P4: whatever happens to a service with less than a hundredth of the traffic.
 */
export function severityOf(options: { badRatio: number; trafficShare: number }): Severity {
  const { badRatio, trafficShare } = options;
  if (trafficShare < 0.01) return "P4";
  if ((badRatio >= 0.5 && trafficShare >= 0.1) || badRatio * trafficShare >= 0.25) return "P1";
  return badRatio >= 0.1 ? "P2" : "P3";
}

/** The more urgent of the two. */
export function worseSeverity(left: Severity, right: Severity): Severity {
  return left < right ? left : right;
}

/** Alerts and anomalies that belong together, as events and as the state they fold to (design §8). */
import { z } from "zod";
import { Alert } from "./alert.ts";
import { Anomaly } from "./anomaly.ts";
import { Change } from "./change.ts";
import { Operational, Verdict } from "./verdict.ts";

export const IncidentStatus = z.enum(["open", "acknowledged", "mitigated", "resolved", "reviewed"]);
export type IncidentStatus = z.infer<typeof IncidentStatus>;

export const Severity = z.enum(["P1", "P2", "P3", "P4"]);

/** Who is hurt, in numbers: the share of an entry service's requests that failed or were slow at the worst moment. */
export const Impact = z.object({
  entity: z.string(),
  objective: z.enum(["availability", "latency"]),
  /** 0..1 over the objective's short window. */
  badRatio: z.number().min(0).max(1),
  requestsPerSecond: z.number().nonnegative(),
});
export type Impact = z.infer<typeof Impact>;

const base = { atMs: z.number().int(), actor: z.string().max(200).nullable() };

/** Stream `incident/<id>` of the event store. `atMs` is event time for our own decisions, receipt time for people's. */
export const IncidentEvent = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("opened"),
    ...base,
    number: z.number().int().positive(),
    onsetMs: z.number().int(),
    severity: Severity,
    alert: Alert,
    impact: Impact,
  }),
  z.object({ type: z.literal("alert-joined"), ...base, alert: Alert, impact: Impact }),
  z.object({ type: z.literal("anomalies-joined"), ...base, anomalies: z.array(Anomaly).max(200) }),
  z.object({ type: z.literal("impact-changed"), ...base, severity: Severity, impact: Impact }),
  z.object({ type: z.literal("verdict-added"), ...base, verdict: Verdict, operational: Operational }),
  z.object({ type: z.literal("acknowledged"), ...base, note: z.string().max(2_000).nullable() }),
  z.object({ type: z.literal("recovered"), ...base }),
  z.object({ type: z.literal("resolved"), ...base, by: z.enum(["recovery", "person"]), note: z.string().max(2_000).nullable() }),
  z.object({ type: z.literal("reopened"), ...base, reason: z.string().max(200) }),
]);
export type IncidentEvent = z.infer<typeof IncidentEvent>;

/** The fold of an incident's events. */
export const Incident = z.object({
  id: z.string().min(1).max(64),
  /** Small number for people: INC-42. */
  number: z.number().int().positive(),
  status: IncidentStatus,
  severity: Severity,
  onsetMs: z.number().int(),
  openedMs: z.number().int(),
  acknowledgedMs: z.number().int().nullable(),
  acknowledgedBy: z.string().nullable(),
  resolvedMs: z.number().int().nullable(),
  alerts: z.array(Alert),
  impacts: z.array(Impact),
  /** Newest state of each anomaly that joined, by id. */
  anomalies: z.array(Anomaly),
  verdicts: z.array(Verdict),
  timeline: z.array(z.object({ atMs: z.number().int(), actor: z.string().nullable(), text: z.string() })),
  /** Number of events folded; the ETag of the API. */
  sequence: z.number().int().nonnegative(),
});
export type Incident = z.infer<typeof Incident>;

/** Stream `change` of the event store. */
export const ChangeEvent = z.object({ type: z.literal("change-recorded"), change: Change });
export type ChangeEvent = z.infer<typeof ChangeEvent>;

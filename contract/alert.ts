/** A symptom raised by us or by a client of the Alertmanager API (design §3); the API itself comes with issue 9. */
import { z } from "zod";

export const Alert = z.object({
  id: z.string().min(1).max(64),
  entity: z.string().min(1).max(512),
  /** `availability` and `latency` are ours; another system's alert carries its `alertname`. */
  objective: z.string().min(1).max(200),
  startsAtMs: z.number().int(),
  endsAtMs: z.number().int().nullable(),
  summary: z.string().max(1_000),
});
export type Alert = z.infer<typeof Alert>;

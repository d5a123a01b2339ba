/** How people change an incident: by an event, written only when nobody else wrote one in between. */
import { HeadwaterError } from "../../contract/error.ts";
import { incidentStream } from "../../contract/event-stream.ts";
import type { Incident, IncidentEvent } from "../../contract/incident.ts";
import type { ApiContext } from "./handler.ts";

/** How often a decision is made anew after somebody else's event came in between. */
const conflictAttemptsMax = 8;

/** The event to write, null when nothing has to change, or why the incident's state does not allow it. */
export type Decision = IncidentEvent | { readonly refused: string } | null;

/** NOT_FOUND for an incident id. */
export function noIncident(id: string): HeadwaterError {
  return new HeadwaterError("NOT_FOUND", `There is no incident ${JSON.stringify(id)}`);
}

/**
 * Decides on the newest state and writes the event. Throws NOT_FOUND, TRANSITION_REFUSED, and CONFLICT when `If-Match` names
 * another version, or when others were faster `conflictAttemptsMax` times.
 */
export async function changeIncident(
  request: { params: { incident: string }; ifMatch: string | null },
  context: ApiContext,
  decide: (incident: Incident) => Decision,
): Promise<{ body: Incident; version: number }> {
  const id = request.params.incident;
  for (let attempt = 1; ; attempt += 1) {
    const incident = await context.incidents.load(id);
    if (incident === null) throw noIncident(id);
    if (!matches(request.ifMatch, incident.sequence)) {
      throw new HeadwaterError("CONFLICT", `The incident is at version ${incident.sequence}, not at ${request.ifMatch}; read it again`);
    }
    const decision = decide(incident);
    if (decision === null) return { body: incident, version: incident.sequence };
    if ("refused" in decision) throw new HeadwaterError("TRANSITION_REFUSED", decision.refused);
    try {
      await context.events.append(incidentStream(id), [decision], { expectedSequence: incident.sequence });
    } catch (error) {
      const conflict = error instanceof HeadwaterError && error.code === "CONFLICT";
      if (conflict && attempt < conflictAttemptsMax) continue;
      throw error;
    }
    const changed = await context.incidents.load(id);
    if (changed === null) throw noIncident(id);
    return { body: changed, version: changed.sequence };
  }
}

/** Strong comparison, as RFC 9110 asks of If-Match: a weak tag never matches. */
function matches(ifMatch: string | null, sequence: number): boolean {
  if (ifMatch === null || ifMatch.trim() === "*") return true;
  return ifMatch.split(",").some((tag) => tag.trim() === `"${sequence}"`);
}

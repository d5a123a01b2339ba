import { HeadwaterError } from "../../../contract/error.ts";
import { noIncident } from "../change-incident.ts";
import type { Handler } from "../handler.ts";
import { readSnapshot } from "../read-snapshot.ts";

/** The sealed snapshot behind an incident's newest verdict. NOT_FOUND until there is one. */
export const incidentEvidence: Handler<"incidentEvidence"> = async (request, context) => {
  const incident = await context.incidents.load(request.params.incident);
  if (incident === null) throw noIncident(request.params.incident);
  const snapshot = await readSnapshot(context.events, incident);
  if (snapshot === null) throw new HeadwaterError("NOT_FOUND", "There is no verdict yet, so there is no evidence behind it");
  return { body: snapshot };
};

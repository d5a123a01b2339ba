import { noIncident } from "../change-incident.ts";
import type { Handler } from "../handler.ts";

/** Every version of an incident's ranking, oldest first. */
export const verdicts: Handler<"verdicts"> = async (request, context) => {
  const incident = await context.incidents.load(request.params.incident);
  if (incident === null) throw noIncident(request.params.incident);
  return { body: { items: incident.verdicts } };
};

import { noIncident } from "../change-incident.ts";
import type { Handler } from "../handler.ts";

/** Everything that happened to an incident, in order. */
export const incidentEvents: Handler<"incidentEvents"> = async (request, context) => {
  const items = await context.incidents.events(request.params.incident);
  if (items === null) throw noIncident(request.params.incident);
  return { body: { items: [...items] } };
};

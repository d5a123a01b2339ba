import { noIncident } from "../change-incident.ts";
import type { Handler } from "../handler.ts";

/** One incident with its verdicts; the ETag is its sequence. */
export const incident: Handler<"incident"> = async (request, context) => {
  const found = await context.incidents.load(request.params.incident);
  if (found === null) throw noIncident(request.params.incident);
  return { body: found, version: found.sequence };
};

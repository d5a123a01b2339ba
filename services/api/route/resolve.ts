import { changeIncident } from "../change-incident.ts";
import type { Handler } from "../handler.ts";

/** Somebody says it is over. TRANSITION_REFUSED when it already was. */
export const resolve: Handler<"resolve"> = async (request, context) =>
  changeIncident(request, context, (incident) => {
    const { actor, note } = request.body;
    if (incident.status === "resolved" || incident.status === "reviewed") {
      return { refused: `The incident is ${incident.status} already` };
    }
    return { type: "resolved", atMs: context.clock.nowMs(), actor, by: "person", note };
  });

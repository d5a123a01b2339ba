import { changeIncident } from "../change-incident.ts";
import type { Handler } from "../handler.ts";

/**
 * Somebody is on it. Asked again by the same person, it changes nothing; TRANSITION_REFUSED when somebody else
 * has it already, or it is over.
 */
export const acknowledge: Handler<"acknowledge"> = async (request, context) =>
  changeIncident(request, context, (incident) => {
    const { actor, note } = request.body;
    if (incident.status === "resolved" || incident.status === "reviewed") {
      return { refused: `The incident is ${incident.status}; it needs nobody any more` };
    }
    if (incident.acknowledgedMs === null) return { type: "acknowledged", atMs: context.clock.nowMs(), actor, note };
    if (incident.acknowledgedBy === actor) return null;
    return { refused: `${incident.acknowledgedBy ?? "Somebody"} has acknowledged it already` };
  });

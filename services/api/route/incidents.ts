import type { Handler } from "../handler.ts";
import { orderNewestFirst } from "../incident-index.ts";
import { decodeCursor, encodeCursor } from "../page-cursor.ts";

/** Incidents, newest first; the cursor is the place (number, id) of the last one, so new incidents move nothing. */
export const incidents: Handler<"incidents"> = async (request, context) => {
  const key = decodeCursor(request.query.cursor, 2);
  const after = key === null ? null : { number: Number(key[0]), id: String(key[1]) };
  const matching = context.incidents
    .list()
    .map((incident) => incident.summary)
    .filter((summary) => request.query.status === undefined || summary.status === request.query.status)
    .filter((summary) => after === null || orderNewestFirst(after, summary) < 0);
  const items = matching.slice(0, request.query.limit);
  const end = items.at(-1);
  return { body: { items, nextCursor: matching.length > items.length && end !== undefined ? encodeCursor([end.number, end.id]) : null } };
};

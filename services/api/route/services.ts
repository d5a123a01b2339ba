import { contentHash } from "../../../contract/canonical.ts";
import { HeadwaterError } from "../../../contract/error.ts";
import type { Handler } from "../handler.ts";
import { decodeCursor, encodeCursor } from "../page-cursor.ts";
import { RequestInvalid } from "../problem.ts";

/** Every service seen, by id. The cursor holds a hash of the last id, because ids may be longer than a cursor. */
export const services: Handler<"services"> = async (request, context) => {
  const { services: all, unread } = await context.overview();
  const [away] = unread;
  if (away !== undefined) {
    const code = away === "graph" ? "GRAPH_UNAVAILABLE" : "STORE_UNAVAILABLE";
    throw new HeadwaterError(code, `the ${away} store could not be read since this API was started, so the services are not known yet`);
  }
  const after = decodeCursor(request.query.cursor, 1);
  const last = after === null ? -1 : all.findIndex((service) => contentHash(service.entity.id) === after[0]);
  if (after !== null && last === -1) {
    throw new RequestInvalid([{ path: "query.cursor", message: "the service it continues after is gone; begin again" }]);
  }
  const items = all.slice(last + 1, last + 1 + request.query.limit);
  const end = items.at(-1);
  const more = last + 1 + items.length < all.length;
  return { body: { items, nextCursor: more && end !== undefined ? encodeCursor([contentHash(end.entity.id)]) : null } };
};

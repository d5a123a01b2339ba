import type { Handler } from "../handler.ts";
import { orderedRange } from "../ordered-range.ts";

/** Kept spans of a range, of one entity or trace when asked. */
export const spans: Handler<"spans"> = async (request, context) => {
  const { entity, traceId, failed, limit } = request.query;
  const items = await context.telemetry.spans({
    ...orderedRange(request.query),
    entities: entity === undefined ? [] : [entity],
    ...(traceId === undefined ? {} : { traceId }),
    failedOnly: failed,
    spansMax: limit,
  });
  return { body: { items } };
};

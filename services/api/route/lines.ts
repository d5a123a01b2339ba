import type { Handler } from "../handler.ts";
import { orderedRange } from "../ordered-range.ts";

/** Kept log lines of a range, of one entity, template or trace when asked. */
export const lines: Handler<"lines"> = async (request, context) => {
  const { entity, template, traceId, limit } = request.query;
  const items = await context.telemetry.lines({
    ...orderedRange(request.query),
    entities: entity === undefined ? [] : [entity],
    ...(template === undefined ? {} : { template }),
    ...(traceId === undefined ? {} : { traceId }),
    templatesMax: limit,
  });
  return { body: { items } };
};

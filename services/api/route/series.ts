import type { Handler } from "../handler.ts";
import { orderedRange } from "../ordered-range.ts";

/** Series with their bands, of one entity or of all. */
export const series: Handler<"series"> = async (request, context) => {
  const { entity, metric, limit } = request.query;
  const found = await context.telemetry.series({
    ...orderedRange(request.query),
    entities: entity === undefined ? [] : [entity],
    ...(metric === undefined ? {} : { metric }),
    seriesMax: limit,
  });
  return { body: { items: found.map((one) => ({ ...one, samples: [...one.samples] })) } };
};

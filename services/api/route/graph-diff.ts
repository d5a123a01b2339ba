import type { Handler } from "../handler.ts";
import { orderedRange } from "../ordered-range.ts";

/** What changed in the graph between two moments. */
export const graphDiff: Handler<"graphDiff"> = async (request, context) => {
  const { fromMs, toMs } = orderedRange(request.query);
  const diff = await context.graph.diff(fromMs, toMs);
  return {
    body: {
      entitiesAdded: [...diff.entitiesAdded],
      entitiesRemoved: [...diff.entitiesRemoved],
      dependenciesAdded: [...diff.dependenciesAdded],
      dependenciesRemoved: [...diff.dependenciesRemoved],
    },
  };
};

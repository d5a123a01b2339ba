import type { Handler } from "../handler.ts";

/** Who depends on whom, as of a moment; now when none is asked for. */
export const graph: Handler<"graph"> = async (request, context) => {
  const view = await context.graph.asOf(request.query.atMs ?? context.clock.nowMs());
  return {
    body: { completeThroughMs: view.completeThroughMs, entities: [...view.entities], dependencies: [...view.dependencies] },
  };
};

import type { Handler } from "../handler.ts";
import { orderedRange } from "../ordered-range.ts";

/** Recorded changes, newest first. */
export const changes: Handler<"changes"> = async (request, context) => {
  const { fromMs, toMs, entity, limit } = request.query;
  if (fromMs !== undefined && toMs !== undefined) orderedRange({ fromMs, toMs });
  const items = await context.changes.list({ fromMs: fromMs ?? null, toMs: toMs ?? null, entity: entity ?? null, limit });
  return { body: { items } };
};

import type { Handler } from "../handler.ts";

/** Forgets a message that could not be handled, for good. NOT_FOUND when there is none of this id (any more). */
export const dropDeadLetter: Handler<"dropDeadLetter"> = async (request, context) => {
  const { id } = request.params;
  await context.queue.dropDeadLetter(id);
  return { body: { id } };
};

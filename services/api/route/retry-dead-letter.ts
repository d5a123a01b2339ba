import type { Handler } from "../handler.ts";

/** Hands a message out again to the reader that could not handle it. NOT_FOUND when there is none of this id (any more). */
export const retryDeadLetter: Handler<"retryDeadLetter"> = async (request, context) => {
  const { id } = request.params;
  await context.queue.retryDeadLetter(id);
  return { body: { id } };
};

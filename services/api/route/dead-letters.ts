import type { Handler } from "../handler.ts";

/** Messages that could not be handled, newest first. */
export const deadLetters: Handler<"deadLetters"> = async (request, context) => {
  const letters = await context.queue.deadLetters({ lettersMax: request.query.limit });
  return { body: { items: letters.map((letter) => ({ ...letter })) } };
};

import type { Handler } from "../handler.ts";

/** What arrives, what is learning, what is not linked, what is open. */
export const overview: Handler<"overview"> = async (_request, context) => ({ body: await context.overview() });

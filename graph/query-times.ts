/** Which queries of the graph a piece of work came to, and how long they took: for people who want to know how a verdict came about. */
import { AsyncLocalStorage } from "node:async_hooks";
import { sortedBy } from "../contract/canonical.ts";

/** One query by its name, over all its runs. */
export interface QueryTime {
  readonly name: string;
  readonly count: number;
  /** All runs together. */
  readonly ms: number;
}

type Times = Map<string, { count: number; ms: number }>;

const current = new AsyncLocalStorage<Times>();

/** Notes a query for the work that it is run for; does nothing outside of `withQueryTimes`. */
export function noteQuery(name: string, ms: number): void {
  const times = current.getStore();
  if (times === undefined) return;
  const known = times.get(name) ?? { count: 0, ms: 0 };
  times.set(name, { count: known.count + 1, ms: known.ms + ms });
}

/** Does the work, and answers with the queries that were noted in it, sorted by name; other work that runs meanwhile does not count. */
export async function withQueryTimes<T>(work: () => Promise<T>): Promise<{ result: T; queries: QueryTime[] }> {
  const times: Times = new Map();
  const result = await current.run(times, work);
  const queries = [...times].map(([name, { count, ms }]) => ({ name, count, ms: Math.round(ms * 1_000) / 1_000 }));
  return { result, queries: sortedBy(queries, ({ name }) => name) };
}

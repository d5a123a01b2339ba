/** How Neo4j carries out each of our queries: its plan, as PROFILE tells it. */
import neo4j, { type Driver, type ProfiledPlan } from "neo4j-driver";
import { type QueryName, queryText } from "../../../graph/neo4j/query-text.ts";

const whole = (value: number) => neo4j.int(value);

/** Parameters with which each query finds something in a world of `randomDeltas`, or writes a little. */
export const parameters: Readonly<Record<QueryName, Readonly<Record<string, unknown>>>> = {
  "calls-among": { atMs: whole(400), ids: ["e1", "e2", "e3"] },
  "dependencies-among": { atMs: whole(400), ids: ["e1", "e2", "e3"] },
  "dependencies-at": { atMs: whole(400) },
  "dependencies-begun": { otherMs: whole(300), atMs: whole(400), whole: false },
  "dependencies-ended": { otherMs: whole(400), atMs: whole(300), whole: true },
  "dependencies-unended": { openEndMs: whole(Number.MAX_SAFE_INTEGER) },
  "entities-at": { atMs: whole(400) },
  "entities-between": { afterMs: whole(300), atMs: whole(400) },
  "entities-of": { atMs: whole(400), ids: ["e1", "e2", "e3"] },
  "entities-seen": { atMs: whole(400), ids: ["e1", "e2", "e3"] },
  "forget-dependencies": { count: whole(3) },
  "forget-entities": { count: whole(3) },
  "forget-precedents": { count: whole(3) },
  "graph-version": { watermarksMs: [] },
  "hops-from": { atMs: whole(400), id: "e1" },
  "hops-to": { atMs: whole(400), id: "e1" },
  "kept-dependencies": { rows: [{ id: "e1>e2", fromMs: whole(0), toMs: whole(900) }] },
  "kept-entities": { ids: ["e1", "e2"] },
  "known-precedents": { incidents: ["i1", "i2"] },
  "lock-graph": {},
  neighbours: { atMs: whole(400), ids: ["e1", "e2", "e3"] },
  "remove-dependencies": { rows: [{ id: "e1>e2", validFromMs: whole(0) }] },
  "set-graph": { watermarksMs: [], entities: whole(0), intervals: whole(0), precedents: whole(0) },
  "set-version": { version: whole(1) },
  "similar-precedents": { tokens: ["t1", "t2"], countMax: whole(5) },
  "update-dependencies": { rows: [{ id: "e1>e2", validFromMs: whole(0), properties: { protocol: "p" } }] },
  watermarks: {},
  "write-dependencies": { rows: [{ source: "e1", target: "e2", properties: { id: "e1>e2", validFromMs: whole(7) } }] },
  "write-entities": { rows: [{ id: "e1", properties: { zone: "z" } }] },
  "write-precedents": { rows: [{ incident: "i1", properties: { closedMs: whole(1) } }] },
  "write-tokens": { rows: [{ incident: "i1", tokens: ["t1", "new"] }] },
};

/** The operators of a query's plan; whatever it writes is taken back. */
export async function operatorsOf(driver: Driver, name: QueryName, prefix: string): Promise<string[]> {
  const session = driver.session();
  const transaction = session.beginTransaction();
  try {
    const { summary } = await transaction.run(`PROFILE ${queryText(name)}`, { prefix, ...parameters[name] });
    return summary.profile === false ? [] : operators(summary.profile);
  } finally {
    await transaction.rollback();
    await session.close();
  }
}

function operators({ operatorType, children }: ProfiledPlan): string[] {
  return [operatorType.replace(/@.*$/, ""), ...children.flatMap(operators)];
}

import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import neo4j, { type Driver } from "neo4j-driver";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GraphStore } from "../../../contract/port.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { migrate } from "../../../graph/neo4j/migrate.ts";
import { Neo4jConnection } from "../../../graph/neo4j/neo4j-connection.ts";
import { openNeo4jGraphStore } from "../../../graph/neo4j/neo4j-graph-store.ts";
import { migrations, type QueryName, queryText } from "../../../graph/neo4j/query-text.ts";
import { noteQuery, withQueryTimes } from "../../../graph/query-times.ts";
import type { RunningServer } from "../../../lab/guarded-server.ts";
import { startNeo4j } from "../../../scripts/servers.ts";
import { SystemClock } from "../../../services/platform.ts";
import { freshNamespace, neo4jMissing } from "../../conformance/neo4j-server.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { Counts, temporaryFolder } from "../../conformance/temporary.ts";
import { randomDeltas, randomFrom, randomPrecedents, worldEndsMs } from "../random-deltas.ts";
import { operatorsOf, parameters } from "./plans.ts";

const clock = new SystemClock();
const moments = [-1, 50, 175, 501, 999, 1_300];

/** Everything that can be asked, at many moments. */
async function answers(graph: GraphStore, seed: number): Promise<Record<string, unknown>> {
  const random = randomFrom(seed);
  const all: Record<string, unknown> = {};
  for (const atMs of moments) {
    all[`asOf ${atMs}`] = await graph.asOf(atMs);
    const ids = [`e${random(12)}`, `e${random(12)}`];
    for (const entitiesMax of [3, 50]) {
      all[`neighbourhood ${ids} ${atMs} ${entitiesMax}`] = await graph.neighbourhood({ atMs, ids, entitiesMax });
    }
    const [from = "", to = ""] = ids;
    all[`paths ${ids} ${atMs}`] = await graph.paths({ atMs, from, to, hopsMax: 1 + random(6), pathsMax: 20 });
    const otherMs = random(worldEndsMs);
    all[`diff ${atMs} ${otherMs}`] = await graph.diff(atMs, otherMs);
    all[`diff ${otherMs} ${atMs}`] = await graph.diff(otherMs, atMs);
  }
  for (const signature of [["t1", "t2", "t3"], ["t4"], ["t9", "t9", "unseen"]]) {
    for (const countMax of [2, 100]) all[`similar ${signature} ${countMax}`] = await graph.similar(signature, { countMax });
  }
  return all;
}

const folder = join(import.meta.dirname, "../../../graph/neo4j");

describe("the Cypher of the graph", () => {
  const names = readdirSync(join(folder, "query")).map((name) => basename(name, ".cypher"));

  it("is one file a query, each used, with a header that names its parameters and what it returns", () => {
    expect(names.sort()).toEqual(Object.keys(parameters).sort());
    for (const name of names) {
      const text = queryText(name as QueryName);
      expect(text, name).toMatch(/^(?:\/\/ .+\n)+\/\/ Parameters: .+\n\/\/ Returns: .+\n(?!\/\/)/);
      const [, header = "", body = ""] = /^((?:\/\/.*\n)+)([\s\S]*)$/.exec(text) ?? [];
      const asked = [...new Set(body.match(/\$\w+/g))].sort();
      expect([...new Set(header.match(/\$\w+/g))].sort(), name).toEqual(asked);
    }
  });

  const compiled = join(folder, "../../dist/graph/neo4j/query-text.js");
  // There is none before the set-up step has run.
  if (existsSync(compiled)) {
    it("is beside the compiled code, all of it and as it is here", async () => {
      const built = (await import(compiled)) as { queryText(name: QueryName): string; migrations: typeof migrations };
      for (const name of names) expect(built.queryText(name as QueryName)).toBe(queryText(name as QueryName));
      expect(built.migrations).toEqual(migrations);
    });
  }

  it("is not made of anything that only the Enterprise edition has", () => {
    const statements = migrations.flatMap((migration) => migration.statements).join("\n");
    expect(statements).not.toMatch(/NODE KEY|IS NOT NULL|IS ::|CREATE DATABASE/);
    expect(statements.match(/CREATE (CONSTRAINT|INDEX)/g)?.length).toBe(statements.match(/IF NOT EXISTS/g)?.length);
  });
});

describe.skipIf(neo4jMissing !== null)("a graph in Neo4j", () => {
  let server: RunningServer;
  let driver: Driver;

  beforeAll(async () => {
    server = await startNeo4j();
    driver = neo4j.driver(server.url, undefined, { disableLosslessIntegers: true });
  }, 120_000);

  afterAll(async () => {
    await driver.close();
    await server.stop();
  });

  function open(namespace = freshNamespace(), more: { counts?: Counts } & Partial<Parameters<typeof openNeo4jGraphStore>[0]> = {}) {
    const { counts = new Counts(), ...rest } = more;
    return openNeo4jGraphStore({ url: server.url, namespace, clock, onCounted: counts.onCounted, ...rest });
  }

  it("carries out every query by an index, in an empty graph and in a full one, and multiplies nothing", { timeout: 120_000 }, async () => {
    const namespace = freshNamespace();
    await (await open(namespace)).close();
    const check = async (when: string): Promise<void> => {
      // A plan is made for how much there is at the time, and kept.
      await driver.executeQuery("CALL db.clearQueryCaches()");
      for (const name of Object.keys(parameters) as QueryName[]) {
        const operators = await operatorsOf(driver, name, namespace);
        const what = `${name} in ${when}: ${operators.join(" ")}`;
        const unwanted = /AllNodes|LabelScan|RelationshipTypeScan|AllRelationships|IndexScan|CartesianProduct/;
        expect(
          operators.filter((operator) => unwanted.test(operator)),
          what,
        ).toEqual([]);
        expect(operators.join(" "), what).toMatch(/IndexSeek/);
      }
    };
    await check("an empty graph");
    for (const name of [namespace, freshNamespace()]) {
      const graph = await open(name);
      await Promise.all(randomDeltas(7, { deltas: 400, entities: 250 }).map((delta) => graph.apply(delta)));
      await Promise.all(randomPrecedents(7, 60).map((precedent) => graph.remember(precedent)));
      await graph.close();
    }
    await check("a full graph");
  });

  it.each([1, 2])("answers every question as the memory graph does (world %i)", { timeout: 120_000 }, async (seed) => {
    const place = await temporaryFolder();
    const memory = await openMemoryGraphStore({ directory: place.path, clock, onCounted: new Counts().onCounted });
    const graph = await open();
    try {
      const deltas = randomDeltas(seed, { deltas: 120, entities: 12 });
      // One after the other, and many at once: how they share transactions is of no matter.
      for (const delta of deltas.slice(0, 10)) await graph.apply(delta);
      await Promise.all(deltas.slice(10).map((delta) => graph.apply(delta)));
      for (const delta of deltas) await memory.apply(delta);
      const precedents = randomPrecedents(seed, 30);
      for (const precedent of precedents) await memory.remember(precedent);
      for (const precedent of precedents.slice(0, 10)) await graph.remember(precedent);
      await Promise.all(precedents.slice(10).map((precedent) => graph.remember(precedent)));
      const expected = await answers(memory, seed);
      const found = await answers(graph, seed);
      for (const [question, answer] of Object.entries(expected)) expect(found[question], question).toEqual(answer);
      // A redelivered delta changes nothing.
      await Promise.all(deltas.slice(0, 30).map((delta) => graph.apply(delta)));
      expect(JSON.stringify(await answers(graph, seed))).toBe(JSON.stringify(found));
    } finally {
      await memory.close();
      await graph.close();
      await place.remove();
    }
  });

  it("keeps installations apart that share a database", async () => {
    const [left, right] = [await open(), await open()];
    const entities = [anEntity("shop", { seenMs: 1 }), anEntity("pay", { seenMs: 1 })];
    const dependencies = [aDependency("shop", "pay", { validFromMs: 1 })];
    await left.apply({ partition: 0, completeThroughMs: 5, entities, dependencies });
    await left.remember({ incident: "i", closedMs: 1, cause: { type: "entity", id: "pay", kind: null }, signature: ["t"] });
    await right.apply({ partition: 0, completeThroughMs: 9, entities: entities.slice(0, 1), dependencies: [] });
    expect(await right.asOf(10)).toMatchObject({ entities: [{ id: "shop" }], dependencies: [] });
    expect(await right.neighbourhood({ atMs: 10, ids: ["shop"], entitiesMax: 9 })).toMatchObject({ entities: [{ id: "shop" }], left: 0 });
    expect(await right.paths({ atMs: 10, from: "shop", to: "pay", hopsMax: 3, pathsMax: 3 })).toEqual([]);
    expect(await right.diff(0, 10)).toMatchObject({ entitiesAdded: [{ id: "shop" }], dependenciesAdded: [] });
    expect(await right.similar(["t"], { countMax: 9 })).toEqual([]);
    expect((await left.asOf(10)).dependencies).toHaveLength(1);
    await left.close();
    await right.close();
  });

  it("may be opened by many processes at once, and each sees what another wrote", async () => {
    const namespace = freshNamespace();
    const graphs = await Promise.all(Array.from({ length: 5 }, () => open(namespace)));
    const deltas = graphs.map((_, n) => ({
      ...{ partition: n, completeThroughMs: 1, entities: [anEntity("shop", { seenMs: n + 1 }), anEntity(`e${n}`, { seenMs: 1 })] },
      dependencies: [aDependency("shop", "pay", { validFromMs: n + 1, addresses: [`pay:${n}`] })],
    }));
    // Writers at the same time on the same entity and dependency: nobody's part is lost.
    await Promise.all(graphs.map((graph, n) => graph.apply(deltas[n]!)));
    for (const graph of graphs) {
      const view = await graph.asOf(10);
      expect(view.entities.map(({ id }) => id)).toEqual(["e0", "e1", "e2", "e3", "e4", "shop"]);
      expect(view.dependencies).toMatchObject([
        { id: "shop>pay", validFromMs: 1, addresses: ["pay:0", "pay:1", "pay:2", "pay:3", "pay:4"] },
      ]);
      await graph.close();
    }
  });

  it("forgets at its bounds what was seen longest ago, and counts it", async () => {
    const counts = new Counts();
    const bounds = { entitiesMax: 200, dependenciesMax: 300, precedentsMax: 5 };
    const graph = await open(freshNamespace(), { counts, ...bounds });
    const entities = Array.from({ length: 201 }, (_, n) => anEntity(`e-${n}`, { seenMs: n + 1 }));
    const dependencies = Array.from({ length: 301 }, (_, n) => aDependency("a", `e-${n}`, { validFromMs: n + 1 }));
    await graph.apply({ partition: 0, completeThroughMs: 0, entities, dependencies });
    const view = await graph.asOf(1_000_000);
    const idsOf = (items: readonly { id: string }[]) => items.map(({ id }) => id).sort();
    expect(idsOf(view.entities)).toEqual(idsOf(entities.slice(2)));
    expect(idsOf(view.dependencies)).toEqual(idsOf(dependencies.slice(3)));
    expect(counts.of("graph_entities_forgotten")).toBe(2);
    expect(counts.of("graph_dependencies_forgotten")).toBe(3);
    const cause = { type: "entity", id: "a", kind: null };
    for (let n = 0; n <= 5; n += 1) await graph.remember({ incident: `i-${n}`, closedMs: n, cause, signature: [`t-${n}`, "all"] });
    expect(counts.of("graph_precedents_forgotten")).toBe(1);
    expect(await graph.similar(["t-0"], { countMax: 1 })).toEqual([]);
    expect(await graph.similar(["all"], { countMax: 9 })).toHaveLength(5);
    await graph.close();
  });

  it("writes a delta that is too large for one transaction in several, complete only when all of it is there", async () => {
    const graph = await open();
    const entities = Array.from({ length: 3_000 }, (_, n) => anEntity(`e${n}`, { seenMs: 1 }));
    const dependencies = Array.from({ length: 3_500 }, (_, n) =>
      aDependency(`e${n % 3_000}`, `e${(n * 7 + 1) % 3_000}`, { validFromMs: 1 }),
    );
    for (let partition = 1; partition < 16; partition += 1)
      await graph.apply({ partition, completeThroughMs: 9, entities: [], dependencies: [] });
    const looking = { stopped: false };
    const looks = (async () => {
      while (!looking.stopped) {
        const view = await graph.asOf(5);
        if (view.completeThroughMs === 7) expect(view.entities).toHaveLength(3_000);
      }
    })();
    await graph.apply({ partition: 0, completeThroughMs: 7, entities, dependencies });
    looking.stopped = true;
    await looks;
    const view = await graph.asOf(5);
    expect([view.completeThroughMs, view.entities.length]).toEqual([7, 3_000]);
    expect(view.dependencies).toHaveLength(new Set(dependencies.map(({ id }) => id)).size);
    await graph.close();
  });

  it("tells whoever asks which queries a piece of work came to, and nobody else", async () => {
    const times: string[] = [];
    const graph = await open(freshNamespace(), { onQuery: (name) => times.push(name) });
    await graph.apply({ partition: 0, completeThroughMs: 0, entities: [anEntity("a", { seenMs: 1 })], dependencies: [] });
    const [around, path] = await Promise.all([
      withQueryTimes(() => graph.neighbourhood({ atMs: 1, ids: ["a"], entitiesMax: 5 })),
      withQueryTimes(() => graph.paths({ atMs: 1, from: "a", to: "b", hopsMax: 3, pathsMax: 1 })),
      graph.asOf(1),
    ]);
    expect(around.result.entities).toHaveLength(1);
    expect(around.queries.map(({ name }) => name)).toEqual([
      "dependencies-among",
      "entities-of",
      "entities-seen",
      "neighbours",
      "watermarks",
    ]);
    expect(path.queries).toMatchObject([{ name: "hops-from", count: 1, ms: expect.any(Number) }]);
    expect(path.queries[0]!.ms).toBeGreaterThan(0);
    expect(times).toContain("entities-at");
    noteQuery("outside", 1);
    await graph.close();
  });

  it("refuses a graph of a newer version, and a node of that name that is none of ours", async () => {
    const [newer, foreign] = [freshNamespace(), freshNamespace()];
    await (await open(newer)).close();
    await driver.executeQuery("MATCH (graph:HeadwaterGraph {prefix: $newer}) SET graph.version = toInteger(99)", { newer });
    await expect(open(newer)).rejects.toMatchObject({
      code: "DATA_VERSION_UNKNOWN",
      message: expect.stringMatching(/version 99, this Headwater knows 1/),
    });
    await driver.executeQuery("CREATE (:HeadwaterGraph {prefix: $foreign, version: 'mine'})", { foreign });
    await expect(open(foreign)).rejects.toMatchObject({ code: "DATA_FOREIGN" });
  });

  it("migrates an older graph forward with what it holds; then it is too new for the older program", async () => {
    const namespace = freshNamespace();
    const older = await open(namespace);
    await older.apply({ partition: 3, completeThroughMs: 7, entities: [anEntity("a", { seenMs: 1 })], dependencies: [] });
    await older.close();
    const connection = new Neo4jConnection({ url: server.url, onCounted: () => undefined, onQuery: () => undefined });
    const marking = `MATCH (entity:HeadwaterEntity {prefix: '${namespace}'}) SET entity.note = coalesce(entity.note, '') + 'old'`;
    const version = migrations.length + 1;
    for (let times = 0; times < 2; times += 1) await migrate(connection, namespace, [...migrations, { version, statements: [marking] }]);
    await connection.close();
    const { records } = await driver.executeQuery("MATCH (entity:HeadwaterEntity {prefix: $namespace}) RETURN entity.id, entity.note", {
      namespace,
    });
    expect(records.map((record) => record.toObject())).toEqual([{ "entity.id": "a", "entity.note": "old" }]);
    await expect(open(namespace)).rejects.toMatchObject({
      code: "DATA_VERSION_UNKNOWN",
      message: expect.stringContaining(`version ${version}, this Headwater knows ${migrations.length}`),
    });
  });

  it("goes on after a migration that was cut off", async () => {
    const namespace = freshNamespace();
    await (await open(namespace)).close();
    await driver.executeQuery("MATCH (graph:HeadwaterGraph {prefix: $namespace}) SET graph.version = toInteger(0)", { namespace });
    await (await open(namespace)).close();
    const { records } = await driver.executeQuery("MATCH (graph:HeadwaterGraph {prefix: $namespace}) RETURN graph.version AS version", {
      namespace,
    });
    expect(records[0]!.get("version")).toBe(migrations.length);
  });

  it("names a database that is not there", async () => {
    await expect(open(freshNamespace(), { url: `${server.url}/nowhere` })).rejects.toMatchObject({
      code: "SERVER_UNSUITABLE",
      message: expect.stringContaining("nowhere"),
    });
    await (await open(freshNamespace(), { url: `${server.url}/neo4j` })).close();
  });
});

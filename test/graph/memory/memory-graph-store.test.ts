import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { observed, valueAt } from "../../../graph/merge/attribute-history.ts";
import { SystemClock } from "../../../services/platform.ts";
import { killedWriter } from "../../conformance/killed-writer.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { Counts, useTemporaryFolder } from "../../conformance/temporary.ts";

describe("the memory graph on disk", () => {
  const folder = useTemporaryFolder();
  let counts: Counts;

  beforeEach(async () => {
    counts = new Counts();
  });

  function open(journalBytesMax = 16_777_216, directory = folder.path) {
    return openMemoryGraphStore({ directory, clock: new SystemClock(), onCounted: counts.onCounted, journalBytesMax });
  }

  it("holds everything that was acknowledged after SIGKILL", { timeout: 60_000 }, async () => {
    for (let round = 0; round < 2; round += 1) {
      const directory = join(folder.path, `round-${round}`);
      const acknowledged = await killedWriter("graph-store", directory, 400 + round * 400);
      const graph = await open(16_777_216, directory);
      const ids = new Set((await graph.asOf(1_000_000_000)).entities.map(({ id }) => id));
      for (const n of acknowledged) expect(ids.has(`e-${n}`), `e-${n}`).toBe(true);
      await graph.close();
    }
  });

  it("writes a snapshot when the journal has grown, removes older journals, and is the same afterwards", async () => {
    const graph = await open(20_000);
    for (let n = 0; n < 300; n += 1) {
      const entities = [anEntity(`e-${n % 50}`, { seenMs: n, version: `${n}` })];
      const dependencies = [aDependency(`e-${n % 50}`, "db", { validFromMs: n, lastSeenMs: n, validToMs: n + 3 })];
      await graph.apply({ partition: n % 16, completeThroughMs: n, entities, dependencies });
    }
    await graph.remember({ incident: "i", closedMs: 1, cause: { type: "entity", id: "a", kind: null }, signature: ["t"] });
    const names = await readdir(folder.path);
    expect(names).toContain("snapshot");
    expect(names.filter((name) => name.endsWith(".journal")).length).toBe(1);
    const before = JSON.stringify([
      await graph.asOf(150),
      await graph.asOf(400),
      await graph.diff(150, 290),
      await graph.similar(["t"], { countMax: 1 }),
    ]);
    await graph.close();
    const again = await open();
    expect(
      JSON.stringify([
        await again.asOf(150),
        await again.asOf(400),
        await again.diff(150, 290),
        await again.similar(["t"], { countMax: 1 }),
      ]),
    ).toBe(before);
    await again.close();
  });

  it("cuts off a torn tail, counts it, and keeps what was before it", async () => {
    const graph = await open();
    for (const id of ["a", "b"])
      await graph.apply({ partition: 0, completeThroughMs: 0, entities: [anEntity(id, { seenMs: 1 })], dependencies: [] });
    await graph.close();
    const [name] = (await readdir(folder.path)).filter((file) => file.endsWith(".journal"));
    await truncate(join(folder.path, name ?? ""), 300);
    const again = await open();
    expect((await again.asOf(1)).entities.map(({ id }) => id)).toEqual(["a"]);
    expect(counts.of("graph_journal_torn_bytes")).toBeGreaterThan(0);
    await again.close();
  });

  it("forgets at its bounds what was seen longest ago, and counts it", async () => {
    const bounds = { entitiesMax: 200, dependenciesMax: 300, precedentsMax: 100 };
    const graph = await openMemoryGraphStore({ directory: folder.path, clock: new SystemClock(), onCounted: counts.onCounted, ...bounds });
    const entities = Array.from({ length: 201 }, (_, n) => anEntity(`e-${n}`, { seenMs: n + 1 }));
    const dependencies = Array.from({ length: 301 }, (_, n) => aDependency("a", `e-${n}`, { validFromMs: n + 1 }));
    await graph.apply({ partition: 0, completeThroughMs: 0, entities, dependencies });
    const view = await graph.asOf(1_000_000);
    expect(view.entities.map(({ id }) => id).sort()).toEqual(
      entities
        .slice(2)
        .map(({ id }) => id)
        .sort(),
    );
    expect(view.dependencies.map(({ id }) => id).sort()).toEqual(
      dependencies
        .slice(3)
        .map(({ id }) => id)
        .sort(),
    );
    expect(counts.of("graph_entities_forgotten")).toBe(2);
    expect(counts.of("graph_dependencies_forgotten")).toBe(3);
    const cause = { type: "entity", id: "a", kind: null };
    for (let n = 0; n <= 100; n += 1) await graph.remember({ incident: `i-${n}`, closedMs: n, cause, signature: [`t-${n}`] });
    expect(counts.of("graph_precedents_forgotten")).toBe(1);
    expect(await graph.similar(["t-0"], { countMax: 1 })).toEqual([]);
    expect(await graph.similar(["t-100"], { countMax: 1 })).toHaveLength(1);
    await graph.close();
  });
});

describe("the history of an attribute", () => {
  it("is the same in whatever order one value at a time was seen", async () => {
    const stretches = fc.array(fc.record({ length: fc.integer({ min: 1, max: 3 }), value: fc.constantFrom("a", "b", "c") }), {
      maxLength: 8,
    });
    await fc.assert(
      fc.property(
        stretches.chain((all) => {
          const seen = all.flatMap(({ length, value }, index) => Array.from({ length }, (_, at) => ({ atMs: index * 10 + at, value })));
          return fc.tuple(fc.constant(seen), fc.shuffledSubarray(seen, { minLength: seen.length, maxLength: seen.length }));
        }),
        ([inOrder, shuffled]) => {
          const straight = inOrder.reduce<ReturnType<typeof observed>>((history, { atMs, value }) => observed(history, atMs, value), []);
          const other = shuffled.reduce<ReturnType<typeof observed>>((history, { atMs, value }) => observed(history, atMs, value), []);
          for (const { atMs, value } of inOrder) {
            expect(valueAt(straight, atMs)).toBe(value);
            expect(valueAt(other, atMs)).toBe(value);
          }
        },
      ),
    );
  });
});

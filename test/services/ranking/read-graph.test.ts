import { expect, test } from "vitest";
import type { GraphPart, GraphStore } from "../../../contract/port.ts";
import { openMemoryGraphStore } from "../../../graph/memory/memory-graph-store.ts";
import { ManualClock } from "../../../services/platform.ts";
import { entitiesMax, readGraph, selectGraph } from "../../../services/ranking/select-graph.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";
import { randomDeltas, randomFrom } from "../../graph/random-deltas.ts";

const folder = useTemporaryFolder();

async function opened(): Promise<GraphStore> {
  return await openMemoryGraphStore({ directory: folder.path, clock: new ManualClock(0), onCounted: () => undefined });
}

const plain = ({ entities, dependencies, left }: ReturnType<typeof selectGraph>) => ({ entities, dependencies, left });

test("reading what lies around the symptoms gives what the whole views give, wherever it fits", async () => {
  const graph = await opened();
  // As topology tells it: both ends of a dependency are entities by then.
  for (const delta of randomDeltas(5, { deltas: 60, entities: 60 })) {
    const ends = delta.dependencies.flatMap(({ source, target, validFromMs: seenMs }) => [
      anEntity(source, { seenMs }),
      anEntity(target, { seenMs }),
    ]);
    await graph.apply({ ...delta, entities: [...delta.entities, ...ends] });
  }
  const random = randomFrom(9);
  for (let round = 0; round < 60; round += 1) {
    const askedMs = random(1_100);
    const onsetMs = Math.max(0, askedMs - random(300));
    const symptoms = [`e${random(60)}`, `e${random(70)}`];
    const whole = selectGraph([await graph.asOf(onsetMs), await graph.asOf(askedMs)], symptoms);
    expect(plain(await readGraph(graph, { onsetMs, askedMs, symptoms }))).toEqual(plain(whole));
  }
  await graph.close();
});

test("what is reached along a dependency that had ended and one that had not begun is found, and two looks do where nothing changed", async () => {
  const graph = await opened();
  const entities = ["a", "b", "c", "d"].map((id) => anEntity(id, { seenMs: 1 }));
  const dependencies = [
    aDependency("b", "a", { validFromMs: 1, lastSeenMs: 90, validToMs: 100 }),
    aDependency("c", "b", { validFromMs: 150 }),
    aDependency("d", "c", { validFromMs: 1, lastSeenMs: 90, validToMs: 100 }),
  ];
  await graph.apply({ partition: 0, completeThroughMs: 0, entities, dependencies });
  let looks = 0;
  const counting: GraphStore = Object.assign(Object.create(graph) as GraphStore, {
    neighbourhood: async (options: Parameters<GraphStore["neighbourhood"]>[0]): Promise<GraphPart> => {
      looks += 1;
      return await graph.neighbourhood(options);
    },
  });
  const found = await readGraph(counting, { onsetMs: 50, askedMs: 200, symptoms: ["a"] });
  expect(found.entities.map(({ id }) => id)).toEqual(["a", "b", "c", "d"]);
  expect(looks).toBeLessThanOrEqual(5);
  looks = 0;
  await readGraph(counting, { onsetMs: 50, askedMs: 50, symptoms: ["a"] });
  expect(looks).toBe(2);
  await graph.close();
});

test("what does not fit is cut by hops from the symptoms, and counted", async () => {
  const graph = await opened();
  const entities = Array.from({ length: 300 }, (_, n) => anEntity(`e${String(n).padStart(3, "0")}`, { seenMs: 1 }));
  const dependencies = entities.slice(1).map(({ id }, n) => aDependency(entities[n]!.id, id, { validFromMs: n === 150 ? 60 : 1 }));
  await graph.apply({ partition: 0, completeThroughMs: 0, entities, dependencies });
  const found = await readGraph(graph, { onsetMs: 50, askedMs: 100, symptoms: ["e000"] });
  expect(found.entities.map(({ id }) => id)).toEqual(entities.slice(0, entitiesMax).map(({ id }) => id));
  expect(found.left).toBe(100);
  await graph.close();
});

/** What every GraphStore does, whatever it is made of. */
import { describe, expect, it } from "vitest";
import { partitionCount } from "../../contract/canonical.ts";
import type { Dependency, Entity } from "../../contract/entity.ts";
import type { GraphDelta, GraphStore } from "../../contract/port.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { aDependency, anEntity } from "./sample-messages.ts";

function delta(options: { partition?: number; throughMs?: number; entities?: Entity[]; dependencies?: Dependency[] }): GraphDelta {
  const { partition = 0, throughMs = 0, entities = [], dependencies = [] } = options;
  return { partition, completeThroughMs: throughMs, entities, dependencies };
}

export function graphStoreConformance(name: string, newPlace: () => Promise<Place<GraphStore>>): void {
  describe(`GraphStore: ${name}`, () => {
    let place: Place<GraphStore>;
    let graph: GraphStore;
    inFreshPlaces(newPlace, (fresh, opened) => {
      place = fresh;
      graph = opened;
    });

    async function dependencyIdsAt(atMs: number): Promise<string[]> {
      return (await graph.asOf(atMs)).dependencies.map(({ id }) => id);
    }

    it("is empty and complete through nothing at first", async () => {
      expect(await graph.asOf(1_000)).toEqual({ completeThroughMs: 0, entities: [], dependencies: [] });
    });

    it("is complete through the slowest partition, once all have reported", async () => {
      for (let partition = 0; partition < partitionCount; partition += 1) {
        expect((await graph.asOf(0)).completeThroughMs).toBe(0);
        await graph.apply(delta({ partition, throughMs: 500 + partition }));
      }
      expect((await graph.asOf(0)).completeThroughMs).toBe(500);
      await graph.apply(delta({ partition: 0, throughMs: 900 }));
      await graph.apply(delta({ partition: 1, throughMs: 100 }));
      expect((await graph.asOf(0)).completeThroughMs).toBe(501);
    });

    it("shows entities from when they were first seen, sorted by id by code unit", async () => {
      await graph.apply(
        delta({ entities: [anEntity("b", { seenMs: 100 }), anEntity("Z", { seenMs: 100 }), anEntity("a", { seenMs: 300 })] }),
      );
      expect((await graph.asOf(99)).entities).toEqual([]);
      expect((await graph.asOf(100)).entities.map(({ id }) => id)).toEqual(["Z", "b"]);
      expect((await graph.asOf(300)).entities.map(({ id }) => id)).toEqual(["Z", "a", "b"]);
    });

    it("merges what is seen of an entity: earliest first seen, latest last seen, newest attributes, entry once seen", async () => {
      await graph.apply(delta({ partition: 1, entities: [anEntity("a", { seenMs: 200, version: "2", host: "h1" })] }));
      await graph.apply(delta({ partition: 2, entities: [anEntity("a", { seenMs: 100, version: "1", zone: "z", entry: true })] }));
      await graph.apply(delta({ partition: 3, entities: [anEntity("a", { seenMs: 300 })] }));
      expect((await graph.asOf(300)).entities).toEqual([
        { ...anEntity("a", { seenMs: 100 }), lastSeenMs: 300, version: "2", host: "h1", zone: "z", entry: true },
      ]);
    });

    it("does not know in the past what was learned later", async () => {
      await graph.apply(delta({ entities: [anEntity("a", { seenMs: 100, version: "1" })] }));
      await graph.apply(delta({ entities: [anEntity("a", { seenMs: 500, version: "2", entry: true })] }));
      expect((await graph.asOf(200)).entities[0]).toMatchObject({ version: "1", entry: false, lastSeenMs: 200 });
      expect((await graph.asOf(500)).entities[0]).toMatchObject({ version: "2", entry: true, lastSeenMs: 500 });
    });

    it("shows a dependency from its first moment up to its end, the end excluded", async () => {
      await graph.apply(delta({ dependencies: [aDependency("a", "b", { validFromMs: 100, lastSeenMs: 150 })] }));
      await graph.apply(delta({ dependencies: [aDependency("a", "b", { validFromMs: 100, lastSeenMs: 150, validToMs: 200 })] }));
      expect(await dependencyIdsAt(99)).toEqual([]);
      expect(await dependencyIdsAt(100)).toEqual(["a>b"]);
      expect(await dependencyIdsAt(199)).toEqual(["a>b"]);
      expect(await dependencyIdsAt(200)).toEqual([]);
      expect((await graph.asOf(120)).dependencies[0]).toMatchObject({ validFromMs: 100, validToMs: null, lastSeenMs: 120 });
    });

    it("knows a dependency that came back as a new interval", async () => {
      await graph.apply(delta({ dependencies: [aDependency("a", "b", { validFromMs: 100, lastSeenMs: 150, validToMs: 200 })] }));
      await graph.apply(delta({ dependencies: [aDependency("a", "b", { validFromMs: 300, lastSeenMs: 350 })] }));
      expect(await dependencyIdsAt(150)).toEqual(["a>b"]);
      expect(await dependencyIdsAt(250)).toEqual([]);
      expect((await graph.asOf(400)).dependencies[0]).toMatchObject({ validFromMs: 300 });
    });

    it("joins what several partitions saw of one dependency into one", async () => {
      const seen = (partition: number, from: number, to: number | null, address: string) =>
        graph.apply(
          delta({
            partition,
            dependencies: [aDependency("a", "b", { validFromMs: from, validToMs: to, lastSeenMs: (to ?? 400) - 10, addresses: [address] })],
          }),
        );
      await seen(5, 120, null, "b:2");
      await seen(4, 100, 200, "b:1");
      expect((await graph.asOf(110)).dependencies).toMatchObject([{ validFromMs: 100, addresses: ["b:1"] }]);
      expect((await graph.asOf(300)).dependencies).toMatchObject([
        { id: "a>b", validFromMs: 100, validToMs: null, addresses: ["b:1", "b:2"] },
      ]);
    });

    it("answers what each partition began and has not ended, joined with nothing", async () => {
      expect(await graph.unended()).toEqual([]);
      const older = aDependency("a", "b", { validFromMs: 100, lastSeenMs: 150 });
      const newer = aDependency("a", "b", { validFromMs: 120, lastSeenMs: 160 });
      const ended = aDependency("a", "b", { validFromMs: 110, lastSeenMs: 170, validToMs: 170 });
      const other = aDependency("A", "b", { validFromMs: 300 });
      await graph.apply(delta({ partition: 7, dependencies: [newer, older] }));
      await graph.apply(delta({ partition: 5, dependencies: [ended, other] }));
      expect(await graph.unended()).toEqual([
        { partition: 5, dependency: other },
        { partition: 7, dependency: older },
        { partition: 7, dependency: newer },
      ]);
      await graph.apply(delta({ partition: 7, dependencies: [{ ...older, lastSeenMs: 180, validToMs: 180 }] }));
      expect((await graph.unended()).map(({ dependency }) => dependency)).toEqual([other, newer]);
    });

    it("answers what came and what went between two moments", async () => {
      await graph.apply(
        delta({
          entities: [anEntity("a", { seenMs: 1 }), anEntity("b", { seenMs: 1 }), anEntity("c", { seenMs: 300 })],
          dependencies: [
            aDependency("a", "b", { validFromMs: 1, lastSeenMs: 180, validToMs: 200 }),
            aDependency("a", "c", { validFromMs: 300 }),
            aDependency("b", "a", { validFromMs: 1, lastSeenMs: 900 }),
          ],
        }),
      );
      const diff = await graph.diff(100, 400);
      expect(diff.entitiesAdded.map(({ id }) => id)).toEqual(["c"]);
      expect(diff.entitiesRemoved).toEqual([]);
      expect(diff.dependenciesAdded.map(({ id }) => id)).toEqual(["a>c"]);
      expect(diff.dependenciesRemoved).toMatchObject([{ id: "a>b", validFromMs: 1, validToMs: 200 }]);
      expect((await graph.diff(400, 400)).dependenciesAdded).toEqual([]);
    });

    /** `a>b c>d` at 100, all valid since 1 and seen. */
    async function learnCalls(text: string, more: { entities?: Entity[]; dependencies?: Dependency[] } = {}): Promise<void> {
      const calls = text.split(" ").map((call) => call.split(">") as [string, string]);
      const ids = [...new Set(calls.flat())];
      await graph.apply(
        delta({
          entities: [...ids.map((id) => anEntity(id, { seenMs: 1 })), ...(more.entities ?? [])],
          dependencies: [...calls.map(([source, target]) => aDependency(source, target, { validFromMs: 1 })), ...(more.dependencies ?? [])],
        }),
      );
    }

    it("answers what lies around some entities, whichever way calls go", async () => {
      await learnCalls("web>shop shop>pay shop>cart pay>db far>away", { entities: [anEntity("alone", { seenMs: 1 })] });
      const part = await graph.neighbourhood({ atMs: 100, ids: ["pay", "nobody"], entitiesMax: 10 });
      expect(part.entities.map(({ id }) => id)).toEqual(["cart", "db", "pay", "shop", "web"]);
      expect(part.dependencies.map(({ id }) => id)).toEqual(["pay>db", "shop>cart", "shop>pay", "web>shop"]);
      expect(part.left).toBe(0);
      const view = await graph.asOf(100);
      expect(part.entities).toEqual(view.entities.filter(({ id }) => part.entities.some((inside) => inside.id === id)));
      expect(part.dependencies).toEqual(view.dependencies.filter(({ id }) => id !== "far>away"));
      expect((await graph.neighbourhood({ atMs: 100, ids: ["alone", "away"], entitiesMax: 10 })).entities.map(({ id }) => id)).toEqual([
        "alone",
        "away",
        "far",
      ]);
    });

    it("cuts what lies around by hops, then by id, and counts what did not fit", async () => {
      await learnCalls("b>m m>a m>c m>Z a>x x>y", { dependencies: [aDependency("c", "ghost", { validFromMs: 1 })] });
      const part = await graph.neighbourhood({ atMs: 100, ids: ["m"], entitiesMax: 4 });
      expect(part.entities.map(({ id }) => id)).toEqual(["Z", "a", "b", "m"]);
      expect(part.dependencies.map(({ id }) => id)).toEqual(["b>m", "m>Z", "m>a"]);
      expect(part.left).toBe(3);
      expect(await graph.neighbourhood({ atMs: 100, ids: [], entitiesMax: 4 })).toEqual({
        completeThroughMs: 0,
        entities: [],
        dependencies: [],
        left: 0,
      });
    });

    it("looks around along dependencies that were valid then, at entities that were known then", async () => {
      await learnCalls("a>b", {
        entities: [anEntity("late", { seenMs: 300 })],
        dependencies: [
          aDependency("b", "old", { validFromMs: 1, lastSeenMs: 50, validToMs: 60 }),
          aDependency("old", "older", { validFromMs: 1 }),
          aDependency("b", "late", { validFromMs: 300 }),
        ],
      });
      await graph.apply(delta({ entities: [anEntity("old", { seenMs: 1 }), anEntity("older", { seenMs: 1 })] }));
      const idsAt = async (atMs: number) => (await graph.neighbourhood({ atMs, ids: ["a"], entitiesMax: 10 })).entities.map(({ id }) => id);
      expect(await idsAt(59)).toEqual(["a", "b", "old", "older"]);
      expect(await idsAt(60)).toEqual(["a", "b"]);
      expect(await idsAt(300)).toEqual(["a", "b", "late"]);
      expect(await idsAt(0)).toEqual([]);
    });

    it("finds the ways along calls, shortest first, then by ids, none visiting an entity twice", async () => {
      await learnCalls("a>b b>d a>c c>d a>Z Z>d a>d d>a b>c c>b d>e");
      const paths = (to: string, hopsMax: number, pathsMax = 100) => graph.paths({ atMs: 100, from: "a", to, hopsMax, pathsMax });
      const all = [
        ["a", "d"],
        ["a", "Z", "d"],
        ["a", "b", "d"],
        ["a", "c", "d"],
        ["a", "b", "c", "d"],
        ["a", "c", "b", "d"],
      ];
      expect(await paths("d", 8)).toEqual(all);
      expect(await paths("d", 2)).toEqual(all.slice(0, 4));
      expect(await paths("d", 8, 3)).toEqual(all.slice(0, 3));
      expect(await paths("e", 2)).toEqual([["a", "d", "e"]]);
      expect(await graph.paths({ atMs: 100, from: "e", to: "a", hopsMax: 8, pathsMax: 9 })).toEqual([]);
      expect(await paths("nobody", 8)).toEqual([]);
      expect(await graph.paths({ atMs: 0, from: "a", to: "d", hopsMax: 8, pathsMax: 9 })).toEqual([]);
    });

    it("answers an entity alone as the way to itself, while it is known", async () => {
      await learnCalls("a>b b>a");
      expect(await graph.paths({ atMs: 100, from: "a", to: "a", hopsMax: 8, pathsMax: 9 })).toEqual([["a"]]);
      expect(await graph.paths({ atMs: 0, from: "a", to: "a", hopsMax: 8, pathsMax: 9 })).toEqual([]);
      expect(await graph.paths({ atMs: 100, from: "x", to: "x", hopsMax: 8, pathsMax: 9 })).toEqual([]);
    });

    it("answers 1,000 ways at most", async () => {
      const layers = Array.from({ length: 9 }, (_, layer) =>
        layer === 0 || layer === 8 ? [`l${layer}`] : Array.from({ length: 9 }, (_, n) => `l${layer}-${n}`),
      );
      const dense = layers.slice(1).flatMap((layer, index) => layer.flatMap((to) => layers[index]!.map((from) => `${from}>${to}`)));
      await learnCalls(dense.join(" "));
      const paths = await graph.paths({ atMs: 100, from: "l0", to: "l8", hopsMax: 8, pathsMax: 2_000 });
      expect(paths).toHaveLength(1_000);
      expect(paths[0]).toEqual(["l0", ...Array.from({ length: 7 }, (_, layer) => `l${layer + 1}-0`), "l8"]);
    });

    it("gives the same views in whatever order deltas come, and however often", async () => {
      const deltas = [
        delta({ partition: 0, throughMs: 10, entities: [anEntity("a", { seenMs: 10, version: "1" })] }),
        delta({
          partition: 1,
          throughMs: 20,
          entities: [anEntity("a", { seenMs: 20, version: "2", host: "h" }), anEntity("b", { seenMs: 5 })],
        }),
        delta({ partition: 1, throughMs: 30, entities: [anEntity("a", { seenMs: 20, version: "3" })] }),
        delta({ partition: 2, dependencies: [aDependency("a", "b", { validFromMs: 10, lastSeenMs: 15 })] }),
        delta({ partition: 2, dependencies: [aDependency("a", "b", { validFromMs: 10, lastSeenMs: 15, validToMs: 25 })] }),
        delta({
          partition: 3,
          dependencies: [aDependency("a", "b", { validFromMs: 12, lastSeenMs: 22, confidence: 0.5, addresses: ["x:1"] })],
        }),
      ];
      const views: string[] = [];
      for (const order of [
        [0, 1, 2, 3, 4, 5],
        [5, 4, 3, 2, 1, 0],
        [2, 4, 0, 2, 5, 3, 1, 4, 3],
      ]) {
        const other = await newPlace();
        const store = await other.open();
        for (const index of order) await store.apply(deltas[index] as GraphDelta);
        views.push(JSON.stringify([await store.asOf(11), await store.asOf(20), await store.asOf(100), await store.diff(11, 100)]));
        await store.close();
        await other.remove();
      }
      expect(views[1]).toBe(views[0]);
      expect(views[2]).toBe(views[0]);
    });

    it("finds precedents by shared tokens, best first, ties by incident", async () => {
      const remember = (incident: string, ...signature: string[]) =>
        graph.remember({ incident, closedMs: 1, cause: { type: "entity", id: "pay", kind: "code-slow" }, signature });
      await remember("i-3", "a", "b");
      await remember("i-1", "a", "b", "c");
      await remember("i-2", "a", "b");
      await remember("i-4", "x");
      const found = await graph.similar(["a", "b"], { countMax: 10 });
      expect(found.map(({ precedent, similarity }) => [precedent.incident, similarity])).toEqual([
        ["i-2", 1],
        ["i-3", 1],
        ["i-1", 0.666666667],
      ]);
      expect(await graph.similar(["a", "b"], { countMax: 1 })).toHaveLength(1);
      expect(await graph.similar([], { countMax: 10 })).toEqual([]);
      await remember("i-3", "x", "y");
      expect((await graph.similar(["y"], { countMax: 10 })).map(({ precedent }) => precedent.incident)).toEqual(["i-3"]);
    });

    it("is the same after it was opened again", async () => {
      await graph.apply(delta({ partition: 3, throughMs: 7, entities: [anEntity("a", { seenMs: 1, version: "1" })] }));
      await graph.apply(
        delta({ entities: [anEntity("a", { seenMs: 9, version: "2" })], dependencies: [aDependency("a", "b", { validFromMs: 2 })] }),
      );
      await graph.remember({ incident: "i", closedMs: 1, cause: { type: "entity", id: "a", kind: null }, signature: ["t"] });
      const before = JSON.stringify([await graph.asOf(5), await graph.asOf(10), await graph.similar(["t"], { countMax: 1 })]);
      await graph.close();
      graph = await place.open();
      expect(JSON.stringify([await graph.asOf(5), await graph.asOf(10), await graph.similar(["t"], { countMax: 1 })])).toBe(before);
    });

    it("refuses to learn when it is closing", async () => {
      await graph.close();
      await expect(graph.apply(delta({}))).rejects.toMatchObject({ code: "STOPPING" });
    });
  });
}

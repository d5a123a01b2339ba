import { expect, test } from "vitest";
import { rankTruth } from "../../../graph/case/score.ts";
import { alertEcho } from "../../../graph/peer/alert-echo.ts";
import { graphTraversal } from "../../../graph/peer/graph-traversal.ts";
import { highestZ } from "../../../graph/peer/highest-z.ts";
import { latestChange } from "../../../graph/peer/latest-change.ts";
import { drawShopCase } from "../shop-snapshot.ts";

test("latest change names the newest change and what it changed, and ignores later ones", () => {
  const { snapshot } = drawShopCase("slow-code", 3);
  const change = (id: string, atMs: number) =>
    ({ id, atMs, entity: `${id}-service`, kind: "deploy", summary: id, actor: null, undo: null }) as const;
  const changes = [change("old", 1), change("new", 2), change("future", snapshot.fault.toMs + 1)];
  const ranking = latestChange({ ...snapshot, changes });
  expect(ranking.slice(0, 2)).toMatchObject([
    { type: "change", id: "new" },
    { type: "entity", id: "new-service" },
  ]);
  expect(ranking.some((candidate) => candidate.id === "future")).toBe(false);
});

test("highest Z names the entity with the wildest series", () => {
  const { snapshot } = drawShopCase("slow-code", 4);
  const ranking = highestZ(snapshot);
  expect(ranking.length).toBe(snapshot.entities.length);
  expect(ranking[0]?.score).toBeGreaterThan(10);
});

test("graph traversal finds a failing service below its failing callers", () => {
  const hits = [1, 2, 3, 4, 5].map((seed) => {
    const { snapshot, truth } = drawShopCase("exception-deploy", seed);
    return rankTruth(graphTraversal(snapshot), truth, (id) => id).hit;
  });
  expect(hits.filter((hit) => hit === 1).length).toBeGreaterThanOrEqual(4);
});

test("echo of the alert blames whoever raised it", () => {
  const { snapshot } = drawShopCase("crash", 6);
  expect(snapshot.symptoms.map((symptom) => symptom.entity)).toContain(alertEcho(snapshot)[0]?.id);
});

import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { loadPetshop } from "../../bench/loader/petshop.ts";
import type { EvidenceSnapshot } from "../../contract/evidence.ts";
import { RankResult } from "../../contract/verdict.ts";
import { foldOf, rankTruth, type TruthItem } from "../../graph/case/score.ts";
import { rankCauses } from "../../graph/rank-causes.ts";
import { renamed } from "./rename-snapshot.ts";
import { ShopRandom } from "./shop-random.ts";
import type { FaultName } from "./shop-simulator.ts";
import { drawShopCase, type ShopDraw } from "./shop-snapshot.ts";
import { seenThrough, type View } from "./shop-view.ts";

const faults: readonly FaultName[] = ["slow-code", "exception-deploy", "pool-leak", "crash", "slow-dependency", "bad-flag"];
const drawsPerFault = 60;

const draws = new Map<FaultName, ShopDraw[]>();
function drawsOf(fault: FaultName): ShopDraw[] {
  const known = draws.get(fault) ?? Array.from({ length: drawsPerFault }, (_, index) => drawShopCase(fault, 1_000 + index));
  draws.set(fault, known);
  return known;
}

const results = new Map<EvidenceSnapshot, RankResult>();
/** Ranked once, however many tests look at it. */
function ranked(snapshot: EvidenceSnapshot): RankResult {
  const result = results.get(snapshot) ?? rankCauses(snapshot);
  results.set(snapshot, result);
  return result;
}

/** Rank of the truth with ties counted against it. */
function rankOf(snapshot: EvidenceSnapshot, truth: readonly TruthItem[]): number {
  return rankTruth(ranked(snapshot).ranking, truth, foldOf(snapshot)).rankPessimistic;
}

function firstShare(cases: readonly ShopDraw[], view: View): number {
  return cases.filter(({ snapshot, truth }) => rankOf(seenThrough(snapshot, view), truth) === 1).length / cases.length;
}

describe.each(faults)("a simulated shop with %s", (fault) => {
  test("has its truth first in at least nine of ten draws", () => {
    expect(firstShare(drawsOf(fault), "full")).toBeGreaterThanOrEqual(0.9);
  });

  test.each(["no-own-time", "sampled", "late", "no-gauges"] as const)("has it first in nine of ten when seen %s", (view) => {
    expect(firstShare(drawsOf(fault).slice(0, 12), view)).toBeGreaterThanOrEqual(0.9);
  });

  test("keeps its rank when everything is renamed and shuffled", () => {
    const random = new ShopRandom(77);
    for (const { snapshot, truth } of drawsOf(fault).slice(0, 4)) {
      const other = renamed(snapshot, truth, random);
      const before = ranked(snapshot).ranking.map((candidate) => candidate.score);
      const after = ranked(other.snapshot).ranking.map((candidate) => candidate.score);
      expect(after).toEqual(before);
      expect(rankOf(other.snapshot, other.truth)).toBe(rankOf(snapshot, truth));
    }
  });

  test("is ranked to the same bytes twice, within the contract", () => {
    const { snapshot } = drawsOf(fault)[0] as ShopDraw;
    const result = rankCauses(snapshot);
    expect(JSON.stringify(rankCauses(structuredClone(snapshot)))).toBe(JSON.stringify(result));
    expect(RankResult.parse(result)).toEqual(result);
    expect(result.confidence).toBeNull();
  });
});

describe("changes", () => {
  test("that did it stand among the first three", () => {
    for (const { snapshot } of drawsOf("exception-deploy").slice(0, 20)) {
      const { ranking } = ranked(snapshot);
      expect(ranking.slice(0, 3).map((candidate) => candidate.id)).toContain("change-real");
    }
  });

  test("that did nothing stay far behind the entity that broke", () => {
    const near = faults
      .filter((fault) => fault !== "exception-deploy" && fault !== "bad-flag")
      .flatMap((fault) => drawsOf(fault))
      .filter(({ snapshot }) => {
        const { ranking } = ranked(snapshot);
        const best = ranking[0]?.score ?? 0;
        return ranking.some((candidate) => candidate.type === "change" && candidate.score > best * 0.5);
      });
    expect(near.length).toBeLessThanOrEqual(4);
  });

  test("that came after the onset explain nothing", () => {
    const { snapshot } = drawsOf("slow-code")[0] as ShopDraw;
    const [first] = rankCauses(snapshot).ranking;
    const late = {
      id: "late",
      atMs: snapshot.fault.toMs,
      entity: first?.id ?? "",
      kind: "deploy",
      summary: "later",
      actor: null,
      undo: null,
    } as const;
    const { ranking } = rankCauses({ ...snapshot, changes: [late] });
    expect(ranking.find((candidate) => candidate.id === "late")?.score).toBe(0);
  });
});

describe("what is said", () => {
  test("names the cause, the numbers, the change and who is hurt", () => {
    const { snapshot, truth } = drawsOf("bad-flag")[0] as ShopDraw;
    const result = rankCauses(snapshot);
    expect(result.sentence).toContain(truth[0]?.id ?? "");
    expect(result.sentence).toContain("the change that broke it");
    expect(result.sentence).toMatch(/\d/);
    expect(result.sentence).toContain("hurt");
  });

  test("rests on evidence that is in the snapshot", () => {
    const { snapshot } = drawsOf("pool-leak")[0] as ShopDraw;
    const known = new Set([
      ...[...snapshot.series, ...snapshot.operations, ...snapshot.templates].map((item) => item.id),
      ...snapshot.changes.map((change) => `change:${change.id}`),
    ]);
    const claims = rankCauses(snapshot).ranking.flatMap((candidate) => candidate.claims);
    expect(claims.length).toBeGreaterThan(3);
    for (const claim of claims) for (const id of claim.evidence) expect(known).toContain(id);
  });

  test("guesses the kind of most faults", () => {
    const expected = {
      "slow-code": "code-slow",
      "exception-deploy": "code-error",
      "pool-leak": "datastore",
      crash: "crash",
      "bad-flag": "config",
    } as const;
    for (const [fault, kind] of Object.entries(expected)) {
      const kinds = drawsOf(fault as FaultName).map(
        ({ snapshot, truth }) => ranked(snapshot).ranking.find((one) => one.id === truth[0]?.id)?.kind,
      );
      expect(kinds.filter((one) => one === kind).length / kinds.length).toBeGreaterThan(0.8);
    }
  });

  test("calls victims impact or critical failure, not cause", () => {
    const { snapshot, truth } = drawsOf("exception-deploy")[1] as ShopDraw;
    const { ranking } = ranked(snapshot);
    const symptom = ranking.find((candidate) => candidate.id === snapshot.symptoms[0]?.entity);
    expect(ranking.find((candidate) => candidate.id === truth[0]?.id)?.role).toBe("cause");
    expect(["critical-failure", "impact"]).toContain(symptom?.role);
  });
});

const data = process.env.HEADWATER_DATA ?? "../shared/data";
const petshop = `${data}/petshop`;
const there = existsSync(petshop);
if (!there) console.warn(`skipped: PetShop is not at ${petshop}; set HEADWATER_DATA`);

describe.skipIf(!there)("PetShop", () => {
  test("keeps every rank when nodes are renamed and columns permuted", async () => {
    const random = new ShopRandom(5);
    let count = 0;
    for await (const one of loadPetshop({ directory: petshop, split: "all" })) {
      count += 1;
      const other = renamed(one.snapshot, one.truth, random);
      expect(rankOf(other.snapshot, other.truth)).toBe(rankOf(one.snapshot, one.truth));
    }
    expect(count).toBeGreaterThan(0);
  });
});

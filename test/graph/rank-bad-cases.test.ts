import { describe, expect, test } from "vitest";
import type { EvidenceSnapshot, SnapshotEntity, SnapshotSeries } from "../../contract/evidence.ts";
import { RankResult } from "../../contract/verdict.ts";
import { rankCauses } from "../../graph/rank-causes.ts";
import { ShopRandom } from "./shop-random.ts";

const empty: EvidenceSnapshot = {
  schemaVersion: 1,
  windowMs: 1_000,
  normal: { fromMs: 0, toMs: 100_000 },
  fault: { fromMs: 100_000, toMs: 115_000 },
  symptoms: [],
  entities: [],
  dependencies: [],
  series: [],
  operations: [],
  templates: [],
  invocations: [],
  events: [],
  changes: [],
  blindSpots: [],
};

function service(id: string, alias: string | null = null): SnapshotEntity {
  return { id, type: "service", alias, host: null, zone: null, entry: false };
}

function call(source: string, target: string): EvidenceSnapshot["dependencies"][number] {
  return { id: `${source}>${target}`, source, target, protocol: "http", validFromMs: null, validToMs: null, confidence: 1 };
}

/** A series that steps from one value to another at 100 s. */
function step(entity: string, values: { before: number; after: number; noise?: number }): SnapshotSeries {
  const random = new ShopRandom(entity.length + values.after);
  const atMs = Array.from({ length: 115 }, (_, index) => index * 1_000);
  return {
    id: `series:${entity}`,
    entity,
    metric: "process.cpu.utilization",
    statistic: "value",
    attributes: "",
    kind: "cpu",
    scope: "internal",
    unit: "1",
    atMs,
    values: atMs.map((at) => (at < 100_000 ? values.before : values.after) + (values.noise ?? 0) * random.normal()),
  };
}

describe("an unusual snapshot still gets a verdict", () => {
  test("that is inconclusive when there is nothing in it", () => {
    const result = rankCauses(empty);
    expect(result.conclusion).toBe("inconclusive");
    expect(result.ranking).toEqual([]);
    expect(RankResult.parse(result)).toEqual(result);
  });

  test("that is inconclusive and still lists everybody when all is constant", () => {
    const result = rankCauses({
      ...empty,
      entities: [service("a"), service("b")],
      series: [step("a", { before: 1, after: 1 }), step("b", { before: 0, after: 0 })],
    });
    expect(result.conclusion).toBe("inconclusive");
    expect(result.ranking.map((candidate) => candidate.id)).toEqual(["a", "b"]);
  });

  test("without a topology", () => {
    const series = [step("a", { before: 0.1, after: 0.9, noise: 0.01 }), step("b", { before: 0.1, after: 0.1, noise: 0.01 })];
    const result = rankCauses({ ...empty, series });
    expect(result.conclusion).toBe("cause");
    expect(result.ranking[0]).toMatchObject({ type: "entity", id: "a", kind: "cpu", role: "cause" });
  });

  test("with one service only", () => {
    expect(
      rankCauses({ ...empty, entities: [service("a")], series: [step("a", { before: 0.1, after: 0.9, noise: 0.01 })] }).ranking[0]?.id,
    ).toBe("a");
  });

  test("with calls in a circle, to itself and to nobody", () => {
    const dependencies = [call("a", "b"), call("b", "c"), call("c", "a"), call("a", "a"), call("c", "ghost")];
    const series = [step("b", { before: 0.1, after: 0.9, noise: 0.01 })];
    const result = rankCauses({ ...empty, dependencies, series, symptoms: [{ entity: "a", metric: "latency", atMs: 101_000 }] });
    expect(result.ranking[0]?.id).toBe("b");
    expect(result.ranking.map((candidate) => candidate.id)).toContain("ghost");
  });

  test("with aliases in a ring and evidence of a stand-in", () => {
    const entities = [service("a", "b"), service("b", "a"), service("real"), service("proxy", "real"), service("proxy-of-proxy", "proxy")];
    const result = rankCauses({ ...empty, entities, series: [step("proxy-of-proxy", { before: 0.1, after: 0.9, noise: 0.01 })] });
    expect(result.ranking[0]?.id).toBe("real");
    expect(result.ranking.map((candidate) => candidate.id)).not.toContain("proxy");
  });

  test("from lines alone", () => {
    const line = {
      id: "template:a|1",
      entity: "a",
      text: "boom",
      severity: "ERROR",
      normalCount: 0,
      abnormalCount: 40,
      firstSeenMs: 100_500,
    } as const;
    const result = rankCauses({ ...empty, entities: [service("a"), service("b")], templates: [line] });
    expect(result.ranking[0]).toMatchObject({ id: "a", onsetMs: 100_500 });
    expect(result.sentence).toContain("boom");
  });

  test("from events alone, where the one who was called counts before the caller", () => {
    const event = { id: "event:1", entity: "a", modality: "trace", name: "GET /x", direction: "ERROR", target: "b" } as const;
    expect(rankCauses({ ...empty, events: [event] }).ranking[0]?.id).toBe("b");
  });

  test("when entities are in no topology", () => {
    const result = rankCauses({
      ...empty,
      entities: [service("island"), service("a"), service("b")],
      dependencies: [call("a", "b")],
      symptoms: [{ entity: "a", metric: "latency", atMs: 101_000 }],
      series: [step("b", { before: 0.1, after: 0.9, noise: 0.01 }), step("island", { before: 0.1, after: 0.9, noise: 0.01 })],
    });
    expect(result.ranking[0]?.id).toBe("b");
    expect(result.ranking.find((candidate) => candidate.id === "island")?.claims.map((claim) => claim.text)).toContain(
      "no symptom is known to depend on it",
    );
  });

  test("with NaN and infinities among the values, and intervals of no length", () => {
    const broken = step("a", { before: 0.1, after: 0.9, noise: 0.01 });
    broken.values[3] = Number.NaN;
    broken.values[110] = Number.POSITIVE_INFINITY;
    expect(rankCauses({ ...empty, series: [broken] }).ranking[0]?.id).toBe("a");
    const instant = { ...empty, normal: { fromMs: 0, toMs: 0 }, fault: { fromMs: 0, toMs: 0 }, series: [broken] };
    expect(RankResult.safeParse(rankCauses(instant)).success).toBe(true);
  });
});

describe("a host", () => {
  const host = (id: string): SnapshotEntity => ({ ...service(id), type: "host" });
  const placed = (id: string, on: string): SnapshotEntity => ({ ...service(id), host: on });
  const entities = [host("h1"), host("h2"), placed("a", "h1"), placed("b", "h1"), placed("c", "h2"), placed("d", "h2")];

  test("is the cause when all that runs on it deviates and nothing else does", () => {
    const series = ["a", "b"].map((id) => step(id, { before: 0.1, after: 0.9, noise: 0.01 }));
    const still = ["c", "d"].map((id) => step(id, { before: 0.1, after: 0.1, noise: 0.01 }));
    expect(rankCauses({ ...empty, entities, series: [...series, ...still] }).ranking[0]).toMatchObject({
      id: "h1",
      kind: "noisy-neighbour",
    });
  });

  test("is not when one of its services alone deviates", () => {
    const series = ["a", "b", "c", "d"].map((id) => step(id, { before: 0.1, after: id === "a" ? 0.9 : 0.1, noise: 0.01 }));
    expect(rankCauses({ ...empty, entities, series }).ranking[0]?.id).toBe("a");
  });
});

test("a thousand services, ten thousand dependencies and three hundred anomalous series are ranked in about a second", () => {
  const random = new ShopRandom(9);
  const ids = Array.from({ length: 1_000 }, (_, index) => `s${index}`);
  const pairs = new Set<string>();
  while (pairs.size < 10_000) pairs.add(JSON.stringify([random.pick(ids), random.pick(ids)]));
  const dependencies = [...pairs].map((pair) => JSON.parse(pair) as [string, string]).map(([source, target]) => call(source, target));
  const series = ids.map((id, index) => step(id, { before: 0.1, after: index === 7 ? 5 : index < 300 ? 0.2 : 0.1, noise: 0.01 }));
  const snapshot = {
    ...empty,
    entities: ids.map((id) => service(id)),
    dependencies,
    series,
    symptoms: [{ entity: "s0", metric: "latency", atMs: 101_000 }],
  };
  rankCauses(snapshot);
  const startedMs = performance.now();
  const result = rankCauses(snapshot);
  const tookMs = performance.now() - startedMs;
  expect(result.ranking[0]?.id).toBe("s7");
  // Generous, because the machine may be busy: a quadratic step would take minutes.
  expect(tookMs).toBeLessThan(5_000);
  console.info(`ranked ${ids.length} services and ${dependencies.length} dependencies in ${Math.round(tookMs)} ms`);
});

import { afterEach, describe, expect, test } from "vitest";
import { createClient } from "../../../client/client.ts";
import type { GraphStore, PartitionLog, Presence, Queue } from "../../../contract/port.ts";
import { Overview } from "../../../contract/route.ts";
import type { StageName } from "../../../contract/topic.ts";
import type { IncidentIndex } from "../../../services/api/incident-index.ts";
import { createOverview, type OverviewOptions } from "../../../services/api/overview.ts";
import { flowRoles } from "../../../services/api/role-words.ts";
import { ManualClock, SystemClock } from "../../../services/platform.ts";
import { openMemoryPresence } from "../../../services/presence/memory-presence.ts";
import { aStatus } from "../../conformance/sample-process.ts";
import { type AwayPort, awayPort } from "./fixture/away.ts";
import { eventually, openShop, type Shop, type ShopOptions, type Stores } from "./fixture/shop.ts";
import { sceneOf, writeGraph, writeTelemetry } from "./fixture/telemetry.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Gates = { readonly [S in keyof Stores]: AwayPort<Stores[S]> };

async function openGated(options: ShopOptions = {}): Promise<{ shop: Shop; gates: Gates }> {
  const gates: Partial<{ -readonly [S in keyof Stores]: AwayPort<Stores[S]> }> = {};
  const shop = await openShop({
    ...options,
    wrap: (stores) => {
      gates.events = awayPort(stores.events, "STORE_UNAVAILABLE", "PostgreSQL at db:5432");
      gates.graph = awayPort(stores.graph, "GRAPH_UNAVAILABLE", "Neo4j at bolt://db:7687");
      gates.telemetry = awayPort(stores.telemetry, "STORE_UNAVAILABLE", "the store at http://s:4319");
      return { events: gates.events.port, graph: gates.graph.port, telemetry: gates.telemetry.port };
    },
  });
  cleanups.push(() => shop.close());
  return { shop, gates: gates as Gates };
}

async function overviewOf(shop: Shop): Promise<Overview> {
  const response = await fetch(`${shop.api.url()}/api/v1/overview`);
  expect(response.status).toBe(200);
  return Overview.parse(await response.json());
}

describe("while a store is away", () => {
  test.each(["graph", "telemetry", "events"] as const)(
    "%s: the overview answers what it knows, and says what is away and since when",
    async (store) => {
      const { shop, gates } = await openGated();
      const scene = sceneOf();
      await writeGraph(shop, scene);
      await writeTelemetry(shop, scene);
      const before = await eventually("all is shown", async () => {
        const overview = await overviewOf(shop);
        return overview.services.length === 5 && overview.seriesCount === 9 && overview;
      });
      expect(before.troubles).toEqual([]);
      const wentAwayMs = Date.now();
      gates[store].become("refused");
      const during = await eventually("it is told", async () => {
        const overview = await overviewOf(shop);
        return overview.troubles.length > 0 && overview;
      });
      expect(during.troubles.map(({ id, weight }) => [id, weight])).toEqual([[`store/${store}`, "stopped"]]);
      expect(during.troubles[0]?.details[0]).toMatch(/ at \S+ cannot be reached/);
      expect(during.troubles[0]?.sinceMs).toBeGreaterThanOrEqual(wentAwayMs - 1);
      // What was read before stays.
      expect(during.services.map(({ entity }) => entity.id)).toEqual(before.services.map(({ entity }) => entity.id));
      expect(during.seriesCount).toBe(9);
      expect(during.unread).toEqual([]);
      const ready = await fetch(`${shop.api.url()}/readyz`);
      expect(ready.status).toBe(503);
      const { reasons } = (await ready.json()) as { reasons: string[] };
      expect(reasons).toHaveLength(1);
      expect(reasons[0]).toMatch(
        /^the (graph|telemetry store|event store) has been away since 20\d\d-\d\d-\d\dT[\d:.]+Z: (GRAPH|STORE)_UNAVAILABLE$/,
      );
      await eventually("the stage says so too", () => shop.api.reasons().length === 1);
      gates[store].become("here");
      await eventually("it is over", async () => (await overviewOf(shop)).troubles.length === 0);
      expect((await fetch(`${shop.api.url()}/readyz`)).status).toBe(200);
      await eventually("the stage is well", () => shop.api.reasons().length === 0);
    },
  );

  test("all of them, from the beginning: it answers, and says that nothing is known rather than that there is nothing", async () => {
    const { shop, gates } = await openGated();
    for (const store of ["graph", "telemetry", "events"] as const) gates[store].become("refused");
    const overview = await eventually("all three are told", async () => {
      const read = await overviewOf(shop);
      return read.troubles.length === 3 && read;
    });
    expect(overview).toMatchObject({ services: [], unread: ["graph", "telemetry"] });
    expect(overview.troubles[1]?.meaning).toContain("cannot be shown yet");
    const services = await fetch(`${shop.api.url()}/api/v1/services`);
    expect(services.status).toBe(503);
    expect(((await services.json()) as { code: string }).code).toBe("GRAPH_UNAVAILABLE");
  });

  test("one that does not answer delays the overview by 2 s at most, once", async () => {
    const { shop, gates } = await openGated();
    await overviewOf(shop);
    gates.telemetry.become("silent");
    await new Promise((resolve) => setTimeout(resolve, 600));
    const beganMs = Date.now();
    await overviewOf(shop);
    expect(Date.now() - beganMs).toBeLessThan(3_500);
    const ready = await fetch(`${shop.api.url()}/readyz`);
    expect(((await ready.json()) as { reasons: string[] }).reasons).toEqual(["the telemetry store did not answer within 2000 ms"]);
    const overview = await eventually("it counts as away after 5 s", async () => {
      const read = await overviewOf(shop);
      return read.troubles.length > 0 && read;
    });
    expect(overview.troubles.map(({ id }) => id)).toEqual(["store/telemetry"]);
  }, 15_000);
});

test("a listener hears that processes or troubles changed, within seconds and only then", async () => {
  const clock = new SystemClock();
  const presence = await openMemoryPresence({ clock, onCounted: () => undefined });
  await presence.announce(aStatus("all", { roles: flowRoles }));
  const { shop, gates } = await openGated({ presence });
  const marks: string[] = [];
  cleanups.push(createClient({ baseUrl: shop.api.url() }).subscribe({ onInstallation: ({ mark }) => marks.push(mark) }));
  await eventually("the first mark", () => marks.length >= 1);
  const announcing = setInterval(() => void presence.announce(aStatus("all", { roles: flowRoles })), 200);
  cleanups.push(() => clearInterval(announcing));
  await new Promise((resolve) => setTimeout(resolve, 2_200));
  expect(new Set(marks).size).toBe(1);
  gates.graph.become("refused");
  await eventually("another mark", () => new Set(marks).size === 2);
});

/** The overview alone, on a clock of the test's own. */
async function onManualClock(more: Partial<OverviewOptions> = {}) {
  const clock = new ManualClock(1_000_000_000);
  const presence = await openMemoryPresence({ clock, onCounted: () => undefined });
  const gate = awayPort<Presence>(presence, "QUEUE_UNAVAILABLE", "Redis at r:6379");
  const graph: Pick<GraphStore, "asOf"> = { asOf: async () => ({ completeThroughMs: 0, entities: [], dependencies: [] }) };
  const read = createOverview({
    clock,
    presence: gate.port,
    graph: graph as GraphStore,
    telemetry: { summaries: async () => [] } as unknown as OverviewOptions["telemetry"],
    events: { read: async () => [] } as unknown as OverviewOptions["events"],
    incidents: { list: () => [] } as unknown as IncidentIndex,
    windowMs: 10_000,
    sourceSilentMs: 15_000,
    otlpUrl: () => "http://x",
    ...more,
  });
  const alive = new Map<string, readonly StageName[]>();
  const partitions = new Map<string, Record<string, number[]>>();
  /** Lets seconds pass, in which everybody alive announces and somebody looks. */
  async function pass(seconds: number): Promise<Overview> {
    for (let second = 0; second < seconds; second += 1) {
      clock.advanceTo(clock.nowMs() + 1_000);
      for (const [id, roles] of alive) {
        await gate.port
          .announce(aStatus(id, { roles, startedAtMs: 1_000_000_000, partitions: partitions.get(id) ?? {} }))
          .catch(() => undefined);
      }
      await read();
    }
    return read();
  }
  const idsOf = async (seconds: number): Promise<string[]> => (await pass(seconds)).troubles.map(({ id }) => id);
  return { clock, presence, gate, alive, partitions, pass, idsOf };
}

function eightRoles(alive: Map<string, readonly StageName[]>): void {
  for (const role of flowRoles) alive.set(role, [role]);
}

describe("processes on the first screen", () => {
  test("one process with every role is no trouble and one row", async () => {
    const { alive, pass } = await onManualClock();
    alive.set("all", flowRoles);
    const overview = await pass(30);
    expect(overview.troubles).toEqual([]);
    expect(overview.processes.map(({ state, roles }) => [state, roles.length])).toEqual([["ready", 8]]);
  });

  test("two killed and one paused are told within 8 s of their last word, and all is quiet again when they are back", async () => {
    const { alive, idsOf } = await onManualClock();
    eightRoles(alive);
    expect(await idsOf(20)).toEqual([]);
    for (const role of ["ingest", "ranking", "store"]) alive.delete(role);
    expect(await idsOf(5)).toEqual([]);
    expect(await idsOf(3)).toEqual(["unanswered/ingest", "unanswered/ranking", "unanswered/store"]);
    // One goes on, one is started anew, under another id.
    alive.set("ingest", ["ingest"]);
    alive.set("ranking-2", ["ranking"]);
    expect(await idsOf(2)).toEqual(["unanswered/store", "lost/ranking"]);
  });

  test("a role that nobody ever had is told after 15 s, one whose last process stopped in order after 6 s", async () => {
    const { alive, presence, pass, idsOf } = await onManualClock();
    eightRoles(alive);
    alive.delete("ranking");
    alive.delete("store");
    expect(await idsOf(14)).toEqual([]);
    // Telemetry need not be behind a role store.
    expect(await idsOf(3)).toEqual(["missing/ranking"]);
    alive.delete("topology");
    await presence.withdraw("topology");
    expect(await idsOf(6)).toEqual(["missing/ranking"]);
    const overview = await pass(3);
    expect(overview.troubles.map(({ id }) => id)).toEqual(["missing/topology", "missing/ranking"]);
    expect(overview.troubles[0]?.meaning).toContain("stopped in order");
  });

  test("one that was killed and is forgotten after an hour is still missed", async () => {
    const { alive, pass } = await onManualClock();
    eightRoles(alive);
    await pass(3);
    alive.delete("incident");
    await pass(3_590);
    const overview = await pass(30);
    expect(overview.processes).toHaveLength(7);
    expect(overview.troubles).toMatchObject([{ id: "missing/incident", meaning: expect.stringContaining("for more than an hour") }]);
  });

  test("where nobody announces anything, nobody is missed", async () => {
    const { idsOf } = await onManualClock();
    expect(await idsOf(60)).toEqual([]);
    const alone = await onManualClock({ presence: null });
    expect(await alone.idsOf(30)).toEqual([]);
  });

  test("while Redis is away that is the one trouble and nobody is judged; when it is back, everybody has time to speak", async () => {
    const { alive, gate, pass, idsOf } = await onManualClock();
    eightRoles(alive);
    await pass(5);
    gate.become("refused");
    const during = await pass(60);
    expect(during.troubles).toMatchObject([
      { id: "store/queue", details: ["Redis at r:6379 cannot be reached or failed: connect ECONNREFUSED"] },
    ]);
    expect(new Set(during.processes.map(({ state }) => state))).toEqual(new Set(["unknown"]));
    gate.become("here");
    alive.delete("detection");
    expect(await idsOf(1)).toEqual([]);
    expect(await idsOf(4)).toEqual([]);
    expect(await idsOf(4)).toEqual(["unanswered/detection"]);
  });

  test("partitions without an owner are told when that lasts longer than a takeover", async () => {
    const { alive, partitions, idsOf, pass } = await onManualClock();
    eightRoles(alive);
    alive.set("detection-2", ["detection"]);
    const evenOdd = (rest: number): number[] => Array.from({ length: 8 }, (_, index) => 2 * index + rest);
    expect(await idsOf(30)).toEqual([]);
    partitions.set("detection", { window: evenOdd(0) });
    partitions.set("detection-2", { window: evenOdd(1) });
    expect(await idsOf(30)).toEqual([]);
    partitions.set("detection-2", { window: [1, 3] });
    expect(await idsOf(8)).toEqual([]);
    const overview = await pass(5);
    expect(overview.troubles).toMatchObject([{ id: "unowned/window", details: ["partitions 5, 7, 9, 11, 13, 15"] }]);
    partitions.set("detection", { window: Array.from({ length: 16 }, (_, partition) => partition) });
    expect(await idsOf(2)).toEqual([]);
  });
});

describe("queue and log on the first screen", () => {
  const letter = {
    topic: "change",
    reader: "incident",
    atMs: 1,
    attempts: 5,
    code: "REQUEST_INVALID",
    message: "m",
    json: {},
    bodyBytes: 0,
  } as const;

  test("dead letters are counted by kind, and asked for every 5 s at most", async () => {
    let asked = 0;
    const queue: Pick<Queue, "deadLetters" | "depth"> = {
      deadLetters: async ({ lettersMax }) => {
        asked += 1;
        return Array.from({ length: Math.min(3, lettersMax) }, (_, n) => ({ ...letter, id: String(n) }));
      },
      depth: async () => 0,
    };
    const { pass } = await onManualClock({ queue });
    const overview = await pass(20);
    expect(overview.troubles).toMatchObject([
      { id: "dead-letters", sentence: "3 messages could not be handled.", details: ["change for incident: REQUEST_INVALID (3 times)"] },
    ]);
    expect(asked).toBeLessThanOrEqual(5);
  });

  test("a queue near its bound is told, whichever topic it is of", async () => {
    const queue: Pick<Queue, "deadLetters" | "depth"> = {
      deadLetters: async () => [],
      depth: async (topic) => (topic === "telemetry" ? 1_900 : 10),
    };
    const { idsOf } = await onManualClock({ queue });
    expect(await idsOf(3)).toEqual(["queue/telemetry/ingest"]);
  });

  test("a reader of the log is behind when more waits than 90 s of the fastest ingest, for each ingest process", async () => {
    let entries = 14_400;
    const log: Pick<PartitionLog, "lag"> = { lag: async (topic) => (topic === "window" ? entries : 0) };
    const { alive, idsOf } = await onManualClock({ log });
    eightRoles(alive);
    expect(await idsOf(8)).toEqual([]);
    entries = 14_401;
    expect(await idsOf(8)).toEqual(["behind/window"]);
    alive.set("ingest-2", ["ingest"]);
    expect(await idsOf(2)).toEqual([]);
  });
});

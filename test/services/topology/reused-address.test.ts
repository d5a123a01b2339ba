import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GraphStore } from "../../../contract/port.ts";
import { openNeo4jGraphStore } from "../../../graph/neo4j/neo4j-graph-store.ts";
import type { RunningServer } from "../../../lab/guarded-server.ts";
import { startNeo4j } from "../../../scripts/servers.ts";
import { SystemClock } from "../../../services/platform.ts";
import { freshNamespace, neo4jMissing } from "../../conformance/neo4j-server.ts";
import { client, openBench, server, startMs } from "./call-streams.ts";

const address = "10.0.0.9:80";
const idleMs = 30_000;

/** Both sides of calls, one a second, to whoever answers at the address. */
function calls(of: { from: string; to: string; fromSecond: number; toSecond: number }) {
  const seconds = Array.from({ length: of.toSecond - of.fromSecond + 1 }, (_, index) => of.fromSecond + index);
  return seconds.flatMap((second) => [
    server({ call: second, at: second * 1_000, entity: of.to }),
    client({ call: second, at: second * 1_000 + 5, entity: of.from, peer: address }),
  ]);
}

/** A service takes over another's address and port; the graph is looked at before, between and after. */
function tests(name: string, openGraph: () => Promise<GraphStore | undefined>): void {
  it(`makes no false dependency, ends what is over, and keeps both worlds apart (${name})`, { timeout: 60_000 }, async () => {
    const kept = await openGraph();
    const bench = await openBench(undefined, kept);
    const { graph } = bench;
    const stage = bench.createStage({ idleMs });
    await stage.start();
    try {
      await bench.tell(21_000, calls({ from: "shop", to: "pay", fromSecond: 1, toSecond: 20 }));
      await bench.tell(46_000, [
        ...calls({ from: "batch", to: "reports", fromSecond: 31, toSecond: 45 }),
        // Nobody answers these: only the address says whom they were for.
        client({ call: 900, at: 44_300, entity: "batch", peer: address }),
        client({ call: 901, at: 44_400, entity: "cron", peer: address }),
      ]);
      const last = client({ call: 902, at: 65_000, entity: "cron", peer: address });
      await bench.tell(70_000, [...calls({ from: "batch", to: "reports", fromSecond: 46, toSecond: 69 }), last]);
      await bench.tell(90_000);
      await stage.settle();
      const idsAt = async (at: number) => (await graph.asOf(startMs + at)).dependencies.map(({ id }) => id);

      expect(await idsAt(15_000)).toEqual(["shop>pay"]);
      expect(await idsAt(25_000)).toEqual([]);
      expect(await idsAt(60_000)).toEqual(["batch>reports", "cron>reports"]);

      const diff = await graph.diff(startMs + 15_000, startMs + 60_000);
      expect(diff.entitiesAdded.map(({ id }) => id)).toEqual(["batch", "cron", "reports"]);
      expect(diff.entitiesRemoved).toEqual([]);
      expect(diff.dependenciesAdded).toMatchObject([
        { id: "batch>reports", validFromMs: startMs + 31_005, validToMs: null, addresses: [address] },
        { id: "cron>reports", validFromMs: startMs + 44_400, addresses: [address] },
      ]);
      const ended = { validFromMs: startMs + 1_005, validToMs: startMs + 20_005, addresses: [address] };
      expect(diff.dependenciesRemoved).toMatchObject([{ id: "shop>pay", ...ended }]);

      const around = async (id: string, at: number) => {
        const part = await graph.neighbourhood({ atMs: startMs + at, ids: [id], entitiesMax: 10 });
        return part.entities.map((entity) => entity.id);
      };
      expect(await around("pay", 15_000)).toEqual(["pay", "shop"]);
      expect(await around("pay", 60_000)).toEqual(["pay"]);
      expect(await around("reports", 60_000)).toEqual(["batch", "cron", "reports"]);
      const paths = (from: string, to: string, at: number) => graph.paths({ atMs: startMs + at, from, to, hopsMax: 5, pathsMax: 5 });
      expect(await paths("shop", "pay", 15_000)).toEqual([["shop", "pay"]]);
      expect(await paths("shop", "pay", 60_000)).toEqual([]);
      expect(await paths("shop", "reports", 60_000)).toEqual([]);

      // Now nobody calls any more.
      await bench.tell(140_000);
      await stage.settle();
      expect(await idsAt(100_000)).toEqual([]);
      expect(await idsAt(60_000)).toEqual(["batch>reports", "cron>reports"]);
    } finally {
      await stage.stop();
      await bench.close();
    }
  });
}

describe("a service that takes over another's address and port", () => {
  tests("memory", async () => undefined);

  describe.skipIf(neo4jMissing !== null)("in Neo4j", () => {
    let neo4j: RunningServer;
    beforeAll(async () => {
      neo4j = await startNeo4j();
    }, 120_000);
    afterAll(async () => {
      await neo4j.stop();
    });
    tests("Neo4j", () =>
      openNeo4jGraphStore({ url: neo4j.url, namespace: freshNamespace(), clock: new SystemClock(), onCounted: () => undefined }),
    );
  });
});

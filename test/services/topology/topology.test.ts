import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Stage } from "../../../services/stage.ts";
import { type Bench, client, observation, openBench, server, startMs } from "./call-streams.ts";

let bench: Bench;
let stage: Stage;
beforeEach(async () => {
  bench = await openBench();
  stage = bench.createStage();
  await stage.start();
});
afterEach(async () => {
  await stage.stop();
  await bench.close();
});

/** Dependencies as of a moment, ms after the start. */
async function dependencies(at: number): Promise<string[]> {
  await stage.settle();
  return (await bench.graph.asOf(startMs + at)).dependencies.map(({ id }) => id);
}

async function entity(id: string, at: number) {
  await stage.settle();
  return (await bench.graph.asOf(startMs + at)).entities.find((found) => found.id === id);
}

/** A call of which both sides are seen. */
const call = (number: number, at: number, of: { from: string; to: string; peer: string }) => [
  server({ call: number, at, entity: of.to }),
  client({ call: number, at: at + 5, entity: of.from, peer: of.peer }),
];

describe("calls", () => {
  it("of which both sides are seen are dependencies from their second on, with protocol and address", async () => {
    await bench.tell(2_500, call(1, 1_200, { from: "web", to: "cart", peer: "10.0.0.2:80" }));
    await bench.tell(3_100);
    expect(await dependencies(1_000)).toEqual([]);
    const view = await bench.graph.asOf(startMs + 1_500);
    expect(view.dependencies).toMatchObject([
      { id: "web>cart", protocol: "http", validFromMs: startMs + 1_205, confidence: 1, addresses: ["10.0.0.2:80"], learnedFrom: "spans" },
    ]);
    expect(view.entities.map(({ id, type }) => [id, type])).toEqual([
      ["cart", "service"],
      ["web", "service"],
    ]);
    expect(view.completeThroughMs).toBe(startMs + 1_999);
  });

  it("are joined when their sides come in different order, from different flushes, within the waiting time", async () => {
    await bench.tell(2_000, [client({ call: 1, at: 1_900, entity: "web", peer: "10.0.0.2:80" })]);
    await bench.tell(5_000);
    expect(await dependencies(2_500)).toEqual([]);
    await bench.tell(6_000, [server({ call: 1, at: 5_500, entity: "cart" })]);
    await bench.tell(8_000);
    expect(await dependencies(6_000)).toEqual(["web>cart"]);
    expect(await bench.counted("headwater_topology_joined_total")).toBe(1);
    expect(await bench.counted("headwater_topology_unmatched_total")).toBe(0);
  });

  it("to datastores and brokers are dependencies at once, on nodes of their own, and consumers depend through the broker too", async () => {
    await bench.tell(2_000, [
      client({ call: 1, at: 1_100, entity: "cart", peer: "postgresql@10.0.0.9:5432", protocol: "postgresql" }),
      client({ call: 2, at: 1_100, entity: "cart", peer: "kafka@10.0.0.8:9092", protocol: "kafka" }),
      server({ call: 2, at: 1_300, entity: "mailer" }),
    ]);
    await bench.tell(3_100);
    expect(await dependencies(1_900)).toEqual(["cart>kafka@10.0.0.8:9092", "cart>mailer", "cart>postgresql@10.0.0.9:5432"]);
    expect((await entity("postgresql@10.0.0.9:5432", 1_900))?.type).toBe("datastore");
    expect((await entity("kafka@10.0.0.8:9092", 1_900))?.type).toBe("broker");
    expect((await bench.graph.asOf(startMs)).completeThroughMs).toBe(startMs + 1_999);
  });

  it("that name nobody and are answered by nobody are counted", async () => {
    await bench.tell(2_000, [client({ call: 1, at: 1_100, entity: "web", peer: null })]);
    await bench.tell(10_000);
    expect(await dependencies(9_000)).toEqual([]);
    expect(await bench.counted("headwater_topology_peerless_total")).toBe(1);
  });
});

describe("peers that do not answer", () => {
  it("keep their identity by their address after a crash, by what other partitions learned of it too", async () => {
    const learned = Array.from({ length: 20 }, (_, index) =>
      call(100 + index, 1_000 + index, { from: "web", to: "cart", peer: "10.0.0.2:80" }),
    ).flat();
    await bench.tell(2_000, learned);
    await bench.tell(3_000, [client({ call: 1, at: 2_500, entity: "mobile", peer: "10.0.0.2:80" })]);
    await bench.tell(12_000);
    expect(await dependencies(11_000)).toEqual(["mobile>cart", "web>cart"]);
    const [resolved] = (await bench.graph.asOf(startMs + 11_000)).dependencies;
    expect(resolved).toMatchObject({ validFromMs: startMs + 2_500, confidence: 0.9 });
  });

  it("stay nodes of their own when nobody was seen at their address", async () => {
    await bench.tell(2_000, [
      client({ call: 1, at: 1_100, entity: "web", peer: "api.pay.example:443" }),
      client({ call: 2, at: 1_200, entity: "web", peer: "10.0.0.77:443" }),
    ]);
    await bench.tell(6_900);
    expect(await dependencies(5_000)).toEqual([]);
    await bench.tell(8_200);
    expect(await dependencies(5_000)).toEqual(["web>10.0.0.77:443", "web>api.pay.example:443"]);
    expect((await entity("api.pay.example:443", 5_000))?.type).toBe("external");
  });

  it("hold the graph's completeness only while they may still turn out to be somebody", async () => {
    await bench.tell(2_000, call(1, 1_000, { from: "web", to: "cart", peer: "10.0.0.2:80" }));
    await bench.tell(4_000, [
      client({ call: 2, at: 2_500, entity: "web", peer: "10.0.0.2:80" }),
      client({ call: 3, at: 3_200, entity: "web", peer: "10.0.0.77:443" }),
    ]);
    await bench.tell(6_000);
    await stage.settle();
    expect((await bench.graph.asOf(startMs)).completeThroughMs).toBe(startMs + 3_199);
    await bench.tell(9_200, [client({ call: 4, at: 8_500, entity: "web", peer: "10.0.0.77:443" })]);
    await bench.tell(10_100);
    await stage.settle();
    expect((await bench.graph.asOf(startMs)).completeThroughMs).toBe(startMs + 8_999);
  });

  it("make no false dependency when their address has changed hands", async () => {
    await bench.tell(2_000, call(1, 1_000, { from: "web", to: "old", peer: "10.0.0.2:80" }));
    await bench.tell(32_000, call(2, 31_000, { from: "web", to: "new", peer: "10.0.0.2:80" }));
    await bench.tell(34_000, [client({ call: 3, at: 33_500, entity: "mobile", peer: "10.0.0.2:80" })]);
    await bench.tell(44_000);
    expect(await dependencies(42_000)).toEqual(["mobile>new", "web>new", "web>old"]);
  });

  it("stay nodes of their own when several entities answer at the address in turn", async () => {
    for (let turn = 0; turn < 12; turn += 1) {
      const at = 1_000 + turn * 2_000;
      await bench.tell(at + 500, call(turn, at, { from: "web", to: turn % 2 === 0 ? "blue" : "green", peer: "balancer:80" }));
    }
    await bench.tell(26_000, [client({ call: 99, at: 25_000, entity: "mobile", peer: "balancer:80" })]);
    await bench.tell(34_000);
    expect(await dependencies(33_000)).toEqual(["mobile>balancer:80", "web>blue", "web>green"]);
  });

  it("are no longer depended on as nodes once somebody is found at their address", async () => {
    await bench.tell(2_000, [client({ call: 1, at: 1_100, entity: "web", peer: "10.0.0.2:80" })]);
    await bench.tell(9_000);
    expect(await dependencies(8_000)).toEqual(["web>10.0.0.2:80"]);
    await bench.tell(11_000, call(2, 10_000, { from: "web", to: "cart", peer: "10.0.0.2:80" }));
    await bench.tell(13_000);
    expect(await dependencies(11_000)).toEqual(["web>cart"]);
  });
});

describe("validity", () => {
  const seen = (number: number, at: number) => call(number, at, { from: "web", to: "cart", peer: "10.0.0.2:80" });

  it("ends when a dependency was last seen once it has been idle, and begins anew when it is seen again", async () => {
    await bench.tell(6_000, [...seen(1, 1_000), ...seen(2, 5_000)]);
    await bench.tell(8_000);
    expect(await dependencies(7_000)).toEqual(["web>cart"]);
    await bench.tell(330_000);
    expect(await dependencies(7_000)).toEqual([]);
    expect(await dependencies(3_000)).toEqual(["web>cart"]);
    const { dependenciesRemoved } = await bench.graph.diff(startMs + 3_000, startMs + 320_000);
    expect(dependenciesRemoved).toMatchObject([{ id: "web>cart", validFromMs: startMs + 1_005 }]);
    await bench.tell(400_000, seen(3, 399_000));
    await bench.tell(402_000);
    expect(await dependencies(390_000)).toEqual([]);
    const [again] = (await bench.graph.asOf(startMs + 400_000)).dependencies;
    expect(again).toMatchObject({ id: "web>cart", validFromMs: startMs + 399_005 });
  });

  it("ends, and joins what is seen again, when the log and its checkpoints were lost and the graph was not", async () => {
    await bench.tell(6_000, [...seen(1, 1_000), ...call(2, 1_000, { from: "web", to: "old", peer: "10.0.0.3:80" })]);
    await bench.tell(8_000);
    expect(await dependencies(7_000)).toEqual(["web>cart", "web>old"]);
    const before = await bench.graph.asOf(startMs + 7_000);
    const emptied = await openBench(undefined, bench.graph);
    const next = emptied.createStage();
    try {
      await next.start();
      await next.settle();
      expect(await bench.graph.asOf(startMs + 7_000)).toEqual(before);
      for (const [number, at] of [3, 4, 5].entries()) await emptied.tell(at * 60_000 + 2_000, seen(100 + number, at * 60_000));
      await emptied.tell(420_000);
      await next.settle();
      const at = async (ms: number) => (await bench.graph.asOf(startMs + ms)).dependencies;
      expect(await at(299_000)).toMatchObject([{ id: "web>cart", validFromMs: startMs + 1_005 }]);
      await emptied.tell(720_000);
      await next.settle();
      expect(await at(299_000)).toMatchObject([{ id: "web>cart", validFromMs: startMs + 1_005 }]);
      expect(await at(310_000)).toEqual([]);
    } finally {
      await next.stop();
      await emptied.close();
    }
  });
});

describe("entities", () => {
  it("take name, newest version, host and zone from what resources say", async () => {
    await bench.tell(
      2_000,
      [],
      [observation("shop/cart", 1_000, { namespace: "shop", name: "cart", version: "1.0", host: "h1", zone: "z1", instance: "i1" })],
    );
    await bench.tell(
      6_000,
      [],
      [observation("shop/cart", 5_000, { namespace: "shop", name: "cart", version: "1.1", host: "h2", zone: "z1", instance: "i2" })],
    );
    await bench.tell(8_000);
    const now = await entity("shop/cart", 6_000);
    expect(now).toMatchObject({
      namespace: "shop",
      name: "cart",
      version: "1.1",
      host: "h2",
      zone: "z1",
      type: "service",
      firstSeenMs: startMs + 1_000,
    });
    expect((await entity("shop/cart", 2_000))?.version).toBe("1.0");
  });

  it("are entries when they receive requests without a caller", async () => {
    await bench.tell(2_000, [
      server({ call: 1, at: 1_000, entity: "web", isRoot: "yes" }),
      ...call(2, 1_200, { from: "web", to: "cart", peer: "10.0.0.2:80" }),
    ]);
    await bench.tell(4_000);
    expect((await entity("web", 2_000))?.entry).toBe(true);
    expect((await entity("cart", 2_000))?.entry).toBe(false);
  });

  it("are entries when nearly all of their last minute's callers are unseen, and not before there are twenty", async () => {
    const outside = (from: number, to: number, at: number) =>
      Array.from({ length: to - from }, (_, index) => server({ call: from + index, at, entity: "web" }));
    await bench.tell(2_000, outside(0, 19, 1_000));
    await bench.tell(9_000);
    expect((await entity("web", 8_000))?.entry).toBe(false);
    await bench.tell(11_000, outside(19, 21, 10_000));
    await bench.tell(18_000);
    expect((await entity("web", 17_000))?.entry).toBe(true);
  });

  it("are no entries while a good part of their callers is seen", async () => {
    const outside = Array.from({ length: 40 }, (_, index) => server({ call: index, at: 1_000, entity: "cart" }));
    const inside = Array.from({ length: 10 }, (_, index) =>
      call(100 + index, 1_000, { from: "web", to: "cart", peer: "10.0.0.2:80" }),
    ).flat();
    await bench.tell(2_000, [...outside, ...inside]);
    await bench.tell(9_000);
    expect((await entity("cart", 8_000))?.entry).toBe(false);
  });
});

describe("a checkpoint", () => {
  it("of another version refuses the start", async () => {
    await bench.tell(2_000, call(1, 1_000, { from: "web", to: "cart", peer: "10.0.0.2:80" }));
    await bench.tell(8_000);
    await stage.settle();
    await stage.stop();
    const owner = await bench.log.own("dependency", 0);
    const core = JSON.parse(Buffer.from(owner.checkpoint.chunks.get("core") ?? []).toString("utf8"));
    await owner.commit(owner.checkpoint.offset, new Map([["core", Buffer.from(JSON.stringify({ ...core, version: 99 }))]]));
    stage = bench.createStage();
    await expect(stage.start()).rejects.toMatchObject({ code: "DATA_VERSION_UNKNOWN", message: expect.stringContaining("99") });
  });
});

describe("bounds", () => {
  it("keep out halves beyond the most that may wait, and count them", async () => {
    await stage.stop();
    stage = bench.createStage({ pendingMax: 3 });
    await stage.start();
    await bench.tell(
      2_000,
      Array.from({ length: 160 }, (_, index) => server({ call: index, at: 1_000, entity: "web" })),
    );
    await bench.tell(4_000);
    await stage.settle();
    expect(await bench.counted("headwater_topology_dropped_total")).toBeGreaterThanOrEqual(160 - 16 * 3);
  });

  it("count halves that come after their second was taken, and still join them", async () => {
    await bench.tell(2_000);
    await bench.tell(8_000, [server({ call: 1, at: 7_500, entity: "cart" })]);
    await bench.tell(10_000, [client({ call: 1, at: 5_500, entity: "web", peer: "10.0.0.2:80" })]);
    await bench.tell(12_000);
    expect(await dependencies(11_000)).toEqual(["web>cart"]);
    expect(await bench.counted("headwater_topology_late_total")).toBe(1);
  });
});

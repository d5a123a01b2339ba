import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HalfDependency } from "../../../contract/window.ts";
import type { Stage } from "../../../services/stage.ts";
import { PartitionGraph } from "../../../services/topology/partition-graph.ts";

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

const kernel = (half: HalfDependency): HalfDependency => ({ ...half, learnedFrom: "kernel" });

async function view(at: number) {
  await stage.settle();
  return await bench.graph.asOf(startMs + at);
}

const entry = async (id: string, at: number) => (await view(at)).entities.find((entity) => entity.id === id)?.entry;

/** Server halves of callers that nobody knows, ten a second from one second to another. */
async function outsiders(fromSecond: number, toSecond: number, entity: string): Promise<void> {
  for (let second = fromSecond; second < toSecond; second += 1) {
    const call = 5_000 + second;
    await bench.tell(second * 1_000 + 900, [kernel(server({ call, at: second * 1_000 + 100, entity }))]);
  }
  await bench.tell(toSecond * 1_000 + 8_000);
}

describe("calls that the kernel saw", () => {
  it("are dependencies that say so, until a span of the same call tells of it too; then there is still one", async () => {
    await bench.tell(1_500, [
      kernel(client({ call: 1, at: 1_100, entity: "web", peer: "10.0.0.3:80" })),
      kernel(server({ call: 1, at: 1_105, entity: "cart" })),
    ]);
    await bench.tell(3_000);
    expect((await view(1_500)).dependencies).toMatchObject([{ id: "web>cart", learnedFrom: "kernel", addresses: ["10.0.0.3:80"] }]);
    await bench.tell(4_000, [
      client({ call: 2, at: 3_100, entity: "web", peer: "cart:80" }),
      server({ call: 2, at: 3_105, entity: "cart" }),
      kernel(client({ call: 3, at: 3_100, entity: "web", peer: "10.0.0.3:80" })),
      kernel(server({ call: 3, at: 3_105, entity: "cart" })),
    ]);
    await bench.tell(20_000);
    expect((await view(18_000)).dependencies).toMatchObject([
      { id: "web>cart", learnedFrom: "spans", addresses: ["10.0.0.3:80", "cart:80"] },
    ]);
    await bench.tell(21_000, [
      kernel(client({ call: 4, at: 20_100, entity: "web", peer: "10.0.0.3:80" })),
      kernel(server({ call: 4, at: 20_105, entity: "cart" })),
    ]);
    await bench.tell(40_000);
    expect((await view(38_000)).dependencies).toMatchObject([{ id: "web>cart", learnedFrom: "spans" }]);
  });

  it("to a datastore that both name by its address are one dependency on one datastore, which nobody enters by", async () => {
    const peer = "redis@127.0.0.1:6379";
    for (let second = 1; second < 30; second += 1) {
      const at = second * 1_000 + 100;
      await bench.tell(
        second * 1_000 + 900,
        [
          client({ call: second, at, entity: "cart", peer, protocol: "redis" }),
          kernel(client({ call: 100 + second, at, entity: "cart", peer, protocol: "redis" })),
          kernel(server({ call: 100 + second, at, entity: peer })),
          kernel(server({ call: 200 + second, at, entity: peer })),
        ],
        [observation(peer, at)],
      );
    }
    await bench.tell(50_000);
    const { entities, dependencies } = await view(48_000);
    expect(dependencies.map(({ id, learnedFrom }) => [id, learnedFrom])).toEqual([[`cart>${peer}`, "spans"]]);
    expect(entities.find(({ id }) => id === peer)).toMatchObject({ type: "datastore", entry: false });
  });

  it("by callers that nobody knows make an entry of few, as the kernel tells of few", async () => {
    await outsiders(1, 4, "web");
    expect(await entry("web", 10_000)).toBe(false);
    await outsiders(13, 18, "web");
    expect(await entry("web", 25_000)).toBe(true);
  });

  it("make no entry of one whose spans say that its callers are ours: they may be on a host without an agent", async () => {
    const spans = [3, 9, 15, 21].flatMap((second) => [
      client({ call: second, at: second * 1_000, entity: "web", peer: "cart:80" }),
      server({ call: second, at: second * 1_000, entity: "cart" }),
    ]);
    await bench.tell(500, spans);
    await outsiders(1, 20, "cart");
    expect(await entry("cart", 25_000)).toBe(false);
  });

  it("do not count twice after a restart, and entries are still found by what was counted before it", async () => {
    for (let second = 1; second < 4; second += 1) {
      await bench.tell(second * 1_000 + 900, [kernel(server({ call: second, at: second * 1_000, entity: "web" }))]);
    }
    await bench.tell(12_000);
    await stage.settle();
    await stage.stop();
    stage = bench.createStage();
    await stage.start();
    await outsiders(12, 14, "web");
    expect(await entry("web", 21_000)).toBe(true);
  });
});

it("one partition that saw a call from below first tells the graph when a program tells of it", () => {
  const graph = new PartitionGraph({ lastSeenMs: new Map(), onDropped: () => undefined });
  const sight = (learnedFrom: "spans" | "kernel", atMs: number) =>
    graph.sight({ source: "web", target: "cart", protocol: "http", address: null, atMs, confidence: 1, learnedFrom });
  const told = () => graph.drain().dependencies.map((dependency) => dependency.learnedFrom);
  sight("kernel", 1_000);
  expect(told()).toEqual(["kernel"]);
  sight("kernel", 1_100);
  expect(told()).toEqual([]);
  sight("spans", 1_200);
  expect(told()).toEqual(["spans"]);
  sight("kernel", 1_300);
  expect(told()).toEqual([]);
});

describe("hosts", () => {
  it("that tell of themselves are entities of their own", async () => {
    await bench.tell(2_000, [], [observation("host/node-1", 1_000, { name: "node-1", host: "node-1", type: "host" })]);
    await bench.tell(4_000);
    expect((await view(2_000)).entities).toMatchObject([{ id: "host/node-1", type: "host", name: "node-1", host: "node-1" }]);
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { canonicalJson, sortedBy } from "../../../contract/canonical.ts";
import type { GraphDelta } from "../../../contract/port.ts";
import type { HalfDependency } from "../../../contract/window.ts";
import { interleaved, uniform } from "../arrival-order.ts";
import { type Bench, client, type Flush, observation, openBench, server, startMs, window } from "./call-streams.ts";

async function open(folder?: string): Promise<Bench> {
  const bench = await openBench(folder);
  onTestFinished(() => bench.close());
  return bench;
}

interface Batch {
  readonly source: string;
  readonly sequence: number;
  readonly at: number;
  readonly halves: readonly HalfDependency[];
}

/** Three sources; cart crashes after 15 s and calls to it fail, an outsider is called, and the callee's side comes a little late. */
function batches(): Batch[] {
  const random = uniform(3);
  const bySource = new Map<string, HalfDependency[]>([
    ["web", []],
    ["cart", []],
    ["mobile", []],
  ]);
  const add = (source: string, half: HalfDependency) => bySource.get(source)?.push(half);
  for (let number = 1; number < 900; number += 1) {
    const at = Math.floor(number * 33 + random() * 20);
    const from = random() < 0.3 ? "mobile" : "web";
    if (at < 15_000 || random() < 0.05) add("cart", server({ call: number, at, entity: "cart" }));
    add(from, client({ call: number, at: at + 4, entity: from, peer: "10.0.0.2:80" }));
    if (number % 7 === 0)
      add("cart", client({ call: 5_000 + number, at, entity: "cart", peer: "postgresql@db:5432", protocol: "postgresql" }));
    if (number % 50 === 0) add("web", client({ call: 9_000 + number, at, entity: "web", peer: "pay.example:443" }));
    if (number % 20 === 0) add("web", server({ call: 20_000 + number, at, entity: "web", isRoot: "yes" }));
  }
  const all: Batch[] = [];
  for (const [source, halves] of bySource) {
    for (let index = 0; index * 250 < 30_000; index += 1) {
      const at = (index + 1) * 250;
      const own = halves.filter(({ atMs }) => atMs - startMs > at - 250 && atMs - startMs <= at);
      all.push({ source, sequence: index, at, halves: own });
    }
  }
  return all.sort((left, right) => left.at - right.at);
}

function flushesOf(all: readonly Batch[]): Flush[] {
  return all.map(({ source, sequence, at, halves }) => ({
    progress: [{ source, sequence, atUs: (startMs + at) * 1_000, receivedAtMs: startMs + at }],
    halves,
    observations: sequence % 20 === 0 ? [observation(source, at, { version: `1.${sequence}`, host: `host-${source}` })] : [],
  }));
}

/** What the graph was told of entities and dependencies, in the order of each partition. */
function content(applied: readonly GraphDelta[]): string {
  const told = applied.filter(({ entities, dependencies }) => entities.length + dependencies.length > 0);
  return canonicalJson(
    sortedBy(told, ({ partition }) => String(partition).padStart(2, "0")).map(({ partition, entities, dependencies }) => ({
      partition,
      entities,
      dependencies,
    })),
  );
}

async function views(bench: Bench): Promise<string> {
  const moments = Array.from({ length: 29 }, (_, index) => startMs + index * 1_000);
  return canonicalJson(await Promise.all(moments.map((atMs) => bench.graph.asOf(atMs))));
}

async function run(order: readonly Batch[]): Promise<Bench> {
  const bench = await open();
  const stage = bench.createStage();
  await stage.start();
  await bench.feed(flushesOf(order));
  await stage.settle();
  await stage.stop();
  return bench;
}

describe("topology", () => {
  it("tells the graph the same bytes however the batches of different sources interleave", async () => {
    const straight = await run(batches());
    const view = await straight.graph.asOf(startMs + 28_000);
    expect(view.dependencies.map(({ id }) => id)).toEqual(["cart>postgresql@db:5432", "mobile>cart", "web>cart", "web>pay.example:443"]);
    expect(await straight.counted("headwater_topology_unmatched_total")).toBeGreaterThan(100);
    for (const seed of [2, 3]) {
      const other = await run(
        interleaved(batches(), { atMs: ({ at }) => startMs + at, delayMs: window.settleMs - 1, random: uniform(seed) }),
      );
      expect(await other.counted("headwater_topology_late_total")).toBe(0);
      expect(content(other.applied) === content(straight.applied)).toBe(true);
      expect(await views(other)).toBe(await views(straight));
    }
  });

  it("shows the same graph after crashes and restarts", async () => {
    const flushes = flushesOf(batches());
    const straight = await run(batches());
    const folder = await mkdtemp(join(tmpdir(), "headwater-topology-crash-"));
    try {
      const cuts = [0, 61, 150, 151, 290, flushes.length];
      for (const [index, cut] of cuts.slice(1).entries()) {
        const bench = await open(folder);
        const stage = bench.createStage({ checkpointMs: 2_000 });
        await stage.start();
        await bench.feed(flushes.slice(cuts[index], cut));
        await stage.settle();
        if (cut === flushes.length) expect(await views(bench)).toBe(await views(straight));
        // A crash: nothing is committed at the end; the log is closed under the stage's feet.
        await bench.close();
        await stage.stop();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

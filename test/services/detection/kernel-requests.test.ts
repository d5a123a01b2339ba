import { afterEach, beforeEach, expect, it } from "vitest";
import type { RequestWindow } from "../../../contract/anomaly.ts";
import type { WindowEntry, Partial as WindowPartial } from "../../../contract/window.ts";
import { type Bench, duration, emptyEntry, openBench, startMs } from "./window-streams.ts";

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(async () => {
  await bench.close();
});

const spans = (entity: string, atMs: number) => duration(entity, { atMs, ms: 5 });

/** Two requests of which one failed, as a kernel histogram has them. */
function seen(entity: string, atMs: number): WindowPartial {
  const one = duration(entity, { atMs, ms: 5 });
  if (one.kind !== "duration") throw new Error("a duration is one");
  const buckets = one.buckets.map(([index, count]): [number, number] => [index, count * 2]);
  return { ...one, metric: "kernel.server.duration", count: 2, failed: 1, sumNs: one.sumNs * 2, buckets };
}

/** Runs a stage over seconds, each with what `partials` gives; answers what it told of requests, by window. */
async function requests(seconds: number, partials: (atMs: number, second: number) => WindowPartial[]): Promise<RequestWindow[][]> {
  const entries = Array.from({ length: seconds }, (_, second): WindowEntry => {
    const atMs = startMs + second * 1_000 + 500;
    const progress = [{ source: "a", sequence: second, atUs: atMs * 1_000, receivedAtMs: atMs }];
    return { progress, ...emptyEntry(), partials: partials(atMs, second) };
  });
  const stage = bench.createStage();
  await stage.start();
  await bench.feed(entries);
  await stage.settle();
  await stage.stop();
  return bench.told.map((entry) => entry.requests);
}

it("what an entity served is told once: by its spans where it has any, else by the kernel", async () => {
  const told = await requests(8, (atMs) => [spans("shop", atMs), seen("shop", atMs), seen("cart", atMs)]);
  expect(told.length).toBeGreaterThan(4);
  for (const window of told) {
    expect(window.map(({ entity, count, failed }) => [entity, count, failed])).toEqual([
      ["cart", 2, 1],
      ["shop", 1, 0],
    ]);
  }
});

it("a pause in the spans hands nothing over to the kernel, their end does, and their return takes it back at once", async () => {
  const told = await requests(120, (atMs, second) => [
    ...(second < 10 || (second >= 20 && second < 40) || second >= 100 ? [spans("shop", atMs)] : []),
    seen("shop", atMs),
  ]);
  const counts = told.map((window) => window.map(({ count }) => count));
  expect(counts.every((window) => window.length === 1)).toBe(true);
  const of = (second: number) => counts[second]?.[0];
  expect([of(9), of(15), of(25)]).toEqual([1, 0, 1]);
  expect([of(40), of(69), of(70), of(99)]).toEqual([0, 0, 2, 2]);
  expect(of(100)).toBe(1);
});

it("an entity that the kernel alone sees has served nothing once nothing comes any more", async () => {
  const told = await requests(12, (atMs, second) => (second < 4 ? [seen("cart", atMs)] : []));
  expect(told.map((window) => window.map(({ count }) => count)).slice(2, 6)).toEqual([[2], [2], [0], [0]]);
});

it("what the kernel counts is at zero when nothing is told, whatever it reported before", async () => {
  const lost = (atMs: number): WindowPartial => ({
    ...{ kind: "count", entity: "cart", metric: "kernel.tcp.retransmits", attributes: "peer=10.0.0.3:80" },
    ...{ windowStartMs: Math.floor(atMs / 1_000) * 1_000, count: 1, sum: String(3 * 1_048_576) },
  });
  const dropped = (atMs: number): WindowPartial => ({
    ...lost(atMs),
    metric: "system.network.packet.dropped",
    attributes: "reason=X,source=kernel",
  });
  await requests(8, (atMs, second) => (second === 1 || second === 5 ? [lost(atMs), dropped(atMs)] : []));
  const found = await bench.telemetry.series({ fromMs: startMs, toMs: startMs + 60_000, entities: ["cart"], seriesMax: 10 });
  expect(found.map(({ samples }) => samples.map(({ value }) => value).slice(0, 5))).toEqual([
    [3, 0, 0, 0, 3],
    [3, 0, 0, 0, 3],
  ]);
});

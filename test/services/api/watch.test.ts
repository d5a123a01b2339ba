import { expect, test } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { invariant } from "../../../contract/invariant.ts";
import { createWatch, type Watch, type WatchOptions } from "../../../services/api/watch.ts";
import { ManualClock } from "../../../services/platform.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const refused = new HeadwaterError("GRAPH_UNAVAILABLE", "Neo4j at bolt://x cannot be reached");

interface Question {
  answer(value: string): void;
  fail(error: unknown): void;
}

function watched(more: Partial<WatchOptions<string>> = {}) {
  const clock = new ManualClock(1_000);
  const questions: Question[] = [];
  const told: string[] = [];
  const watch = createWatch<string>({
    clock,
    name: "the graph",
    ask: () => new Promise((answer, fail) => questions.push({ answer, fail })),
    onAway: ({ sinceMs, code }) => told.push(`away since ${sinceMs}: ${code}`),
    onBack: ({ lastedMs, failures }) => told.push(`back after ${lastedMs} ms, ${failures} failures`),
    ...more,
  });
  const newest = (): Question => questions.at(-1)!;
  return { clock, questions, told, watch, newest };
}

async function readWith(watch: Watch<string>, then: () => void) {
  const reading = watch.read();
  await turn();
  then();
  return reading;
}

test("what the store answers is the value, and it is not away", async () => {
  const { watch, newest } = watched();
  expect(await readWith(watch, () => newest().answer("a"))).toEqual({ value: "a", away: null, waitingMs: null });
  expect(watch.known().value).toBe("a");
});

test("a failure keeps the last value and says since when; the log hears of it once at each end", async () => {
  const { clock, watch, newest, told } = watched();
  await readWith(watch, () => newest().answer("a"));
  clock.advanceTo(5_000);
  expect(await readWith(watch, () => newest().fail(refused))).toMatchObject({
    value: "a",
    away: { sinceMs: 5_000, code: "GRAPH_UNAVAILABLE", message: refused.message },
  });
  clock.advanceTo(9_000);
  expect((await readWith(watch, () => newest().fail(refused))).away).toMatchObject({ sinceMs: 5_000 });
  clock.advanceTo(12_000);
  expect(await readWith(watch, () => newest().answer("b"))).toMatchObject({ value: "b", away: null });
  expect(told).toEqual(["away since 5000: GRAPH_UNAVAILABLE", "back after 7000 ms, 2 failures"]);
});

test("a store that does not answer is not waited for longer than 2 s, is asked once at a time, and counts as away after 5 s", async () => {
  const { clock, watch, questions, newest } = watched();
  let reading = watch.read();
  await turn();
  clock.advanceTo(3_000);
  expect(await reading).toEqual({ value: null, away: null, waitingMs: 2_000 });
  for (const atMs of [4_000, 5_000, 6_100]) {
    reading = watch.read();
    await turn();
    clock.advanceTo(atMs);
    await reading;
  }
  expect(questions).toHaveLength(1);
  expect(watch.known()).toMatchObject({ value: null, away: { sinceMs: 1_000, code: null }, waitingMs: 5_100 });
  // Late is better than never.
  newest().answer("late");
  await turn();
  expect(watch.known()).toEqual({ value: "late", away: null, waitingMs: null });
});

test("after a slow answer the store has a rest of four times as long, at most 10 s", async () => {
  const { clock, watch, questions, newest } = watched();
  const slow = watch.read();
  await turn();
  clock.advanceTo(2_000);
  newest().answer("slow");
  await slow;
  clock.advanceTo(5_900);
  expect((await watch.read()).value).toBe("slow");
  expect(questions).toHaveLength(1);
  clock.advanceTo(6_000);
  await readWith(watch, () => newest().answer("new"));
  expect(questions).toHaveLength(2);
});

test("an error thrown at once is an answer like any other, and the store is asked again", async () => {
  let calls = 0;
  const { watch } = watched({
    ask: () => {
      calls += 1;
      if (calls === 1) throw refused;
      return Promise.resolve("a");
    },
  });
  expect((await watch.read()).away).toMatchObject({ code: "GRAPH_UNAVAILABLE" });
  expect(await watch.read()).toMatchObject({ value: "a", away: null });
});

test("a programmer error is not taken for a store that is away", async () => {
  const { watch } = watched({ ask: async () => invariant(false, "ours") as never });
  await expect(watch.read()).rejects.toThrow("ours");
});

import { expect, test } from "vitest";
import { findPaths, pathHopsMax } from "../../../graph/merge/walk.ts";

test("a search for ways is cut at its bound of steps, and says so", () => {
  // Everybody in the crowd calls everybody; the only way out is through the door, which every way has passed already.
  const crowd = Array.from({ length: 20 }, (_, n) => `c${n}`);
  const calls = [
    { source: "from", target: "door" },
    { source: "door", target: "to" },
    ...crowd.flatMap((source) => [
      { source: "door", target: source },
      { source, target: "door" },
      ...crowd.filter((target) => target !== source).map((target) => ({ source, target })),
    ]),
  ];
  const search = { from: "from", to: "to", hopsMax: pathHopsMax, pathsMax: 10 };
  expect(findPaths(calls, search)).toEqual({ paths: [["from", "door", "to"]], complete: "no" });
  expect(findPaths(calls, { ...search, hopsMax: 4 })).toEqual({ paths: [["from", "door", "to"]], complete: "yes" });
});

test("no way is longer than the bound of hops, whatever was asked for", () => {
  const chain = Array.from({ length: 20 }, (_, n) => ({ source: `n${n}`, target: `n${n + 1}` }));
  const to = (hops: number) => findPaths(chain, { from: "n0", to: `n${hops}`, hopsMax: 20, pathsMax: 5 }).paths.length;
  expect(to(pathHopsMax)).toBe(1);
  expect(to(pathHopsMax + 1)).toBe(0);
});

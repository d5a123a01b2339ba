import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { randomChance } from "../../bench/peers.ts";
import { benchRanking } from "../../bench/ranking.ts";
import { drawShopCase } from "../graph/shop-snapshot.ts";

let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "headwater-bench-"));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A case in which `b` takes all the processor time from 1100 s on. */
async function putCase(name: string, truth: string): Promise<void> {
  const folder = join(directory, "cases", name);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "case.json"),
    JSON.stringify({
      id: name,
      system: "s",
      normal: { from: 1_000, to: 1_100 },
      fault: { from: 1_100, to: 1_120 },
      alert: null,
      truth: [{ type: "entity", id: truth, kind: "cpu" }],
    }),
  );
  const rows = ["timestamp,entity,metric,value"];
  for (let second = 1_000; second < 1_120; second += 1) {
    rows.push(
      `${second},a,cpu_usage,${0.1 + (second % 7) / 1_000}`,
      `${second},b,cpu_usage,${(second < 1_100 ? 0.1 : 0.9) + (second % 5) / 1_000}`,
    );
  }
  await writeFile(join(folder, "metrics.csv"), rows.join("\n"));
}

describe("bench ranking", () => {
  test("prints every method and both ranks of every case, and writes them as JSON", async () => {
    await putCase("one", "b");
    await putCase("two", "a");
    let text = "";
    const json = join(directory, "out.json");
    await benchRanking(["--format", "case", "--data", join(directory, "cases"), "--json", json], (part) => {
      text += part;
    });
    for (const name of ["Headwater", "highest Z", "graph traversal", "latest change", "echo of the alert", "random (expected)"])
      expect(text).toContain(name);
    const written = JSON.parse(await readFile(json, "utf8")) as {
      name: string;
      rows: { name: string; value: number; yardstick: number }[];
      cases: { id: string; rankStrict: number; rankPessimistic: number; ranking: { id: string }[] }[];
    };
    expect(written.name).toBe("ranking");
    expect(written.cases.map(({ id, rankStrict, rankPessimistic }) => ({ id, rankStrict, rankPessimistic }))).toEqual([
      { id: "one", rankStrict: 1, rankPessimistic: 1 },
      { id: "two", rankStrict: 2, rankPessimistic: 2 },
    ]);
    expect(written.rows.find((row) => row.name === "all: top-1")?.value).toBe(0.5);
  });

  test.each([
    [["--format", "case"], "--format and --data are needed"],
    [["--format", "nonsense", "--data", "x"], "--format must be one of case, petshop"],
    [["--format", "case", "--data", "x", "--split", "half"], "--split must be one of train, test, all"],
    [["--wrong", "x"], "--wrong"],
  ])("refuses %j and says how it is called", async (args, expected) => {
    await expect(benchRanking(args, () => {})).rejects.toThrow(expected);
    await expect(benchRanking(args, () => {})).rejects.toThrow("usage: ranking --format");
  });

  test("refuses a folder that holds no cases", async () => {
    await mkdir(join(directory, "none"));
    await expect(benchRanking(["--format", "case", "--data", join(directory, "none")], () => {})).rejects.toThrow(
      "no case with a known truth",
    );
    await expect(benchRanking(["--format", "petshop", "--data", join(directory, "none")], () => {})).rejects.toThrow("no PetShop issues");
  });
});

test("guessing is expected to be right once in as many cases as there are entities", () => {
  const { snapshot } = drawShopCase("crash", 2);
  const [first] = snapshot.entities;
  const { placeChances } = randomChance(snapshot, [{ type: "entity", id: first?.id ?? "", kind: null }], (id) => id);
  expect(placeChances[0]).toBeCloseTo(1 / snapshot.entities.length);
  expect(placeChances.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
});

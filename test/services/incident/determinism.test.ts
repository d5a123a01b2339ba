import { expect, test } from "vitest";
import { allPartitions, partitionCount } from "../../../contract/canonical.ts";
import { until } from "../../conformance/temporary.ts";
import { anomalyAt, failing, type Harness, healthy, lastingDirectory, openHarness, started } from "./harness.ts";

/** The whole life of two incidents, with the partitions of each window appended in an order of their own. */
async function lifeWith(harness: Harness, orderOf: (second: number) => readonly number[]): Promise<void> {
  for (let second = 0; second < 110; second += 1) {
    const ill = (second >= 40 && second < 60) || second >= 100;
    const anomalies = second === 38 ? [anomalyAt("payment", 38), anomalyAt("shop", 38)] : [];
    await harness.window(second, ill ? failing : healthy, { anomalies, partitions: orderOf(second) });
  }
  await harness.stage.settle();
}

async function whatHappened(harness: Harness) {
  const incidents = await harness.incidents();
  const streams = await Promise.all(incidents.map(({ id }) => harness.eventsOf(id)));
  const requests = [...harness.requests].sort((left, right) => (left.id < right.id ? -1 : 1));
  return { incidents, streams, requests };
}

test("the result does not depend on how partitions interleave", async () => {
  const straight = await started();
  await lifeWith(straight, () => allPartitions);
  await until("four verdicts are asked for", () => straight.requests.length >= 4);
  const mixed = await started();
  // One partition after the other is withheld for many windows.
  const lag: { second: number; partitions: number[] }[] = [];
  for (let second = 0; second < 110; second += 1) {
    const withheld = Math.floor(second / 10) % partitionCount;
    lag.push({
      second,
      partitions: allPartitions.map((p) => (p * 7 + second) % partitionCount).filter((p) => p !== withheld),
    });
    if (second % 10 === 9) for (let late = second - 9; late <= second; late += 1) lag.push({ second: late, partitions: [withheld] });
  }
  for (const { second, partitions } of lag) {
    const ill = (second >= 40 && second < 60) || second >= 100;
    const anomalies = second === 38 ? [anomalyAt("payment", 38), anomalyAt("shop", 38)] : [];
    await mixed.window(second, ill ? failing : healthy, { anomalies, partitions });
  }
  await mixed.stage.settle();
  await until("as many verdicts are asked for", () => mixed.requests.length >= straight.requests.length);
  const expected = await whatHappened(straight);
  expect(expected.incidents).toHaveLength(2);
  expect(await whatHappened(mixed)).toEqual(expected);
});

test("a stage killed in the middle of an incident writes nothing twice and goes on where it was", async () => {
  const straight = await started();
  await lifeWith(straight, () => allPartitions);
  await until("four verdicts are asked for", () => straight.requests.length >= 4);
  const expected = await whatHappened(straight);

  const directory = await lastingDirectory();
  const first = await openHarness({ directory });
  for (let second = 0; second < 52; second += 1) {
    await first.window(second, second >= 40 ? failing : healthy, {
      anomalies: second === 38 ? [anomalyAt("payment", 38), anomalyAt("shop", 38)] : [],
    });
  }
  await first.stage.settle();
  expect(await first.incidents()).toMatchObject([{ status: "open" }]);
  // Closed under the stage's feet: it cannot commit what it did since its last checkpoint (second 30).
  await first.log.close();
  await first.close();

  const second = await started({ directory });
  for (let at = 52; at < 110; at += 1) {
    await second.window(at, (at >= 40 && at < 60) || at >= 100 ? failing : healthy);
  }
  await second.stage.settle();
  await until(
    "every verdict is asked for",
    () => new Set([...first.requests, ...second.requests].map(({ id }) => id)).size >= expected.requests.length,
  );
  const happened = await whatHappened(second);
  expect(happened.streams).toEqual(expected.streams);
  const asked = new Map([...first.requests, ...second.requests].map((request) => [request.id, request]));
  expect([...asked.values()].sort((left, right) => (left.id < right.id ? -1 : 1))).toEqual(expected.requests);
});

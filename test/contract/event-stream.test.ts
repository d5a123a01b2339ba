import { expect, it } from "vitest";
import { changeStream, incidentOfStream, incidentStream, pagesAfter } from "../../contract/event-stream.ts";
import { SystemClock } from "../../services/platform.ts";
import { openSqliteEventStore } from "../../store/sqlite/sqlite-event-store.ts";

it("reads a stream of several pages from any sequence on, whole and in order", async () => {
  const events = await openSqliteEventStore({ file: ":memory:", clock: new SystemClock(), onCounted: () => undefined });
  const numbers = Array.from({ length: 2_500 }, (_, index) => index + 1);
  await events.append(changeStream, numbers, { expectedSequence: 0 });
  const read = async (afterSequence: number): Promise<unknown[][]> => {
    const pages: unknown[][] = [];
    for await (const page of pagesAfter(events, changeStream, afterSequence)) pages.push(page.map(({ data }) => data));
    return pages;
  };
  expect(await read(0)).toEqual([numbers.slice(0, 1_000), numbers.slice(1_000, 2_000), numbers.slice(2_000)]);
  expect((await read(1_200)).flat()).toEqual(numbers.slice(1_200));
  expect((await read(500)).flat()).toEqual(numbers.slice(500));
  expect((await read(2_500)).flat()).toEqual([]);
  await events.close();
});

it("finds the incident of a stream again", () => {
  expect(incidentOfStream(incidentStream("a/b"))).toBe("a/b");
});

/** What every TelemetryStore does, whatever it is made of. */
import { describe, expect, it } from "vitest";
import type { TelemetryAppend, TelemetryStore } from "../../contract/port.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { aDuration, aLine, aSeries, aSpan, aTelemetryAppend, aTemplateCount, hex, noonMs } from "./sample-messages.ts";

const dayMs = 86_400_000;
const everything = { fromMs: 0, toMs: noonMs + 400 * dayMs, entities: [] as string[] };
const allSeries = { ...everything, seriesMax: 10_000 };
const allSpans = { ...everything, failedOnly: "no" as const, spansMax: 10_000 };
const allLogs = { ...everything, templatesMax: 10_000 };

function append(key: string, windowStartMs: number, parts: Partial<TelemetryAppend>): TelemetryAppend {
  return { key, windowStartMs, series: [], durations: [], spans: [], templates: [], lines: [], ...parts };
}

export function telemetryStoreConformance(name: string, newPlace: () => Promise<Place<TelemetryStore>>): void {
  describe(`TelemetryStore: ${name}`, () => {
    let place: Place<TelemetryStore>;
    let store: TelemetryStore;
    inFreshPlaces(newPlace, (fresh, opened) => {
      place = fresh;
      store = opened;
    });

    it("answers nothing while it is empty", async () => {
      expect(await store.series(allSeries)).toEqual([]);
      expect(await store.spans(allSpans)).toEqual([]);
      expect(await store.lines(allLogs)).toEqual([]);
      expect(await store.retain(noonMs)).toEqual([]);
    });

    it("answers every kind of row as it was appended, also after it was opened again", async () => {
      const windowStartMs = noonMs;
      const odd = "a'b\"c;--\u{1F600}\u0000\n";
      const series = [
        aSeries({ entity: odd, windowStartMs, value: 1e-300 }),
        aSeries({
          entity: "b",
          windowStartMs,
          value: -0.5,
          state: "learning",
          readyAtMs: noonMs + 60_000,
          samples: [{ windowStartMs, value: -0.5, lower: null, upper: null, score: null }],
        }),
      ];
      const spans = [
        aSpan(1, {
          windowStartMs,
          failed: true,
          exception: odd,
          parentSpanId: hex(9, 16),
          peer: "db:5432",
          statusMessage: "no",
          durationNs: 2 ** 52,
        }),
      ];
      const durations = [aDuration({ windowStartMs, attributes: "operation=GET /pay", sumNs: 2 ** 52 + 1 })];
      const templates = [aTemplateCount({ windowStartMs, text: odd })];
      const lines = [
        aLine(odd, { windowStartMs, traceId: hex(1, 32), spanId: hex(1, 16) }),
        aLine("plain", { windowStartMs, entity: "z" }),
      ];
      await store.append([append("0/1/0", windowStartMs, { series, spans, durations, templates, lines })]);
      for (const again of ["at once", "opened again"]) {
        if (again === "opened again") {
          await store.close();
          store = await place.open();
        }
        expect(await store.series(allSeries)).toEqual(series);
        expect(await store.spans(allSpans)).toEqual(spans);
        expect(await store.durations({ ...everything, rowsMax: 10 })).toEqual(durations);
        expect(await store.templates(allLogs)).toEqual(templates);
        expect(await store.lines(allLogs)).toEqual(lines);
      }
    });

    it("changes nothing when a key is appended again, in the same call, later, or after it was opened again", async () => {
      const one = aTelemetryAppend(1);
      await store.append([one, { ...one, series: [aSeries({ entity: "other", windowStartMs: one.windowStartMs, value: 7 })] }]);
      await Promise.all([store.append([one]), store.append([one])]);
      await store.close();
      store = await place.open();
      await store.append([one, aTelemetryAppend(2)]);
      expect((await store.series(allSeries)).map(({ key, samples }) => [key.entity, samples.length])).toEqual([
        ["e-1", 1],
        ["e-2", 1],
      ]);
      expect(await store.spans(allSpans)).toHaveLength(2);
      expect(await store.lines(allLogs)).toHaveLength(2);
    });

    it("completes a key of which only some kinds of rows had been stored", async () => {
      const whole = aTelemetryAppend(1);
      await store.append([{ ...whole, spans: [], templates: [], lines: [] }]);
      await store.append([whole]);
      expect((await store.series(allSeries)).map(({ samples }) => samples.length)).toEqual([1]);
      expect(await store.spans(allSpans)).toEqual(whole.spans);
      expect(await store.lines(allLogs)).toEqual(whole.lines);
    });

    it("replaces what was stored for a window by its amendment", async () => {
      const windowStartMs = noonMs;
      const first = {
        series: [aSeries({ entity: "a", windowStartMs, value: 1 })],
        durations: [aDuration({ windowStartMs, count: 1 })],
        templates: [aTemplateCount({ windowStartMs, count: 1 })],
        spans: [aSpan(1, { windowStartMs, operation: "old" })],
      };
      const second = {
        series: [aSeries({ entity: "a", windowStartMs, value: 2 })],
        durations: [aDuration({ windowStartMs, count: 2 })],
        templates: [aTemplateCount({ windowStartMs, count: 2 })],
        spans: [aSpan(1, { windowStartMs, operation: "new" })],
      };
      await store.append([append("0/1/0", windowStartMs, first)]);
      await store.append([append("0/1/1", windowStartMs, second)]);
      expect((await store.series(allSeries))[0]?.samples.map(({ value }) => value)).toEqual([2]);
      expect((await store.durations({ ...everything, rowsMax: 10 })).map(({ count }) => count)).toEqual([2]);
      expect((await store.templates(allLogs)).map(({ count }) => count)).toEqual([2]);
      expect((await store.spans(allSpans)).map(({ operation }) => operation)).toEqual(["new"]);
    });

    it("sorts by code unit and time, over the boundary of a day", async () => {
      const midnightMs = noonMs + dayMs / 2;
      const windows = [midnightMs, midnightMs - 1_000, midnightMs + 1_000];
      const appends = windows.map((windowStartMs, n) =>
        append(`0/${n}/0`, windowStartMs, {
          series: ["b", "a", "Z"].map((entity) => aSeries({ entity, windowStartMs, value: n })),
          spans: [aSpan(n, { windowStartMs }), aSpan(n + 10, { windowStartMs, traceId: hex(0, 32) })],
          durations: ["b", "Z"].map((entity) => aDuration({ entity, windowStartMs })),
          lines: ["y", "x"].map((body) => aLine(body, { windowStartMs })),
          templates: ["b", "a"].map((entity) => aTemplateCount({ entity, windowStartMs })),
        }),
      );
      await store.append(appends);
      const sorted = [...windows].sort((left, right) => left - right);
      const series = await store.series(allSeries);
      expect(series.map(({ key }) => key.entity)).toEqual(["Z", "a", "b"]);
      expect(series[0]?.samples.map(({ windowStartMs }) => windowStartMs)).toEqual(sorted);
      const spans = await store.spans(allSpans);
      expect(spans.map(({ startAtUs }) => startAtUs)).toEqual(sorted.flatMap((at) => [at * 1_000, at * 1_000]));
      expect(spans[0]?.traceId).toBe(hex(0, 32));
      expect((await store.durations({ ...everything, rowsMax: 10 })).map(({ entity, windowStartMs }) => [entity, windowStartMs])).toEqual(
        ["Z", "b"].flatMap((entity) => sorted.map((at) => [entity, at])),
      );
      expect((await store.lines(allLogs)).map(({ body }) => body)).toEqual(["x", "y", "x", "y", "x", "y"]);
      expect((await store.templates(allLogs)).map(({ entity, windowStartMs }) => [entity, windowStartMs])).toEqual(
        ["a", "b"].flatMap((entity) => sorted.map((at) => [entity, at])),
      );
      const range = { fromMs: midnightMs, toMs: midnightMs + 1_000 };
      expect((await store.series({ ...allSeries, ...range })).map(({ samples }) => samples.length)).toEqual([1, 1, 1]);
      expect(await store.spans({ ...allSpans, ...range })).toHaveLength(2);
    });

    it("finds a span that began on the day before its window", async () => {
      const windowStartMs = noonMs + dayMs / 2;
      await store.append([
        append("0/1/0", windowStartMs, { spans: [aSpan(1, { windowStartMs, startAtUs: (windowStartMs - 50) * 1_000 })] }),
      ]);
      expect(await store.spans({ ...allSpans, fromMs: windowStartMs - 100, toMs: windowStartMs })).toHaveLength(1);
      expect(await store.spans({ ...allSpans, fromMs: windowStartMs, toMs: windowStartMs + 100 })).toHaveLength(0);
    });

    it("filters by entity, metric, trace, failure, template and time", async () => {
      const windowStartMs = noonMs;
      await store.append([
        append("0/1/0", windowStartMs, {
          series: ["a", "b"].flatMap((entity) => ["cpu", "memory"].map((metric) => aSeries({ entity, metric, windowStartMs, value: 1 }))),
          spans: [aSpan(1, { windowStartMs, entity: "a", failed: true }), aSpan(2, { windowStartMs, entity: "b" })],
          lines: [
            aLine("one", { windowStartMs, shape: hex(1, 16), traceId: hex(1, 32) }),
            aLine("two", { windowStartMs, shape: hex(2, 16), entity: "b" }),
          ],
          templates: ["a", "b"].map((entity) => aTemplateCount({ entity, windowStartMs })),
          durations: ["a", "b"].map((entity) => aDuration({ entity, windowStartMs })),
        }),
      ]);
      expect(
        (await store.series({ ...allSeries, entities: ["a", "x"], metric: "cpu" })).map(({ key }) => [key.entity, key.metric]),
      ).toEqual([["a", "cpu"]]);
      expect(await store.series({ ...allSeries, entities: ["x"] })).toEqual([]);
      expect((await store.spans({ ...allSpans, entities: ["b"] })).map(({ entity }) => entity)).toEqual(["b"]);
      expect((await store.spans({ ...allSpans, failedOnly: "yes" })).map(({ entity }) => entity)).toEqual(["a"]);
      expect((await store.spans({ ...allSpans, traceId: hex(2, 32) })).map(({ entity }) => entity)).toEqual(["b"]);
      expect((await store.lines({ ...allLogs, template: hex(2, 16) })).map(({ body }) => body)).toEqual(["two"]);
      expect((await store.lines({ ...allLogs, traceId: hex(1, 32) })).map(({ body }) => body)).toEqual(["one"]);
      expect((await store.templates({ ...allLogs, entities: ["b"] })).map(({ entity }) => entity)).toEqual(["b"]);
      expect((await store.durations({ ...everything, entities: ["a"], rowsMax: 9 })).map(({ entity }) => entity)).toEqual(["a"]);
      expect(await store.series({ ...allSeries, fromMs: noonMs + 1 })).toEqual([]);
      expect(await store.series({ ...allSeries, toMs: noonMs })).toEqual([]);
      expect(await store.series({ ...allSeries, entities: ["a' OR 1=1 --"] })).toEqual([]);
    });

    it("answers no more than asked for, the first by its order, and counts that it cut", async () => {
      const windows = Array.from({ length: 20 }, (_, n) => {
        const windowStartMs = noonMs + n * 1_000;
        const parts = aTelemetryAppend(n);
        const series = [aSeries({ entity: `s-${hex(n, 4)}`, windowStartMs, value: n })];
        return append(`0/${n}/0`, windowStartMs, {
          ...parts,
          key: `0/${n}/0`,
          windowStartMs,
          series,
          spans: [aSpan(n, { windowStartMs })],
        });
      });
      await store.append(windows);
      expect((await store.series({ ...allSeries, seriesMax: 3 })).map(({ key }) => key.entity)).toEqual(
        [0, 1, 2].map((n) => `s-${hex(n, 4)}`),
      );
      expect((await store.series({ ...allSeries, fromMs: noonMs + 5_000, seriesMax: 1 })).map(({ key }) => key.entity)).toEqual([
        `s-${hex(5, 4)}`,
      ]);
      expect((await store.spans({ ...allSpans, spansMax: 2 })).map(({ traceId }) => traceId)).toEqual([hex(0, 32), hex(1, 32)]);
      expect(await store.lines({ ...allLogs, templatesMax: 4 })).toHaveLength(4);
      expect(await store.templates({ ...allLogs, templatesMax: 4 })).toHaveLength(4);
      expect(await store.durations({ ...everything, rowsMax: 4 })).toHaveLength(4);
      expect(place.counts.of("telemetry_store_answers_cut")).toBeGreaterThanOrEqual(5);
    });

    it("knows every series with its newest state, also after it was opened again", async () => {
      const at = (n: number) => noonMs + n * 1_000;
      const one = (n: number, state: "learning" | "tracked", readyAtMs: number | null) =>
        append(`0/${n}/0`, at(n), { series: [aSeries({ entity: "a", windowStartMs: at(n), value: n, state, readyAtMs })] });
      await store.append([
        one(0, "learning", at(9)),
        append("1/0/0", at(0), { series: [aSeries({ entity: "b", windowStartMs: at(0), value: 0 })] }),
      ]);
      await store.append([one(1, "learning", at(9))]);
      await store.append([one(9, "tracked", null)]);
      await store.append([{ ...one(86_400, "tracked", null) }]);
      const expected = [
        {
          key: { entity: "a", metric: "cpu", statistic: "value", attributes: "" },
          unit: "1",
          state: "tracked",
          readyAtMs: null,
          firstAtMs: at(0),
          lastAtMs: at(86_400),
        },
        {
          key: { entity: "b", metric: "cpu", statistic: "value", attributes: "" },
          unit: "1",
          state: "tracked",
          readyAtMs: null,
          firstAtMs: at(0),
          lastAtMs: at(0),
        },
      ];
      expect(await store.summaries({ entities: [], seriesMax: 10 })).toEqual(expected);
      await store.close();
      store = await place.open();
      expect(await store.summaries({ entities: [], seriesMax: 10 })).toEqual(expected);
      expect(await store.summaries({ entities: ["b"], seriesMax: 10 })).toEqual(expected.slice(1));
      expect(await store.summaries({ entities: [], seriesMax: 1 })).toEqual(expected.slice(0, 1));
    });

    it("answers whole windows while others are written", async () => {
      let written = 0;
      const writing = (async () => {
        for (let n = 0; n < 30; n += 2) {
          await store.append([aTelemetryAppend(n), aTelemetryAppend(n + 1)]);
          written = n + 2;
        }
      })();
      let previous = 0;
      while (written < 30) {
        // An empty store answers without waiting for anything; the writer needs its turn.
        await new Promise((resolve) => setImmediate(resolve));
        const before = written;
        const samples = (await store.series(allSeries)).flatMap((series) => series.samples).length;
        expect(samples % 2).toBe(0);
        expect(samples).toBeGreaterThanOrEqual(Math.max(before, previous));
        previous = samples;
      }
      await writing;
      expect(await store.spans(allSpans)).toHaveLength(30);
    });

    it("drops a day's metrics after 180, logs after 90 and traces after 30 days, and not a moment earlier", async () => {
      const dayEndMs = noonMs + dayMs / 2;
      await store.append([aTelemetryAppend(0)]);
      for (const [days, signal] of [
        [30, "traces"],
        [90, "logs"],
        [180, "metrics"],
      ] as const) {
        expect(await store.retain(dayEndMs + days * dayMs - 1)).toEqual([]);
        const removed = await store.retain(dayEndMs + days * dayMs);
        expect(removed).toHaveLength(1);
        expect(removed[0]).toContain(`${signal}-2025-03-10`);
        expect((await store.spans(allSpans)).length).toBe(0);
        expect((await store.lines(allLogs)).length).toBe(signal === "traces" ? 1 : 0);
        expect((await store.series(allSeries)).length).toBe(signal === "metrics" ? 0 : 1);
      }
      await store.append([aTelemetryAppend(0)]);
      expect(await store.series(allSeries)).toHaveLength(1);
    });

    it("finishes at close what it had begun and then refuses", async () => {
      const appended = store.append([aTelemetryAppend(0)]);
      await store.close();
      await appended;
      await expect(store.append([aTelemetryAppend(1)])).rejects.toMatchObject({ code: "STOPPING" });
      store = await place.open();
      expect(await store.series(allSeries)).toHaveLength(1);
    });
  });
}

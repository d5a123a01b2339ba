import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson } from "../../contract/canonical.ts";
import type { TelemetryBatch } from "../../contract/telemetry.ts";
import { DependencyEntry, WindowEntry } from "../../contract/window.ts";
import { mergeReductions } from "../../native/merge-reductions.ts";
import { reduceBatch } from "../../native/reducer.ts";
import type { ReduceOptions } from "../../native/reduction.ts";
import { batchOf, denseRequests, fixedRequests, metricRequest, nanos, receivedAtMs, requests, stringAttributes } from "./otlp-bodies.ts";
import { merged, options } from "./reduced.ts";

describe("merging", () => {
  const signals = ["traces", "metrics", "logs"] as const;
  /** Bounds so small that arbitrary requests run into every one of them. */
  const tight: ReduceOptions = {
    ...options,
    windowMs: 1_000,
    spanSampleOneIn: 1,
    lineSampleOneIn: 1,
    seriesPerMetricMax: 2,
    seriesPerEntityMax: 5,
    slowOperationsMax: 1,
    slowestPerOperation: 2,
    failedSpansMax: 2,
    sampledSpansMax: 2,
    errorLinesMax: 2,
    sampledLinesMax: 2,
    shapesMax: 2,
    observationsMax: 2,
    entitiesMax: 2,
    halvesMax: 2,
  };
  const batchesOf = (source: typeof requests, minLength: number) =>
    fc
      .array(fc.oneof(...signals.map((signal) => source[signal].map((request) => ({ signal, request })))), { minLength, maxLength: 4 })
      .map((list) => list.map(({ signal, request }, sequence) => batchOf(signal, request, { sequence })));
  const batches = batchesOf(requests, 1);
  const dense = batchesOf(denseRequests, 2);

  function contentOf(list: readonly TelemetryBatch[], bounds: ReduceOptions): string {
    const { windows, dependencies } = merged(list, bounds);
    return canonicalJson([windows, dependencies].map((entries) => entries.map((entry) => ({ ...entry, progress: [] }))));
  }

  it.each([
    ["within the bounds", { ...options, windowMs: 1_000 }],
    ["at the bounds", tight],
  ])("gives the same bytes for every order of batches and every way to split them, %s", (_name, bounds) => {
    fc.assert(
      fc.property(dense, fc.infiniteStream(fc.nat()), (list, random) => {
        const whole = contentOf(list, bounds);
        const shuffled = [...list]
          .map((batch) => ({ batch, key: random.next().value as number }))
          .sort((left, right) => left.key - right.key)
          .map(({ batch }) => batch);
        expect(contentOf(shuffled, bounds)).toBe(whole);
        expect(contentOf(list.flatMap(splitBySegments), bounds)).toBe(whole);
      }),
      { numRuns: 60 },
    );
  });

  it("writes entries that their schemas accept", () => {
    fc.assert(
      fc.property(fc.oneof(batches, dense), (list) => {
        const { windows, dependencies } = merged(list, tight);
        for (const entry of windows) WindowEntry.parse(entry);
        for (const entry of dependencies) DependencyEntry.parse(entry);
      }),
      { numRuns: 60 },
    );
  });

  it("cuts series at the same place in a part as in the whole, also when some are folded there only", () => {
    const bounds = { ...options, seriesPerMetricMax: 2, seriesPerEntityMax: 5 };
    const gauge = (key: string, value: string, users: readonly string[]) => ({
      name: "m",
      gauge: {
        dataPoints: users.map((user) => ({
          timeUnixNano: nanos(receivedAtMs),
          asDouble: 1,
          attributes: stringAttributes({ [key]: value, "user.id": user }),
        })),
      },
    });
    const first = [gauge("state", "/a", ["1", "2", "3", "4", "5"]), gauge("state", "/b", ["1"])];
    const second = [gauge("http.route", "/a", ["1"])];
    const whole = contentOf([batchOf("metrics", metricRequest("cart", [...first, ...second]))], bounds);
    const parts = [first, second].map((metrics, sequence) => batchOf("metrics", metricRequest("cart", metrics), { sequence }));
    expect(contentOf(parts, bounds)).toBe(whole);
  });

  it("changes no reduction", () => {
    const list = [batchOf("traces", fixedRequests.traces), batchOf("traces", fixedRequests.traces, { sequence: 1 })];
    const reductions = list.map((batch) => reduceBatch(batch, options));
    const first = canonicalJson(mergeReductions(reductions, options).windows);
    expect(canonicalJson(mergeReductions(reductions, options).windows)).toBe(first);
  });

  /** The same items in a batch for each resource: protobuf bodies may be cut between resources and put together again. */
  function splitBySegments(batch: TelemetryBatch): TelemetryBatch[] {
    const parts: TelemetryBatch[] = [];
    let at = 0;
    while (at < batch.body.length) {
      let length = 0;
      let shift = 0;
      let end = at + 1;
      for (;;) {
        const byte = batch.body[end] as number;
        end += 1;
        length |= (byte & 0x7f) << shift;
        shift += 7;
        if (byte < 0x80) break;
      }
      parts.push({ ...batch, id: `${batch.id}.${parts.length}`, body: batch.body.subarray(at, end + length) });
      at = end + length;
    }
    return parts;
  }
});

it("names the gateways of sources in partition 0 of the window log alone", () => {
  const { windows, dependencies } = merged([0, 1].map((sequence) => batchOf("traces", { resourceSpans: [] }, { sequence })));
  const gateways = (entries: readonly { readonly progress: readonly { readonly gateway?: string | undefined }[] }[]) =>
    entries.map(({ progress }) => progress.map(({ gateway }) => gateway ?? "-").join());
  const [first, ...others] = gateways(windows);
  expect(first).toMatch(/^[^-,]+,[^-,]+$/);
  expect(new Set([...others, ...gateways(dependencies)])).toEqual(new Set(["-,-"]));
});

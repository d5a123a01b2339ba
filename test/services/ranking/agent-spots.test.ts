import { describe, expect, it } from "vitest";
import type { SeriesQuery, StoredSeries } from "../../../contract/port.ts";
import { agentSpots } from "../../../services/ranking/agent-spots.ts";

const startMs = 1_800_000_000_000;
const windowMs = 10_000;
const fault = { fromMs: startMs + 600_000, toMs: startMs + 900_000 };
const atMs = (window: number) => startMs + window * windowMs;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => atMs(from + index));

function series(host: string, metric: string, windows: readonly number[], of: { state?: string; value?: number } = {}): StoredSeries {
  const { state, value = 1 } = of;
  return {
    key: {
      ...{ entity: `host/${host}`, metric: `headwater.agent.${metric}`, statistic: metric === "dropped" ? "rate" : "value" },
      attributes: state === undefined ? "source=kernel" : `state=${state},source=kernel`,
    },
    ...{ unit: "1", state: "tracked", readyAtMs: null },
    samples: windows.map((windowStartMs) => ({ windowStartMs, value, lower: null, upper: null, score: null })),
  };
}

/** As a store answers: what of the asked series lies in the asked range. */
function store(all: readonly StoredSeries[], asked: SeriesQuery[] = []) {
  return {
    series: (query: SeriesQuery) => {
      asked.push(query);
      const found = all.filter(({ key }) => key.metric === query.metric && query.entities.includes(key.entity));
      const cut = found.map((one) => ({
        ...one,
        samples: one.samples.filter(({ windowStartMs }) => windowStartMs >= query.fromMs && windowStartMs < query.toMs),
      }));
      return Promise.resolve(cut.filter(({ samples }) => samples.length > 0).slice(0, query.seriesMax));
    },
  };
}

const on = (...hosts: (string | null)[]) => hosts.map((host) => ({ host }));
const spotsOf = async (all: readonly StoredSeries[], entities = on("one", "one", null)) =>
  (await agentSpots(entities, { telemetry: store(all), fault, windowMs })).map(
    ({ what, cost, command }) => `${what}; ${cost} [${command}]`,
  );

describe("blind spots of agents", () => {
  it("are none where an agent told in every window, and none where there never was one", async () => {
    expect(await spotsOf([series("one", "level", range(0, 90))])).toEqual([]);
    expect(await spotsOf([])).toEqual([]);
    const asked: SeriesQuery[] = [];
    expect(await agentSpots(on(null), { telemetry: store([], asked), fault, windowMs })).toEqual([]);
    expect(asked).toEqual([]);
  });

  it("name an agent that is silent, since the end of the last window in which it told anything, up to a day later", async () => {
    const silent = (text: string) => [
      `the agent on one has been silent since ${text} UTC; what the kernel saw is missing for services on it [headwater agent --config headwater.yaml]`,
    ];
    expect(await spotsOf([series("one", "level", range(0, 88))])).toEqual(silent("2027-01-15 08:14:40"));
    expect(await spotsOf([series("one", "level", range(0, 89))])).toEqual([]);
    expect(await spotsOf([series("one", "level", range(0, 30))])).toEqual(silent("2027-01-15 08:05:00"));
    const hours = range(-7_200, -7_000);
    expect(await spotsOf([series("one", "level", hours)])).toEqual(silent("2027-01-14 12:33:20"));
    expect(await spotsOf([series("one", "level", range(-9_000, -8_900))])).toEqual([]);
  });

  it("do not depend on what was told after the fault, or by hosts elsewhere", async () => {
    const before = [series("one", "level", range(0, 70)), series("one", "given_up", range(62, 70), { state: "payload" })];
    const later = [
      series("one", "level", [...range(0, 70), ...range(90, 200)]),
      series("one", "given_up", [...range(62, 70), ...range(91, 99)], { state: "payload" }),
      series("one", "dropped", range(91, 99), { state: "kernel-data-ring" }),
      series("two", "level", range(0, 10)),
    ];
    expect(await spotsOf(later)).toEqual(await spotsOf(before));
  });

  it("name a silence within the fault that is over, the longest, and none before the fault", async () => {
    const windows = [...range(0, 20), ...range(50, 65), ...range(68, 70), ...range(75, 90)];
    expect(await spotsOf([series("one", "level", windows)])).toEqual([
      "the agent on one was silent from 2027-01-15 08:11:40 UTC to 2027-01-15 08:12:30 UTC; what the kernel saw is missing for services on it [headwater agent --config headwater.yaml]",
    ]);
    expect(await spotsOf([series("one", "level", [...range(0, 20), ...range(50, 90)])])).toEqual([]);
  });

  it("name what was given up with what that costs, the programs that are missing, and how much was lost where", async () => {
    const spots = await spotsOf([
      series("one", "level", range(0, 90)),
      series("one", "given_up", range(80, 90), { state: "payload" }),
      series("one", "given_up", range(85, 90), { state: "streams" }),
      series("one", "program.missing", range(0, 90), { state: "hw_block_done" }),
      series("one", "dropped", range(70, 72), { state: "kernel-data-ring", value: 1.5 }),
      series("one", "dropped", range(70, 71), { state: "record-unreadable", value: 0.1 }),
      series("one", "dropped", range(70, 80), { state: "ambiguous", value: 9 }),
      series("one", "dropped", range(70, 80), { state: "kernel-limited", value: 9 }),
      series("one", "dropped", range(10, 20), { state: "kernel-lifecycle-ring", value: 9 }),
    ]);
    expect(spots).toEqual([
      "the agent on one gave up payload, streams during the fault to keep its budget; requests to datastores and brokers are not seen, only their connections [headwater agent --config headwater.yaml (with agent.cpuBudget or agent.memoryMaxMb raised)]",
      "the agent on one works without hw_block_done; what these programs tell of the kernel is missing [headwater doctor]",
      "the agent on one lost records during the fault: 30 at kernel-data-ring, 1 at record-unreadable; counts of requests and connections there are too low, and events may be missing [headwater doctor]",
    ]);
  });

  it("are bounded: five agents by name, sorted, and a number; at most six queries over at most fifty hosts", async () => {
    const hosts = Array.from({ length: 60 }, (_, index) => `h-${String(index).padStart(2, "0")}`);
    const all = hosts.map((host) => series(host, "level", range(0, 30)));
    const asked: SeriesQuery[] = [];
    const spots = await agentSpots(on(...hosts.toReversed()), { telemetry: store(all, asked), fault, windowMs });
    expect(spots.map(({ what }) => what.replace(/since .*/, "since"))).toEqual([
      ...hosts.slice(0, 5).map((host) => `the agent on ${host} has been silent since`),
      "45 more agents were silent",
    ]);
    expect(asked.length).toBeLessThanOrEqual(6);
    expect(asked.every(({ entities }) => entities.length <= 50)).toBe(true);
  });
});

import { describe, expect, it } from "vitest";
import type { SeriesSummary } from "../../../contract/port.ts";
import type { OverviewProcess } from "../../../contract/route.ts";
import { silentAgents } from "../../../services/api/agent-troubles.ts";
import type { TroubleFacts } from "../../../services/api/trouble-facts.ts";
import { troublesOf } from "../../../services/api/troubles.ts";

const dayMs = 86_400_000;
const nowMs = 1_800_000_000_000;
const windowMs = 10_000;
const facts: TroubleFacts = {
  processes: [],
  stores: [],
  missing: [],
  unowned: [],
  deadLetters: { count: 0, isAll: "yes", kinds: [], bodiesLost: 0 },
  lostBatches: [],
  silentAgents: [],
  depths: [],
  behind: [],
  graphThroughMs: null,
};

function summary(entity: string, lastAtMs: number, metric = "headwater.agent.level"): SeriesSummary {
  const key = { entity, metric, statistic: "value", attributes: "source=kernel" } as const;
  return { key, unit: "1", state: "tracked", readyAtMs: null, firstAtMs: nowMs - dayMs, lastAtMs };
}

/** The agent's last window began so long ago, that of the others so long. */
function silent(agoMs: number, othersAgoMs: number | null, more: { sinceMs?: number } = {}) {
  const summaries = [summary("host/one", nowMs - agoMs), summary("web", nowMs - (othersAgoMs ?? agoMs), "process.cpu.utilization")];
  const newestWindowMs = nowMs - Math.min(agoMs, othersAgoMs ?? agoMs);
  return silentAgents(summaries, { newestWindowMs, windowMs, sourceSilentMs: 15_000, nowMs, sinceMs: nowMs - dayMs, ...more });
}

function process(more: Partial<OverviewProcess>): OverviewProcess {
  return {
    ...{
      id: "p",
      roles: ["gateway", "ingest"],
      host: "one",
      pid: 4,
      version: "0",
      startedAtMs: 0,
      state: "ready",
      reasons: [],
      silentMs: 0,
    },
    ...{ lostSinceMs: null, partitions: {}, ...more },
  };
}

describe("an agent", () => {
  it("is silent when others went on for two windows, since the end of its last one", () => {
    expect(silent(30_000, 20_000)).toEqual([]);
    expect(silent(40_000, 20_000)).toEqual([{ host: "one", sinceMs: nowMs - 30_000, by: "others" }]);
  });

  it("is silent by the clock where nobody else tells anything, once it is later than windows ever are", () => {
    expect(silent(42_000, null)).toEqual([]);
    expect(silent(42_001, null)).toEqual([{ host: "one", sinceMs: nowMs - 32_001, by: "clock" }]);
  });

  it("is given time to begin again after a start of the API, and is forgotten after a day", () => {
    expect(silent(600_000, 0, { sinceMs: nowMs - 31_999 })).toEqual([]);
    expect(silent(600_000, 0, { sinceMs: nowMs - 32_000 })).toHaveLength(1);
    expect(silent(dayMs + windowMs, 0)).toHaveLength(1);
    expect(silent(dayMs + windowMs + 1, 0)).toEqual([]);
  });

  it("is told as a trouble that does not change while it lasts", () => {
    const told = (sinceMs: number) => troublesOf({ ...facts, silentAgents: [{ host: "one", sinceMs, by: "clock" }] });
    expect(told(5)).toEqual([
      {
        id: "agent/one",
        weight: "weakened",
        sentence: "The agent on one is silent.",
        meaning:
          "What only the kernel tells is missing for services on this host. Nothing else is touched by that; verdicts name it as a blind spot.",
        details: [],
        command: "headwater agent --config headwater.yaml",
        commandHost: "one",
        sinceMs: 5,
      },
    ]);
    const { sinceMs: _, ...rest } = told(5)[0] ?? expect.fail("nothing is told");
    expect(told(9)[0]).toMatchObject(rest);
  });

  it("is not blamed for a flow that stands still, and is where others go on all the same", () => {
    const stopped = { ...facts, missing: [{ role: "ingest", why: "stopped", sinceMs: 1 }] } as const;
    const ids = (by: "clock" | "others") => troublesOf({ ...stopped, silentAgents: [{ host: "one", sinceMs: 5, by }] }).map(({ id }) => id);
    expect(ids("clock")).toEqual(["missing/ingest"]);
    expect(ids("others")).toEqual(["missing/ingest", "agent/one"]);
  });

  it("that its platform cannot run is told with the platform's words, once a host, and is nothing that the platform waits for", () => {
    const reason = "the agent cannot run: CAP_BPF is missing";
    const told = troublesOf({
      ...facts,
      processes: [process({ reasons: [reason] }), process({ id: "starts", host: "two", reasons: ["the agent is starting"] })],
    });
    expect(told.map(({ id, weight, sentence, details, commandHost }) => [id, weight, sentence, details, commandHost])).toEqual([
      ["agent/one", "weakened", "The agent on one does not observe.", [reason], "one"],
    ]);
    const both = troublesOf({
      ...facts,
      silentAgents: [{ host: "one", sinceMs: 5, by: "others" }],
      processes: [process({ reasons: [reason] })],
    });
    expect(both.map(({ sentence, details }) => [sentence, details])).toEqual([["The agent on one is silent.", [reason]]]);
    const waiting = troublesOf({
      ...facts,
      processes: [process({ state: "waiting", reasons: [reason, "Redis at r:1 cannot be reached"] })],
    });
    expect(waiting.map(({ id }) => id).sort()).toEqual(["agent/one", expect.stringMatching(/^waiting\//)]);
    expect(troublesOf({ ...facts, processes: [process({ state: "lost", reasons: [reason] })] }).map(({ id }) => id)).not.toContain(
      "agent/one",
    );
  });
});

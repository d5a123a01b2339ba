import { describe, expect, it } from "vitest";
import { Governor, kernelSignals } from "../../../services/agent/governor.ts";

const options = { wanted: "payload", cpuBudget: 0.05, memoryMaxBytes: 150e6, overMs: 5_000, calmMs: 30_000, returnShare: 0.6 } as const;

/** Looks once a second at a machine on which each level costs something; answers what was changed. */
function run(governor: Governor, seconds: number, cpuOf: (level: string) => number, fromS = 0): string[] {
  const changes: string[] = [];
  for (let second = fromS; second < fromS + seconds; second += 1) {
    const cpu = cpuOf(governor.level);
    const change = governor.observe({
      atMs: second * 1_000,
      agentCpu: cpu / 2,
      kernelCpu: cpu / 2,
      signalsCpu: new Map(),
      memoryBytes: 50e6,
    });
    if (change !== null) changes.push(`${second}: ${change.from} > ${change.to}`);
  }
  return changes;
}

describe("the governor", () => {
  it("gives up payload, streams, requests, connections in that order, one at a time, and says why", () => {
    const governor = new Governor(options);
    expect(run(governor, 60, () => 0.1)).toEqual([
      "5: payload > streams",
      "11: streams > requests",
      "17: requests > connections",
      "23: connections > nothing",
    ]);
    expect(governor.reason).toBe("connections is given up: agent and programs use 10.0 % of a core, more than 5.0 %");
  });

  it("does nothing about a short peak", () => {
    const governor = new Governor(options);
    expect([...run(governor, 4, () => 0.2), ...run(governor, 1, () => 0.01, 4), ...run(governor, 4, () => 0.2, 5)]).toEqual([]);
    expect(governor.reason).toBeNull();
  });

  it("takes back what it gave up once there is room, and waits longer when that was too early", () => {
    const governor = new Governor(options);
    const costs = (level: string) => (level === "payload" ? 0.08 : 0.02);
    const changes = run(governor, 400, costs);
    expect(changes.slice(0, 5)).toEqual([
      "5: payload > streams",
      "36: streams > payload",
      "42: payload > streams",
      "103: streams > payload",
      "109: payload > streams",
    ]);
    expect(changes.length).toBeLessThan(10);
    expect(run(governor, 2_000, () => 0.01, 400)).toHaveLength(1);
    expect([governor.level, governor.reason]).toEqual(["payload", null]);
  });

  it("stays between giving up and taking back", () => {
    const governor = new Governor(options);
    run(governor, 6, () => 0.1);
    expect(run(governor, 300, () => 0.04, 6)).toEqual([]);
  });

  it("gives up for memory as well", () => {
    const governor = new Governor(options);
    const cost = { agentCpu: 0, kernelCpu: 0.04, signalsCpu: new Map([["schedule", 0.04]] as const), memoryBytes: 200e6 };
    for (let second = 0; second < 6; second += 1) governor.observe({ ...cost, atMs: second * 1_000 });
    expect(governor.reason).toBe("payload is given up: the agent uses 191 MiB, more than 143 MiB");
  });

  describe("with signals beside the levels", () => {
    /** Looks once a second at a machine on which only what is observed costs; answers what was changed. */
    function runWith(governor: Governor, costs: Readonly<Record<string, number>>, toS: number, fromS = 0): string[] {
      const changes: string[] = [];
      for (let second = fromS; second < toS; second += 1) {
        const lost = governor.signalsGivenUp;
        const signalsCpu = new Map(kernelSignals.filter((signal) => !lost.includes(signal)).map((signal) => [signal, costs[signal] ?? 0]));
        const kernelCpu = [...signalsCpu.values()].reduce((sum, share) => sum + share, 0);
        const agentCpu = costs[governor.level] ?? 0;
        const change = governor.observe({ atMs: second * 1_000, agentCpu, kernelCpu, signalsCpu, memoryBytes: 50e6 });
        if (change !== null) changes.push(`${second}: ${change.signal ?? `${change.from} > ${change.to}`}`);
      }
      return changes;
    }
    const always = { payload: 0.06, streams: 0.06, requests: 0.06, connections: 0.06, nothing: 0.06 };

    it("gives up the dearest signal first, before requests, and says what it costs", () => {
      const governor = new Governor(options);
      const changes = runWith(governor, { ...always, schedule: 0.01, syscalls: 0.02 }, 24);
      expect(changes).toEqual(["5: payload > streams", "11: streams > requests", "17: syscalls", "23: schedule"]);
      expect(governor.reason).toBe(
        "schedule, which costs 1.0 % of a core, is given up: agent and programs use 7.0 % of a core, more than 5.0 %",
      );
      expect(runWith(governor, always, 60, 24)).toEqual(["29: requests > connections", "35: connections > nothing"]);
    });

    it("gives up a signal before any level when it costs more than all the rest", () => {
      const governor = new Governor(options);
      expect(runWith(governor, { payload: 0.02, schedule: 0.04, syscalls: 0.001 }, 30)).toEqual(["5: schedule"]);
      expect([governor.level, governor.signalsGivenUp]).toEqual(["payload", ["schedule"]]);
    });

    it("keeps a signal that costs next to nothing", () => {
      const changes = runWith(new Governor(options), { ...always, schedule: 0.004, syscalls: 0.001 }, 60);
      expect(changes.at(-1)).toBe("23: connections > nothing");
    });

    it("takes back the last thing first, and waits longer when that was too early", () => {
      const governor = new Governor(options);
      const costs = { ...always, schedule: 0.03, requests: 0.025, syscalls: 0 };
      expect(runWith(governor, costs, 300)).toEqual([
        "5: payload > streams",
        "11: streams > requests",
        "17: schedule",
        "48: schedule",
        "54: schedule",
        "115: schedule",
        "121: schedule",
        "242: schedule",
        "248: schedule",
      ]);
      expect(governor.signalsGivenUp).toEqual(["schedule"]);
      const room = { ...always, requests: 0.01, streams: 0.01, payload: 0.01 };
      expect(runWith(governor, room, 1_500, 300)).toEqual(["489: schedule", "730: requests > streams", "971: streams > payload"]);
      expect([governor.reason, governor.signalsGivenUp]).toEqual([null, []]);
    });
  });
});

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allPartitions } from "../../../contract/canonical.ts";
import { createPlatform, ManualClock } from "../../../services/platform.ts";
import { until } from "../../conformance/temporary.ts";
import { counted } from "../counted.ts";
import { SeveralProcesses } from "../several-processes.ts";
import { type Bench, client, openBench, server, startMs } from "./call-streams.ts";

let bench: Bench;
let processes: SeveralProcesses;
beforeEach(async () => {
  bench = await openBench();
  processes = new SeveralProcesses(bench.log);
});
afterEach(async () => {
  await bench.close();
});

function stageOf(name: string) {
  const clock = new ManualClock(startMs);
  const platform = createPlatform({ level: "silent", clock });
  const stage = bench.createStage({ platform, log: processes.as(name) });
  const look = async (): Promise<void> => {
    clock.advanceTo(clock.nowMs() + 500);
    for (let turns = 0; turns < 40; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const works = () => stage.partitions().dependency?.length ?? 0;
  return { stage, platform, look, works };
}

/** Calls from `from` to `to` in every trace partition. */
const calls = (number: number, at: number, from: string, to: string) =>
  Array.from({ length: 32 }, (_, index) => [
    client({ call: number + index, at, entity: from, peer: `${to}.local:80` }),
    server({ call: number + index, at: at + 5, entity: to }),
  ]).flat();

async function dependencies(at: number): Promise<string[]> {
  return (await bench.graph.asOf(startMs + at)).dependencies.map(({ id }) => id);
}

describe("the dependency log", () => {
  it("is worked on by one process; the other stands by and goes on when the first is gone", async () => {
    const first = stageOf("first");
    const second = stageOf("second");
    await first.stage.start();
    await second.stage.start();
    await bench.tell(2_000, calls(0, 1_000, "web", "cart"));
    await bench.tell(8_000);
    await Promise.all([first.stage.settle(), second.stage.settle()]);
    expect(first.stage.partitions()).toEqual({ dependency: allPartitions });
    expect(second.stage.partitions()).toEqual({});
    expect(second.stage.reasons()).toEqual([]);
    expect(await dependencies(7_000)).toEqual(["web>cart"]);
    processes.expire("first");
    await until("the second has taken over", async () => {
      await second.look();
      return second.works() === 16;
    });
    await bench.tell(10_000, calls(100, 9_000, "web", "pay"));
    await bench.tell(16_000);
    await second.stage.settle();
    expect(await dependencies(15_000)).toEqual(["web>cart", "web>pay"]);
    await until("the first has noticed", () => first.works() === 0);
    await first.stage.stop();
    await second.stage.stop();
  });

  it("of which one partition is lost is given up whole, and taken up anew from the checkpoints", async () => {
    const only = stageOf("only");
    await only.stage.start();
    await bench.tell(2_000, calls(0, 1_000, "web", "cart"));
    await bench.tell(3_000);
    await only.stage.settle();
    // Somebody has it for a moment, as after a pause.
    await (await bench.log.own("dependency", 3)).release();
    await until("it has noticed", () => only.works() === 0);
    expect(await counted(only.platform, "headwater_topology_partitions_lost_total")).toBe(1);
    expect(only.stage.reasons()).toHaveLength(1);
    await until("all is owned again", async () => {
      await only.look();
      return only.works() === 16;
    });
    await bench.tell(8_000);
    await bench.tell(10_000, calls(100, 9_000, "web", "pay"));
    await bench.tell(16_000);
    await only.stage.settle();
    expect(await dependencies(15_000)).toEqual(["web>cart", "web>pay"]);
    await only.look();
    expect(only.stage.reasons()).toEqual([]);
    await only.stage.stop();
  });
});

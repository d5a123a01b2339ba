import { expect, test } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { Outages } from "../../../contract/outage.ts";
import type { Queue } from "../../../contract/port.ts";
import { QueueWatch } from "../../../services/gateway/queue-watch.ts";
import { ManualClock } from "../../../services/platform.ts";
import { until } from "../../conformance/temporary.ts";

function world() {
  const lines: string[] = [];
  const line = (_fields: object, message: string) => void lines.push(message);
  const state: { failure: HeadwaterError | null; asked: number } = { failure: null, asked: 0 };
  const queue = {
    publish: async () => {
      if (state.failure !== null) throw state.failure;
    },
    depth: async () => {
      state.asked += 1;
      if (state.failure !== null) throw state.failure;
      return 0;
    },
  } as unknown as Queue;
  const outages = new Outages({ name: "gateway", clock: new ManualClock(0), logger: { info: line, warn: line } });
  return { state, lines, watch: new QueueWatch(queue, outages) };
}

const change = { id: "c", kind: "deploy" as const, entity: "shop", atMs: 0, summary: "a deploy", actor: null, undo: null };

test("a queue that is away is a reason until it answers again, though nobody sends anything meanwhile", async () => {
  const { state, lines, watch } = world();
  state.failure = new HeadwaterError("QUEUE_UNAVAILABLE", "Redis at 127.0.0.1:1 cannot be reached");
  await expect(watch.publish("change", change)).rejects.toMatchObject({ code: "QUEUE_UNAVAILABLE" });
  expect(watch.reasons()).toEqual(["gateway has waited for 0 s: Redis at 127.0.0.1:1 cannot be reached"]);
  state.failure = null;
  await until("it was asked again", () => watch.reasons().length === 0);
  expect(lines).toHaveLength(1);
});

test("a queue that is full answers: that is no outage, and nobody asks it for nothing", async () => {
  const { state, lines, watch } = world();
  state.failure = new HeadwaterError("QUEUE_FULL", "telemetry.ingest is full");
  await expect(watch.publish("change", change)).rejects.toMatchObject({ code: "QUEUE_FULL" });
  expect(watch.reasons()).toEqual([]);
  expect(lines).toEqual([]);
  expect(state.asked).toBe(0);
});

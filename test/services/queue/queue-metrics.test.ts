import { expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { createMetrics, SystemClock } from "../../../services/platform.ts";
import { openMemoryQueue } from "../../../services/queue/memory-queue.ts";
import { queueMetrics } from "../../../services/queue/queue-metrics.ts";
import { aChange } from "../../conformance/sample-messages.ts";
import { useTemporaryFolder } from "../../conformance/temporary.ts";

const folder = useTemporaryFolder();

it("tells depth and dead letters as they are when asked", async () => {
  const queue = await openMemoryQueue({ directory: folder.path, clock: new SystemClock(), onCounted: () => undefined });
  const metrics = createMetrics();
  queueMetrics(queue, metrics);
  await queue.publish("change", aChange("1"));
  expect(await metrics.registry.metrics()).toContain('headwater_queue_depth{topic="change",reader="incident"} 1\n');
  const handler = async () => {
    throw new HeadwaterError("REQUEST_INVALID", "never");
  };
  await queue.subscribe("change", "incident", handler, { concurrency: 1 });
  await queue.drain();
  const after = await metrics.registry.metrics();
  expect(after).toContain('headwater_queue_depth{topic="change",reader="incident"} 0\n');
  expect(after).toContain('headwater_queue_dead_letters{topic="change",reader="incident"} 1\n');
  await queue.close();
});

it("has no value while the queue cannot be reached, and the other metrics are there", async () => {
  const metrics = createMetrics();
  let depth: number | null = 3;
  const ask = async () => {
    if (depth === null) throw new HeadwaterError("QUEUE_UNAVAILABLE", "away");
    return new Map([["change.incident", depth]]);
  };
  queueMetrics({ depths: ask, deadLettersHeld: ask }, metrics);
  metrics.gauge("headwater_other", "another").set(1);
  expect(await metrics.registry.metrics()).toContain('headwater_queue_depth{topic="change",reader="incident"} 3\n');
  depth = null;
  const text = await metrics.registry.metrics();
  expect(text).not.toContain("headwater_queue_depth{");
  expect(text).toContain("headwater_other 1\n");
});

import { afterEach, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { EventStore, Queue } from "../../../contract/port.ts";
import { createIncident } from "../../../services/incident/incident.ts";
import { createMetrics, ManualClock, type Platform } from "../../../services/platform.ts";
import type { Stage } from "../../../services/stage.ts";
import { until } from "../../conformance/temporary.ts";
import { counted } from "../counted.ts";
import { SeveralProcesses } from "../several-processes.ts";
import { epochMs, failing, type Harness, healthy, started } from "./harness.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
});

interface Process {
  readonly stage: Stage;
  readonly platform: Platform;
  readonly lines: string[];
  look(): Promise<void>;
  isWorking(): boolean;
}

interface World {
  readonly harness: Harness;
  readonly processes: SeveralProcesses;
  process(name: string, ports?: { events?: EventStore; queue?: Queue }): Process;
}

/** The harness' own stage makes way for stages in processes of their own. */
async function world(): Promise<World> {
  const harness = await started();
  await harness.stage.stop();
  const processes = new SeveralProcesses(harness.log);
  return {
    harness,
    processes,
    process(name, ports = {}) {
      const clock = new ManualClock(epochMs);
      const lines: string[] = [];
      const line = (_fields: object, message: string) => void lines.push(message);
      const logger = { debug: line, info: line, warn: line, error: line };
      const platform: Platform = { clock, logger, metrics: createMetrics(), random: () => 0.5 };
      const { events, queue, graph } = { ...harness, ...ports };
      const objective = { availabilityTarget: 0.995, latencyTarget: 0.99, latencyFactor: 2 };
      const log = processes.as(name);
      const stage = createIncident({ platform, queue, log, events, graph, window: { windowMs: 1_000 }, objective, timeScale: 60 });
      cleanups.push(() => stage.stop());
      const look = async (): Promise<void> => {
        clock.advanceTo(clock.nowMs() + 500);
        for (let turns = 0; turns < 40; turns += 1) await new Promise((resolve) => setImmediate(resolve));
      };
      return { stage, platform, lines, look, isWorking: () => stage.partitions().anomaly?.length === 16 };
    },
  };
}

async function takesOver(process: Process): Promise<void> {
  await until("it works", async () => {
    await process.look();
    return process.isWorking();
  });
}

const change = (id: string) => ({
  id,
  kind: "deploy" as const,
  entity: "shop",
  atMs: epochMs,
  summary: "a deploy",
  actor: null,
  undo: null,
});

async function recorded(harness: Harness): Promise<number> {
  return (await harness.events.read("change")).length;
}

it("a process that stands by subscribes to nothing, takes over where the other has stopped, and takes what came meanwhile", async () => {
  const { harness, process } = await world();
  const subscribed: string[] = [];
  const queue: Queue = {
    ...queueOf(harness.queue),
    subscribe: async (topic, reader, handler, options) => {
      subscribed.push(topic);
      return await harness.queue.subscribe(topic, reader, handler, options);
    },
  };
  const first = process("first");
  const second = process("second", { queue });
  await first.stage.start();
  await second.stage.start();
  expect([first.isWorking(), second.isWorking()]).toEqual([true, false]);
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 46, failing);
  await Promise.all([first.stage.settle(), second.stage.settle()]);
  const [incident] = await harness.incidents();
  expect(incident).toMatchObject({ status: "open" });
  expect(subscribed).toEqual([]);
  await first.stage.stop();
  await harness.queue.publish("change", change("between"));
  await takesOver(second);
  expect(subscribed).toEqual(["change", "alert", "verdict"]);
  await harness.windows(46, 75, healthy);
  await second.stage.settle();
  expect(await harness.incidents()).toMatchObject([{ id: incident?.id, status: "resolved" }]);
  expect(await recorded(harness)).toBe(1);
  expect(await counted(second.platform, "headwater_incident_partitions")).toBe(16);
});

it("a process that was paused gives up when it wakes, and both together decide once", async () => {
  const { harness, processes, process } = await world();
  const first = process("first");
  await first.stage.start();
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 44, failing);
  await first.stage.settle();
  processes.expire("first");
  const second = process("second", { queue: withoutSubscription(harness.queue) });
  await second.stage.start();
  await harness.windows(44, 50, failing);
  await until("the first has noticed", () => !first.isWorking());
  await second.stage.settle();
  const [incident, ...others] = await harness.incidents();
  expect(others).toEqual([]);
  const events = await harness.eventsOf(incident!.id);
  expect(events.filter(({ type }) => type === "opened")).toHaveLength(1);
  expect(new Set(events.map((event) => JSON.stringify(event))).size).toBe(events.length);
  expect(first.stage.reasons()).toHaveLength(1);
});

it("what was lost for a moment is begun anew from the checkpoint in the same process, with its queues", async () => {
  const { harness, process } = await world();
  const only = process("only");
  await only.stage.start();
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 46, failing);
  await only.stage.settle();
  await (await harness.log.own("anomaly", 9)).release();
  await until("it has noticed", () => !only.isWorking());
  await takesOver(only);
  await harness.queue.publish("change", change("after"));
  await harness.windows(46, 75, healthy);
  await only.stage.settle();
  expect(await harness.incidents()).toMatchObject([{ status: "resolved" }]);
  expect(await recorded(harness)).toBe(1);
});

it("an error that does not pass is tried once a look, told once, and ends nothing", async () => {
  const { harness, process } = await world();
  let reads = 0;
  const events: EventStore = {
    ...eventsOf(harness.events),
    streams: async () => {
      reads += 1;
      throw new HeadwaterError("SERVER_REFUSED", "the password is wrong");
    },
  };
  const only = process("only", { events });
  await only.stage.start();
  await harness.windows(0, 40, healthy);
  await harness.windows(40, 46, failing);
  let looks = 0;
  await until("it has tried six times", async () => {
    if (!only.isWorking()) {
      expect(only.stage.reasons()).toEqual(reads === 0 ? [] : [expect.stringContaining("the password is wrong")]);
      await only.look();
      looks += 1;
    } else await new Promise((resolve) => setImmediate(resolve));
    return reads >= 6;
  });
  expect(reads).toBeLessThanOrEqual(looks + 1);
  expect(only.lines.filter((line) => line.includes("waits"))).toHaveLength(1);
});

it("a message waits for a store that is away, however long, and is no dead letter", async () => {
  const { harness, process } = await world();
  let refusals = 0;
  let isAway = true;
  const events: EventStore = {
    ...eventsOf(harness.events),
    append: async (stream, appended, options) => {
      if (!isAway) return await harness.events.append(stream, appended, options);
      refusals += 1;
      throw new HeadwaterError("STORE_UNAVAILABLE", "PostgreSQL is away");
    },
  };
  const only = process("only", { events });
  await only.stage.start();
  await harness.queue.publish("change", change("patient"));
  await until("it was tried more often than a queue tries", () => refusals > 7);
  expect(only.stage.reasons()).toEqual(["incident has waited for 0 s: PostgreSQL is away"]);
  expect(only.lines).toHaveLength(1);
  isAway = false;
  await only.stage.settle();
  expect(await recorded(harness)).toBe(1);
  expect(await harness.queue.deadLetters({ lettersMax: 10 })).toEqual([]);
  expect(only.stage.reasons()).toEqual([]);
});

it("a stop while a store is away ends, and the message stays in the queue", async () => {
  const { harness, process } = await world();
  let refusals = 0;
  const events: EventStore = {
    ...eventsOf(harness.events),
    append: async () => {
      refusals += 1;
      throw new HeadwaterError("STORE_UNAVAILABLE", "PostgreSQL is away");
    },
  };
  const first = process("first", { events });
  await first.stage.start();
  await harness.queue.publish("change", change("patient"));
  await until("it was tried", () => refusals > 0);
  await first.stage.stop();
  expect(await harness.queue.depth("change", "incident")).toBe(1);
  const second = process("second");
  await second.stage.start();
  (harness.platform.clock as ManualClock).advanceTo(epochMs + 1_000);
  await until("the change is recorded", async () => (await recorded(harness)) === 1);
});

/** Ports as objects of their own, so that a test may replace a method. */
function eventsOf(events: EventStore): EventStore {
  return {
    append: (stream, appended, options) => events.append(stream, appended, options),
    read: (stream, options) => events.read(stream, options),
    streams: (prefix) => events.streams(prefix),
    subscribe: (options, handler) => events.subscribe(options, handler),
    close: () => events.close(),
  };
}

function queueOf(queue: Queue): Queue {
  return {
    publish: (topic, message) => queue.publish(topic, message),
    subscribe: (topic, reader, handler, options) => queue.subscribe(topic, reader, handler, options),
    depth: (topic, reader) => queue.depth(topic, reader),
    deadLetters: (options) => queue.deadLetters(options),
    retryDeadLetter: (id) => queue.retryDeadLetter(id),
    dropDeadLetter: (id) => queue.dropDeadLetter(id),
    drain: () => queue.drain(),
    close: () => queue.close(),
  };
}

/** The queue in memory has one subscriber a topic, which here is the paused process. */
function withoutSubscription(queue: Queue): Queue {
  return { ...queueOf(queue), subscribe: async () => async () => undefined };
}

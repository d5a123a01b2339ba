import { expect, test } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { Presence, ProcessStatus } from "../../../contract/port.ts";
import { ManualClock } from "../../../services/platform.ts";
import { type AnnouncerOptions, createAnnouncer } from "../../../services/presence/announcer.ts";
import { openMemoryPresence } from "../../../services/presence/memory-presence.ts";
import { aStatus } from "../../conformance/sample-process.ts";

/** Lets everything happen that waits for nothing but its turn. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function pass(clock: ManualClock, durationMs: number): Promise<void> {
  const untilMs = clock.nowMs() + durationMs;
  while (clock.nowMs() < untilMs) {
    clock.advanceTo(Math.min(untilMs, clock.nowMs() + 100));
    await turn();
  }
}

async function announcerOn(wrap: (presence: Presence) => Presence = (presence) => presence, more: Partial<AnnouncerOptions> = {}) {
  const clock = new ManualClock(1_000_000);
  const presence = await openMemoryPresence({ clock, onCounted: () => undefined });
  const announced: number[] = [];
  const told: string[] = [];
  let state: ProcessStatus["state"] = "starting";
  const watched: Presence = {
    announce: async (status) => {
      announced.push(clock.nowMs() - 1_000_000);
      await presence.announce(status);
    },
    list: () => presence.list(),
    withdraw: (id) => presence.withdraw(id),
    close: () => presence.close(),
  };
  const announcer = createAnnouncer({
    presence: wrap(watched),
    clock,
    status: () => aStatus("p-1", { state }),
    onError: (error) => told.push(error.code),
    onRecovered: ({ lastedMs, failures }) => told.push(`back after ${lastedMs} ms, ${failures} failures`),
    ...more,
  });
  const become = (next: ProcessStatus["state"]): void => {
    state = next;
  };
  return { clock, presence, announced, told, announcer, become };
}

test("a process announces itself at once and every 2 s, each time as it is then, and is off the list after stop", async () => {
  const { clock, presence, announced, announcer, become } = await announcerOn();
  await announcer.start();
  expect((await presence.list()).map(({ state }) => state)).toEqual(["starting"]);
  become("ready");
  await pass(clock, 6_500);
  expect(announced).toEqual([0, 2_000, 4_000, 6_000]);
  expect((await presence.list()).map(({ state }) => state)).toEqual(["ready"]);
  await announcer.stop();
  await announcer.stop();
  expect(await presence.list()).toEqual([]);
  await pass(clock, 10_000);
  expect(announced).toHaveLength(4);
});

test("an outage is told once when it begins and once when it is over, and is over soon after the server is back", async () => {
  let isAway = false;
  const { clock, told, announced, announcer } = await announcerOn((presence) => ({
    ...presence,
    announce: (status) =>
      isAway ? Promise.reject(new HeadwaterError("QUEUE_UNAVAILABLE", "Redis at x cannot be reached")) : presence.announce(status),
  }));
  await announcer.start();
  isAway = true;
  await pass(clock, 30_000);
  expect(told).toEqual(["QUEUE_UNAVAILABLE"]);
  isAway = false;
  await pass(clock, 600);
  expect(told).toEqual(["QUEUE_UNAVAILABLE", "back after 28500 ms, 57 failures"]);
  await pass(clock, 4_000);
  expect(announced.length).toBeGreaterThanOrEqual(3);
  isAway = true;
  await pass(clock, 3_000);
  expect(told.filter((text) => text === "QUEUE_UNAVAILABLE")).toHaveLength(2);
  await announcer.stop();
});

test("a start while the server is away resolves, and the process appears later", async () => {
  let isAway = true;
  const { clock, presence, told, announcer } = await announcerOn((port) => ({
    ...port,
    announce: (status) => (isAway ? Promise.reject(new HeadwaterError("QUEUE_UNAVAILABLE", "away")) : port.announce(status)),
  }));
  await announcer.start();
  expect(told).toEqual(["QUEUE_UNAVAILABLE"]);
  isAway = false;
  await pass(clock, 1_000);
  expect(await presence.list()).toHaveLength(1);
  await announcer.stop();
});

test("stop takes bounded time when the server does not answer, or refuses", async () => {
  for (const withdraw of [
    () => new Promise<void>(() => undefined),
    () => Promise.reject(new HeadwaterError("QUEUE_UNAVAILABLE", "away")),
  ]) {
    const { clock, announcer } = await announcerOn((presence) => ({ ...presence, withdraw }));
    await announcer.start();
    let stopped = false;
    const stopping = announcer.stop().then(() => {
      stopped = true;
    });
    await pass(clock, 2_000);
    await turn();
    expect(stopped).toBe(true);
    await stopping;
  }
});

test("an announcement that is under way at stop does not put the process back on the list", async () => {
  let finish = (): void => undefined;
  const { presence, announcer } = await announcerOn((port) => ({
    ...port,
    announce: async (status) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      await port.announce(status);
    },
  }));
  void announcer.start();
  const stopping = announcer.stop();
  await turn();
  finish();
  await stopping;
  expect(await presence.list()).toEqual([]);
});

/** What every EventStore does, whatever it is made of. */
import { describe, expect, it } from "vitest";
import { HeadwaterError } from "../../contract/error.ts";
import type { EventStore, StoredEvent } from "../../contract/port.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { until } from "./temporary.ts";

const fromStart = { afterPosition: 0, streamPrefix: "" };

export function eventStoreConformance(name: string, newPlace: () => Promise<Place<EventStore>>): void {
  describe(`EventStore: ${name}`, () => {
    let place: Place<EventStore>;
    let store: EventStore;
    inFreshPlaces(newPlace, (fresh, opened) => {
      place = fresh;
      store = opened;
    });

    it("appends to a stream and reads it back, numbered from 1, positions rising over all streams", async () => {
      expect(await store.append("a", [{ n: 1 }, { n: 2, text: "ü\u2028" }], { expectedSequence: 0 })).toBe(2);
      expect(await store.append("b", [null], { expectedSequence: 0 })).toBe(1);
      expect(await store.append("a", ["3"], { expectedSequence: 2 })).toBe(3);
      const events = await store.read("a");
      expect(events.map(({ stream, sequence, data }) => ({ stream, sequence, data }))).toEqual([
        { stream: "a", sequence: 1, data: { n: 1 } },
        { stream: "a", sequence: 2, data: { n: 2, text: "ü\u2028" } },
        { stream: "a", sequence: 3, data: "3" },
      ]);
      const [b] = await store.read("b");
      expect(events[1]?.position).toBeLessThan(b?.position ?? 0);
      expect(b?.position).toBeLessThan(events[2]?.position ?? 0);
      expect((await store.read("a", { afterSequence: 1, eventsMax: 1 })).map(({ sequence }) => sequence)).toEqual([2]);
      expect(await store.read("unknown")).toEqual([]);
    });

    it("refuses an append that expects another number of events, and writes nothing of it", async () => {
      await store.append("a", [1], { expectedSequence: 0 });
      for (const expectedSequence of [0, 2]) {
        await expect(store.append("a", [2, 3], { expectedSequence })).rejects.toMatchObject({ code: "CONFLICT", retriable: true });
      }
      await expect(store.append("b", [1], { expectedSequence: 1 })).rejects.toMatchObject({ code: "CONFLICT" });
      expect(await store.read("a")).toHaveLength(1);
      expect(await store.streams("")).toEqual(["a"]);
    });

    it("lets one of several concurrent appends to a stream win", async () => {
      const results = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => store.append("a", [n], { expectedSequence: 0 })));
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(await store.read("a")).toHaveLength(1);
    });

    it("lists the streams with a prefix, sorted by code unit, taking the prefix literally", async () => {
      for (const stream of ["incident/b", "incident/B", "incident%", "change", "incident/a", "incident/\u{1F600}", "incident/\uFFFD"]) {
        await store.append(stream, [1], { expectedSequence: 0 });
      }
      expect(await store.streams("incident/")).toEqual(["incident/B", "incident/a", "incident/b", "incident/\u{1F600}", "incident/\uFFFD"]);
      expect(await store.streams("incident/\u{1F600}")).toEqual(["incident/\u{1F600}"]);
      expect(await store.streams("incident%")).toEqual(["incident%"]);
    });

    it("gives a subscriber what was there and then what comes, in order, without gaps or repeats", async () => {
      const write = async (from: number, to: number) => {
        for (let n = from; n < to; n += 1) await store.append(`s/${n % 7}`, [n], { expectedSequence: Math.floor(n / 7) });
      };
      await write(0, 600);
      const got: StoredEvent[] = [];
      let running = 0;
      const stop = await store.subscribe(fromStart, async (event) => {
        running += 1;
        expect(running).toBe(1);
        if (event.position % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        got.push(event);
        running -= 1;
      });
      await write(600, 900);
      await until("the subscriber has everything", () => got.length >= 900);
      await write(900, 910);
      await until("the subscriber has the rest", () => got.length >= 910);
      expect(got.map(({ data }) => data)).toEqual(Array.from({ length: 910 }, (_, n) => n));
      await stop();
      await write(910, 911);
      expect(got).toHaveLength(910);
    });

    it("gives a subscriber only the streams and positions it asked for", async () => {
      await store.append("a/1", ["first", "second"], { expectedSequence: 0 });
      await store.append("b/1", ["third"], { expectedSequence: 0 });
      const [first] = await store.read("a/1");
      const got: unknown[] = [];
      const stop = await store.subscribe(
        { afterPosition: first?.position ?? 0, streamPrefix: "a/" },
        async ({ data }) => void got.push(data),
      );
      await store.append("b/1", ["fourth"], { expectedSequence: 1 });
      await store.append("a/2", ["fifth"], { expectedSequence: 0 });
      await until("the last event has come", () => got.includes("fifth"));
      expect(got).toEqual(["second", "fifth"]);
      await stop();
    });

    it("calls a subscriber again that failed for a while, and goes on past an event that it can never handle", async () => {
      await store.append("a", ["away", "never", "fine"], { expectedSequence: 0 });
      const calls: unknown[] = [];
      const stop = await store.subscribe(fromStart, async ({ data }) => {
        calls.push(data);
        if (data === "away" && calls.length < 3) throw new HeadwaterError("STORE_UNAVAILABLE", "away");
        if (data === "never") throw new TypeError("never");
      });
      await until("the last event has come", () => calls.includes("fine"));
      expect(calls).toEqual(["away", "away", "away", "never", "fine"]);
      expect(place.counts.of("event_store_handler_retried")).toBe(2);
      expect(place.counts.of("event_store_events_skipped")).toBe(1);
      await stop();
    });

    it("is the same after it was opened again", async () => {
      await store.append("a", [1, 2], { expectedSequence: 0 });
      const before = await store.read("a");
      await store.close();
      store = await place.open();
      expect(await store.read("a")).toEqual(before);
      expect(await store.append("a", [3], { expectedSequence: 2 })).toBe(3);
      expect((await store.read("a")).at(-1)?.position).toBeGreaterThan(before.at(-1)?.position ?? 0);
    });

    it("waits at close for a running subscriber and then refuses", async () => {
      await store.append("a", [1], { expectedSequence: 0 });
      let ended = false;
      let release: (() => void) | null = null;
      await store.subscribe(fromStart, async () => {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        ended = true;
      });
      await until("the subscriber runs", () => release !== null);
      const closed = store.close();
      (release as (() => void) | null)?.();
      await closed;
      expect(ended).toBe(true);
      await expect(store.append("a", [2], { expectedSequence: 1 })).rejects.toMatchObject({ code: "STOPPING" });
    });
  });
}

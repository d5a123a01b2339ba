/** What every Presence does, whatever it is made of. */
import { describe, expect, it } from "vitest";
import type { Presence } from "../../contract/port.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { aStatus } from "./sample-process.ts";

export interface PresencePlace extends Place<Presence> {
  /** Lets that much of the shared time pass. */
  pass(durationMs: number): Promise<void>;
}

export function presenceConformance(name: string, newPlace: () => Promise<PresencePlace>): void {
  describe(`Presence: ${name}`, () => {
    let place: PresencePlace;
    let presence: Presence;
    inFreshPlaces<Presence>(
      async () => {
        place = await newPlace();
        return place;
      },
      (_fresh, opened) => {
        presence = opened;
      },
    );

    const idsOf = async (): Promise<string[]> => (await presence.list()).map(({ id }) => id);

    it("lists nobody at first, and a process as it announced itself", async () => {
      expect(await presence.list()).toEqual([]);
      const status = aStatus("p-1", {
        roles: ["topology", "incident"],
        host: "hôst-ü",
        state: "waiting",
        reasons: ["Redis at 127.0.0.1:1 cannot be reached", "another"],
        partitions: { dependency: [0, 3, 15] },
        lostBatches: [{ gateway: "g-1", foundAtMs: 1_000, batches: 3 }],
      });
      await presence.announce(status);
      const [seen, ...others] = await presence.list();
      expect(others).toEqual([]);
      expect(seen).toMatchObject(status);
      expect(seen?.atMs).toBeGreaterThan(0);
      expect((seen?.readAtMs ?? 0) - (seen?.atMs ?? 0)).toBeGreaterThanOrEqual(0);
    });

    it("knows a process by its id: the newest announcement counts, and tells how long it has been silent", async () => {
      await presence.announce(aStatus("p-1", { state: "starting" }));
      await presence.announce(aStatus("p-2"));
      await place.pass(7_000);
      await presence.announce(aStatus("p-1", { state: "ready" }));
      const [first, second] = await presence.list();
      expect([first?.id, first?.state, second?.id]).toEqual(["p-1", "ready", "p-2"]);
      expect((first?.readAtMs ?? 0) - (first?.atMs ?? 0)).toBeLessThan(5_000);
      expect((second?.readAtMs ?? 0) - (second?.atMs ?? 0)).toBeGreaterThanOrEqual(7_000);
    });

    it("lists by first role, then by id", async () => {
      await presence.announce(aStatus("b", { roles: ["ranking"] }));
      await presence.announce(aStatus("c", { roles: ["gateway", "ranking"] }));
      await presence.announce(aStatus("a", { roles: ["ranking"] }));
      await presence.announce(aStatus("d", { roles: [] }));
      expect(await idsOf()).toEqual(["d", "c", "a", "b"]);
    });

    it("takes off the list who withdraws, and is not troubled by who is not on it", async () => {
      await presence.announce(aStatus("p-1"));
      await presence.announce(aStatus("p-2"));
      await presence.withdraw("p-1");
      await presence.withdraw("p-1");
      await presence.withdraw("never there");
      expect(await idsOf()).toEqual(["p-2"]);
      await presence.announce(aStatus("p-1"));
      expect(await idsOf()).toEqual(["p-1", "p-2"]);
    });

    it("keeps who is silent for an hour, forgets who is silent for longer, and counts that", async () => {
      await presence.announce(aStatus("old"));
      await place.pass(3_590_000);
      expect(await idsOf()).toEqual(["old"]);
      await presence.announce(aStatus("new"));
      await place.pass(20_000);
      expect(await idsOf()).toEqual(["new"]);
      expect(place.counts.of("presence_processes_expired")).toBe(1);
      expect(place.counts.of("presence_processes_evicted")).toBe(0);
    });

    it("keeps at most 1,000 processes, those heard of last, and counts the others", async () => {
      await presence.announce(aStatus("first"));
      await place.pass(1_000);
      await Promise.all(Array.from({ length: 999 }, (_, n) => presence.announce(aStatus(`p-${n}`))));
      expect(await idsOf()).toHaveLength(1_000);
      expect(place.counts.of("presence_processes_evicted")).toBe(0);
      await place.pass(1_000);
      await presence.announce(aStatus("last"));
      const ids = await idsOf();
      expect(ids).toHaveLength(1_000);
      expect([ids.includes("first"), ids.includes("last")]).toEqual([false, true]);
      expect(place.counts.of("presence_processes_evicted")).toBe(1);
    });

    it("cuts what is too long instead of refusing the process", async () => {
      const reasons = Array.from({ length: 30 }, (_, n) => `${n} ${"x".repeat(2_000)}`);
      await presence.announce(aStatus("p-1", { reasons, host: "h".repeat(2_000), version: "v".repeat(2_000) }));
      const [seen] = await presence.list();
      expect(seen?.reasons).toHaveLength(20);
      expect(seen?.reasons.every((reason) => reason.length === 500)).toBe(true);
      expect([seen?.host.length, seen?.version.length]).toEqual([256, 256]);
    });

    it("is not changed by what the caller does with its objects afterwards", async () => {
      const partitions = { window: [1, 2] };
      await presence.announce(aStatus("p-1", { partitions }));
      partitions.window.push(3);
      const [seen] = await presence.list();
      expect(seen?.partitions).toEqual({ window: [1, 2] });
      (seen!.partitions.window as number[]).push(4);
      expect((await presence.list())[0]?.partitions).toEqual({ window: [1, 2] });
    });

    it("fails with QUEUE_UNAVAILABLE once it is closed; closing twice is one", async () => {
      await presence.close();
      await presence.close();
      for (const work of [presence.announce(aStatus("p-1")), presence.list(), presence.withdraw("p-1")]) {
        await expect(work).rejects.toMatchObject({ code: "QUEUE_UNAVAILABLE", retriable: true });
      }
    });
  });
}

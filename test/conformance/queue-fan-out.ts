/** What every Queue does for a topic with several readers. */
import { describe, expect, it } from "vitest";
import { queueTopics } from "../../contract/topic.ts";
import type { TopicTable } from "../../services/queue/topic-table.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { type AnyQueue, type NewQueuePlace, refuse } from "./queue.ts";
import { aChange, aTelemetryBatch } from "./sample-messages.ts";

/** No topic of today has two readers. */
const fannedOut: TopicTable = {
  telemetry: { ...queueTopics.telemetry, readers: ["ingest", "detection"] },
  change: { ...queueTopics.change, readers: ["incident", "ranking"], depthMax: 3 },
};

export function queueFanOutConformance(name: string, newPlace: NewQueuePlace): void {
  describe(`Queue with several readers of a topic: ${name}`, () => {
    /** A reader that the topic of today does not have. */
    const other = { telemetry: "detection" as "ingest", change: "ranking" as "incident" };
    let place: Place<AnyQueue>;
    let queue: AnyQueue;
    inFreshPlaces(
      () => newPlace({ topics: fannedOut }),
      (fresh, opened) => {
        place = fresh;
        queue = opened;
      },
    );

    it("hands every message, with its body, to each reader once, whatever the others do", async () => {
      const published = ["1", "2"].map((id) => aTelemetryBatch(id, 500));
      const got: unknown[] = [];
      const late: unknown[] = [];
      await queue.subscribe("telemetry", "ingest", async (batch) => void got.push(batch), { concurrency: 1 });
      for (const batch of published) await queue.publish("telemetry", batch);
      await queue.drain();
      expect(got).toEqual(published);
      expect(await queue.depth("telemetry", other.telemetry)).toBe(2);
      await queue.close();
      queue = await place.open();
      await queue.subscribe("telemetry", other.telemetry, async (batch) => void late.push(batch), { concurrency: 1 });
      await queue.drain();
      expect(late).toEqual(published);
      expect(got).toHaveLength(2);
    });

    it("keeps a dead letter of one reader from the others, also when it is tried again", async () => {
      let isReady = false;
      const got: string[] = [];
      const retried: string[] = [];
      const handler = async ({ id }: { id: string }) => (isReady ? void retried.push(id) : await refuse("not yet"));
      await queue.subscribe("telemetry", other.telemetry, handler, { concurrency: 1 });
      await queue.subscribe("telemetry", "ingest", async ({ id }) => void got.push(id), { concurrency: 1 });
      await queue.publish("telemetry", aTelemetryBatch("1", 500));
      await queue.drain();
      const [letter] = await queue.deadLetters({ lettersMax: 10 });
      expect(letter).toMatchObject({ reader: "detection", bodyBytes: 500 });
      isReady = true;
      await queue.retryDeadLetter(letter?.id ?? "");
      await queue.drain();
      expect(retried).toEqual(["1"]);
      expect(got).toEqual(["1"]);
    });

    it("refuses a message for all when one reader's queue is full", async () => {
      await queue.subscribe("change", "incident", async () => undefined, { concurrency: 1 });
      for (const id of ["1", "2", "3"]) await queue.publish("change", aChange(id));
      await queue.drain();
      await expect(queue.publish("change", aChange("4"))).rejects.toMatchObject({ code: "QUEUE_FULL" });
      expect(await queue.depth("change", "incident")).toBe(0);
      expect(await queue.depth("change", other.change)).toBe(3);
    });
  });
}

/** What every Queue does, whatever it is made of. */
import { describe, expect, it } from "vitest";
import { HeadwaterError } from "../../contract/error.ts";
import type { DeadLetter, Queue } from "../../contract/port.ts";
import { queueTopics } from "../../contract/topic.ts";
import type { ObservableQueue } from "../../services/queue/queue-metrics.ts";
import type { TopicTable } from "../../services/queue/topic-table.ts";
import { inFreshPlaces, type Place } from "./place.ts";
import { aChange, anAlert, aTelemetryBatch, aVerdictRequest } from "./sample-messages.ts";
import { until } from "./temporary.ts";

export type AnyQueue = Queue & ObservableQueue;

export interface QueuePlace extends Place<AnyQueue> {
  /** Puts a change that its schema refuses into the queue of its reader, past `publish`; called while the queue is closed. */
  poison(): Promise<void>;
}

export type NewQueuePlace = (options?: { topics: TopicTable }) => Promise<QueuePlace>;

export function queueConformance(name: string, newPlace: NewQueuePlace): void {
  describe(`Queue: ${name}`, () => {
    let given: QueuePlace;
    let place: Place<AnyQueue>;
    let queue: AnyQueue;
    const newGiven = async () => {
      given = await newPlace();
      return given;
    };
    inFreshPlaces(newGiven, (fresh, opened) => {
      place = fresh;
      queue = opened;
    });

    it("hands a message with its binary body to the subscriber as it was published", async () => {
      const published = aTelemetryBatch("g-1", 3_000);
      const got: unknown[] = [];
      await queue.publish("telemetry", published);
      await queue.subscribe("telemetry", "ingest", async (message) => void got.push(message), { concurrency: 1 });
      await queue.drain();
      expect(got).toEqual([published]);
    });

    it("hands out in the order of publishing, also what was published before anybody subscribed", async () => {
      const ids = Array.from({ length: 40 }, (_, index) => `c-${index}`);
      const got: string[] = [];
      for (const id of ids.slice(0, 20)) await queue.publish("change", aChange(id));
      await queue.subscribe("change", "incident", async (change) => void got.push(change.id), { concurrency: 1 });
      for (const id of ids.slice(20)) await queue.publish("change", aChange(id));
      await queue.drain();
      expect(got).toEqual(ids);
    });

    it("runs as many handlers at once as asked and not more", async () => {
      let running = 0;
      let most = 0;
      const release: (() => void)[] = [];
      await queue.subscribe(
        "change",
        "incident",
        async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise<void>((resolve) => release.push(resolve));
          running -= 1;
        },
        { concurrency: 3 },
      );
      for (let index = 0; index < 7; index += 1) await queue.publish("change", aChange(`c-${index}`));
      await until("three handlers run", () => running === 3);
      expect(await queue.depth("change", "incident")).toBe(7);
      const drained = queue.drain();
      const pump = setInterval(() => release.splice(0).forEach((resolve) => void resolve()), 5);
      await drained;
      clearInterval(pump);
      expect(most).toBe(3);
      expect(await queue.depth("change", "incident")).toBe(0);
    });

    it("keeps topics apart", async () => {
      const got: string[] = [];
      await queue.subscribe("alert", "incident", async (alert) => void got.push(`alert ${alert.id}`), { concurrency: 1 });
      await queue.subscribe("change", "incident", async (change) => void got.push(`change ${change.id}`), { concurrency: 1 });
      await queue.publish("change", aChange("1"));
      await queue.publish("alert", anAlert("1"));
      await queue.drain();
      expect(got.sort()).toEqual(["alert 1", "change 1"]);
    });

    it("refuses a message that its topic's schema refuses, and says which field", async () => {
      const wrong = { ...aChange("c"), kind: "party" } as unknown as ReturnType<typeof aChange>;
      await expect(queue.publish("change", wrong)).rejects.toMatchObject({
        code: "REQUEST_INVALID",
        message: expect.stringContaining("kind"),
      });
      const noBody = { ...aTelemetryBatch("g-1"), body: "text" } as unknown as ReturnType<typeof aTelemetryBatch>;
      await expect(queue.publish("telemetry", noBody)).rejects.toMatchObject({ code: "REQUEST_INVALID" });
      expect(await queue.depth("change", "incident")).toBe(0);
      expect(await queue.depth("telemetry", "ingest")).toBe(0);
    });

    it("hands a message out again after a retriable failure, and is not held up by it", async () => {
      const got: string[] = [];
      await queue.subscribe(
        "change",
        "incident",
        async ({ id }) => {
          got.push(id);
          if (id === "bad" && got.filter((other) => other === "bad").length < 3) throw new HeadwaterError("STORE_UNAVAILABLE", "away");
        },
        { concurrency: 1 },
      );
      await queue.publish("change", aChange("bad"));
      await queue.publish("change", aChange("good"));
      await queue.drain();
      expect(got.filter((id) => id === "bad")).toHaveLength(3);
      expect(got.indexOf("good")).toBeLessThan(got.lastIndexOf("bad"));
      expect(place.counts.of("queue_retried")).toBe(2);
      expect(place.counts.of("queue_dead_letters")).toBe(0);
    });

    it("gives up a message after five attempts, at once when the failure is not retriable, and counts the dead letters", async () => {
      const attempts = { away: 0, malformed: 0, unknown: 0 };
      await queue.subscribe(
        "alert",
        "incident",
        async ({ id }) => {
          attempts[id as keyof typeof attempts] += 1;
          if (id === "away") throw new HeadwaterError("STORE_UNAVAILABLE", "away");
          if (id === "malformed") throw new HeadwaterError("REQUEST_INVALID", "never");
          throw new TypeError("not one of ours");
        },
        { concurrency: 3 },
      );
      for (const id of ["away", "malformed", "unknown"]) await queue.publish("alert", anAlert(id));
      await queue.drain();
      expect(attempts).toEqual({ away: 5, malformed: 1, unknown: 1 });
      expect(place.counts.of("queue_dead_letters")).toBe(3);
      expect(await queue.depth("alert", "incident")).toBe(0);
    });

    it("refuses at the bound of a topic that refuses, and takes messages again when there is room", async () => {
      const { depthMax } = queueTopics.change;
      await Promise.all(Array.from({ length: depthMax }, (_, index) => queue.publish("change", aChange(`c-${index}`))));
      await expect(queue.publish("change", aChange("too many"))).rejects.toMatchObject({ code: "QUEUE_FULL", retryAfterSeconds: 1 });
      expect(place.counts.of("queue_refused")).toBe(1);
      let handled = 0;
      const handler = async () => {
        handled += 1;
      };
      await queue.subscribe("change", "incident", handler, { concurrency: 50 });
      await queue.drain();
      expect(handled).toBe(depthMax);
      await queue.publish("change", aChange("again"));
    });

    it("lets the publisher wait at the bound of a topic that waits", async () => {
      const { depthMax } = queueTopics["verdict-request"];
      await Promise.all(Array.from({ length: depthMax }, (_, index) => queue.publish("verdict-request", aVerdictRequest(`v-${index}`))));
      let published = false;
      const waiting = queue.publish("verdict-request", aVerdictRequest("last")).then(() => {
        published = true;
      });
      await until("the publisher waits", () => place.counts.of("queue_waited") === 1);
      expect(published).toBe(false);
      const got: string[] = [];
      await queue.subscribe("verdict-request", "ranking", async ({ id }) => void got.push(id), { concurrency: 50 });
      await waiting;
      await queue.drain();
      expect(got).toHaveLength(depthMax + 1);
      expect(got.at(-1)).toBe("last");
    });

    it("drains what handlers publish to other topics as well", async () => {
      const got: string[] = [];
      await queue.subscribe("change", "incident", async ({ id }) => queue.publish("verdict-request", aVerdictRequest(id)), {
        concurrency: 2,
      });
      await queue.subscribe("verdict-request", "ranking", async ({ id }) => void got.push(id), { concurrency: 1 });
      for (let index = 0; index < 10; index += 1) await queue.publish("change", aChange(`c-${index}`));
      await queue.drain();
      expect(got).toHaveLength(10);
    });

    it("waits at close for running handlers, hands out nothing more, and keeps the rest for the next process", async () => {
      let release: (() => void) | null = null;
      const got: string[] = [];
      await queue.subscribe(
        "change",
        "incident",
        async ({ id }) => {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
          got.push(id);
        },
        { concurrency: 1 },
      );
      for (const id of ["1", "2", "3"]) await queue.publish("change", aChange(id));
      await until("the first handler runs", () => release !== null);
      const closed = queue.close();
      (release as (() => void) | null)?.();
      await closed;
      expect(got).toEqual(["1"]);
      await expect(queue.publish("change", aChange("4"))).rejects.toMatchObject({ code: "STOPPING" });

      queue = await place.open();
      await queue.subscribe("change", "incident", async ({ id }) => void got.push(id), { concurrency: 1 });
      await queue.drain();
      expect(got).toEqual(["1", "2", "3"]);
    });

    it("stops handing out when unsubscribed, waits for the running handler, and takes another subscriber for the rest", async () => {
      let release: (() => void) | null = null;
      const first: string[] = [];
      const unsubscribe = await queue.subscribe(
        "change",
        "incident",
        async ({ id }) => {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
          first.push(id);
        },
        { concurrency: 1 },
      );
      for (const id of ["1", "2", "3"]) await queue.publish("change", aChange(id));
      await until("the first handler runs", () => release !== null);
      const unsubscribed = unsubscribe();
      (release as (() => void) | null)?.();
      await unsubscribed;
      await unsubscribe();
      expect(first).toEqual(["1"]);
      expect(await queue.depth("change", "incident")).toBe(2);
      // Nobody reads: there is nothing to wait for.
      await queue.drain();
      const second: string[] = [];
      await queue.subscribe("change", "incident", async ({ id }) => void second.push(id), { concurrency: 1 });
      await queue.drain();
      expect(second).toEqual(["2", "3"]);
    });

    it("carries a body of 10 MB", async () => {
      const published = aTelemetryBatch("big", 10_485_760);
      const got: Uint8Array[] = [];
      await queue.publish("telemetry", published);
      await queue.subscribe("telemetry", "ingest", async ({ body }) => void got.push(body), { concurrency: 1 });
      await queue.drain();
      expect(got.map(({ length }) => length)).toEqual([10_485_760]);
      expect(Buffer.compare(got[0] ?? Buffer.of(), published.body)).toBe(0);
    });

    it("shows dead letters newest first, with why, and keeps them over a restart", async () => {
      await queue.subscribe("alert", "incident", (alert) => refuse(`alert ${alert.id}`), { concurrency: 1 });
      await queue.subscribe("telemetry", "ingest", (batch) => refuse(`batch ${batch.id}`), { concurrency: 1 });
      await queue.publish("alert", anAlert("a/1"));
      await queue.drain();
      // Letters are ordered by the millisecond.
      const firstMs = Date.now();
      await until("the next millisecond", () => Date.now() > firstMs);
      await queue.publish("telemetry", aTelemetryBatch("g:1/2", 300));
      await queue.drain();
      const letters = await queue.deadLetters({ lettersMax: 10 });
      expect(letters).toMatchObject([
        { topic: "telemetry", reader: "ingest", attempts: 1, code: "REQUEST_INVALID", message: "batch g:1/2", bodyBytes: 300 },
        {
          topic: "alert",
          reader: "incident",
          attempts: 1,
          code: "REQUEST_INVALID",
          message: "alert a/1",
          json: anAlert("a/1"),
          bodyBytes: 0,
        },
      ]);
      expect(letters.map(idOf)).toEqual(["g:1/2", "a/1"]);
      expect(new Set(letters.map(({ id }) => id)).size).toBe(2);
      for (const { id } of letters) expect(id).not.toContain("/");
      expect(await queue.deadLetters({ lettersMax: 1 })).toEqual(letters.slice(0, 1));
      expect((await queue.deadLettersHeld()).get("alert.incident")).toBe(1);
      await queue.close();
      queue = await place.open();
      expect(await queue.deadLetters({ lettersMax: 10 })).toEqual(letters);
    });

    it("hands a dead letter out again on demand, whole, with all its attempts", async () => {
      const published = aTelemetryBatch("g:1", 300);
      let attempts = 0;
      const unsubscribe = await queue.subscribe("telemetry", "ingest", () => refuse("not yet"), { concurrency: 1 });
      await queue.publish("telemetry", published);
      await queue.drain();
      await unsubscribe();
      const [letter] = await queue.deadLetters({ lettersMax: 10 });
      await queue.retryDeadLetter(letter?.id ?? "");
      expect(await queue.deadLetters({ lettersMax: 10 })).toEqual([]);
      expect(await queue.depth("telemetry", "ingest")).toBe(1);
      const got: unknown[] = [];
      await queue.subscribe(
        "telemetry",
        "ingest",
        async (batch) => {
          attempts += 1;
          if (attempts < 5) throw new HeadwaterError("STORE_UNAVAILABLE", "away");
          got.push(batch);
        },
        { concurrency: 1 },
      );
      await queue.drain();
      expect(got).toEqual([published]);
      expect(place.counts.of("queue_dead_letters_retried")).toBe(1);
      await expect(queue.retryDeadLetter(letter?.id ?? "")).rejects.toMatchObject({ code: "NOT_FOUND" });
    });

    it("forgets a dead letter that is dropped, for good", async () => {
      await queue.subscribe("telemetry", "ingest", () => refuse("never"), { concurrency: 1 });
      for (const id of ["1", "2"]) await queue.publish("telemetry", aTelemetryBatch(id));
      await queue.drain();
      const letters = await queue.deadLetters({ lettersMax: 10 });
      const dropped = letters.find((letter) => idOf(letter) === "1")?.id ?? "";
      await queue.dropDeadLetter(dropped);
      expect((await queue.deadLetters({ lettersMax: 10 })).map(idOf)).toEqual(["2"]);
      expect(place.counts.of("queue_dead_letters_dropped")).toBe(1);
      await expect(queue.dropDeadLetter(dropped)).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(queue.dropDeadLetter("nonsense")).rejects.toMatchObject({ code: "NOT_FOUND" });
      await queue.close();
      queue = await place.open();
      expect((await queue.deadLetters({ lettersMax: 10 })).map(idOf)).toEqual(["2"]);
      expect(await queue.depth("telemetry", "ingest")).toBe(0);
    });

    it("makes a dead letter of a message that no schema understands, also when it is tried again, and goes on", async () => {
      await queue.publish("change", aChange("before"));
      await queue.close();
      await given.poison();
      queue = await place.open();
      const got: string[] = [];
      await queue.subscribe("change", "incident", async ({ id }) => void got.push(id), { concurrency: 1 });
      await queue.publish("change", aChange("after"));
      await queue.drain();
      expect(got).toEqual(["before", "after"]);
      const letters = await queue.deadLetters({ lettersMax: 10 });
      expect(letters).toMatchObject([{ topic: "change", reader: "incident", code: "REQUEST_INVALID" }]);
      expect(place.counts.of("queue_dead_letters")).toBe(1);
      await queue.retryDeadLetter(letters[0]?.id ?? "");
      await until("it is a dead letter again", async () => place.counts.of("queue_dead_letters") === 2);
      await until("it is listed again", async () => (await queue.deadLetters({ lettersMax: 10 })).length === 1);
      await queue.publish("change", aChange("later"));
      await queue.drain();
      expect(got).toEqual(["before", "after", "later"]);
    });

    it("tells the depth and the dead letters of each reader", async () => {
      await queue.publish("change", aChange("1"));
      expect([...(await queue.depths())]).toEqual([
        ["telemetry.ingest", 0],
        ["change.incident", 1],
        ["alert.incident", 0],
        ["verdict-request.ranking", 0],
        ["verdict.incident", 0],
      ]);
      expect([...(await queue.deadLettersHeld()).values()]).toEqual([0, 0, 0, 0, 0]);
    });
  });
}

/** A handler's failure that no retry can mend. */
export async function refuse(message: string): Promise<never> {
  throw new HeadwaterError("REQUEST_INVALID", message);
}

function idOf(letter: DeadLetter): string {
  return (letter.json as { id: string }).id;
}

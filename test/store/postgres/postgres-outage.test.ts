import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import type { EventStore } from "../../../contract/port.ts";
import type { RestartableServer } from "../../../lab/restartable-server.ts";
import { startDurablePostgres } from "../../../lab/servers.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openPostgresEventStore } from "../../../store/postgres/postgres-event-store.ts";
import { noPostgres, runOn } from "../../conformance/postgres-server.ts";
import { Counts, until } from "../../conformance/temporary.ts";

if (noPostgres !== null) console.warn(`PostgreSQL is not tested: ${noPostgres}`);

describe.skipIf(noPostgres !== null)("the PostgreSQL event store while its server is away", () => {
  let server: RestartableServer;
  const stores: EventStore[] = [];
  const counts = new Counts();

  beforeAll(async () => {
    // A commit that is not waited for would be lost for sure; the store must ask for more than the server's setting gives.
    server = await startDurablePostgres({ settings: { synchronous_commit: "off", wal_writer_delay: "10s" } });
  }, 60_000);
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await runOn(server.url, "DROP SCHEMA headwater CASCADE");
  });
  afterAll(async () => {
    await server?.stop();
  });

  async function open(): Promise<EventStore> {
    const store = await openPostgresEventStore({ url: server.url, clock: new SystemClock(), onCounted: counts.onCounted });
    stores.push(store);
    return store;
  }

  it("loses nothing acknowledged to SIGKILL of the server; appends are made again, and the subscriber sees each once", async () => {
    const [writer, other, reader] = [await open(), await open(), await open()];
    const acknowledged = new Map<string, number>();
    const got: string[] = [];
    let writing = true;
    await reader.subscribe({ afterPosition: 0, streamPrefix: "" }, async ({ stream, sequence }) => void got.push(`${stream}/${sequence}`));
    const write = async (store: EventStore, stream: string): Promise<void> => {
      while (writing) {
        const expectedSequence = acknowledged.get(stream) ?? 0;
        try {
          acknowledged.set(stream, await store.append(stream, [{ expectedSequence }], { expectedSequence }));
        } catch (error) {
          if (!(error instanceof HeadwaterError) || !error.retriable) throw error;
          // The answer to an append that was written may have been lost with the server.
          if (error.code === "CONFLICT") acknowledged.set(stream, (await store.read(stream)).length);
          else await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    };
    const writers = [writer, other].flatMap((store, index) => [1, 2, 3].map((n) => write(store, `s/${index}/${n}`)));
    const written = () => [...acknowledged.values()].reduce((sum, count) => sum + count, 0);
    for (let round = 0; round < 2; round += 1) {
      const before = written();
      await until("there is load", () => written() > before + 60);
      await server.kill();
      const atDeath = new Map(acknowledged);
      await server.restart();
      for (const [stream, count] of atDeath) {
        const kept = await runOn(server.url, `SELECT count(*)::int FROM headwater.event WHERE stream = '${stream}'`);
        expect(Number(kept[0]?.[0]), stream).toBeGreaterThanOrEqual(count);
      }
      await until("appends are written again", () => written() > before + 150);
    }
    writing = false;
    await Promise.all(writers);
    await until("the subscriber has caught up", () => got.length >= written());
    const stored = await Promise.all([...acknowledged.keys()].map((stream) => writer.read(stream)));
    expect(new Set(got).size).toBe(got.length);
    expect([...got].sort()).toEqual(
      stored
        .flat()
        .map(({ stream, sequence }) => `${stream}/${sequence}`)
        .sort(),
    );
    for (const events of stored) expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, index) => index + 1));
    expect(counts.of("event_store_listener_lost")).toBeGreaterThanOrEqual(2);
  }, 60_000);

  it("fails within its time while the server answers nothing, closes all the same, and works when it answers again", async () => {
    const [store, leaving] = [await open(), await open()];
    await store.append("a", [1], { expectedSequence: 0 });
    await leaving.subscribe({ afterPosition: 0, streamPrefix: "" }, async () => undefined);
    server.pause();
    try {
      const begin = performance.now();
      const appends = ["a", "b"].map((stream, index) => store.append(stream, [2], { expectedSequence: 1 - index }));
      const waiting = Promise.allSettled([...appends, store.read("a")]);
      await leaving.close();
      for (const result of await waiting) {
        expect(result).toMatchObject({ status: "rejected", reason: { code: "STORE_UNAVAILABLE", retriable: true } });
      }
      expect(performance.now() - begin).toBeLessThan(8_000);
    } finally {
      server.resume();
    }
    await until("the store answers again", () =>
      store.read("a").then(
        () => true,
        () => false,
      ),
    );
    const { length } = await store.read("a");
    expect(await store.append("a", ["after"], { expectedSequence: length })).toBe(length + 1);
  }, 40_000);
});

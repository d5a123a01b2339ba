import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { GraphStore } from "../../../contract/port.ts";
import { openNeo4jGraphStore } from "../../../graph/neo4j/neo4j-graph-store.ts";
import { freePort } from "../../../lab/guarded-server.ts";
import { startRestartableNeo4j } from "../../../lab/neo4j-server.ts";
import type { RestartableServer } from "../../../lab/restartable-server.ts";
import { SystemClock } from "../../../services/platform.ts";
import { freshNamespace, neo4jMissing } from "../../conformance/neo4j-server.ts";
import { aDependency, anEntity } from "../../conformance/sample-messages.ts";
import { Counts, until } from "../../conformance/temporary.ts";
import { type FakeServer, serverThatIs, silentServer } from "./fake-bolt.ts";

const isFull = process.env.HEADWATER_TEST_FULL === "yes";
const password = "s3cret: of @ll/graphs";
/** An operation that cannot reach its server fails within 5 s; the rest is this machine's. */
const failsWithinMs = 6_500;
const counts = new Counts();

function open(url: string, namespace = freshNamespace()): Promise<GraphStore> {
  return openNeo4jGraphStore({ url, namespace, clock: new SystemClock(), onCounted: counts.onCounted });
}

/** The error that it fails with, and after how long. */
async function failure(work: Promise<unknown>): Promise<{ code: string; message: string; ms: number }> {
  const begunMs = performance.now();
  try {
    await work;
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message, ms: performance.now() - begunMs };
  }
  throw new Error("it did not fail");
}

describe("opening a graph where there is none", () => {
  const fakes: FakeServer[] = [];

  afterEach(async () => {
    for (const fake of fakes.splice(0)) await fake.close();
  });

  async function fake(server: Promise<FakeServer>): Promise<number> {
    fakes.push(await server);
    return fakes.at(-1)?.port ?? 0;
  }

  it("fails within 5 s where nobody listens, naming the server and never the password", async () => {
    const port = await freePort();
    for (const scheme of ["bolt", "neo4j", "bolt+s"]) {
      const { code, message, ms } = await failure(open(`${scheme}://neo4j:hunter22@127.0.0.1:${port}`));
      expect(code).toBe("GRAPH_UNAVAILABLE");
      expect(message).toContain(`Neo4j at 127.0.0.1:${port}`);
      expect(message).not.toContain("hunter22");
      expect(ms).toBeLessThan(failsWithinMs);
    }
  });

  it("fails within 5 s where something listens that never answers", async () => {
    const { code, ms } = await failure(open(`bolt://127.0.0.1:${await fake(silentServer())}`));
    expect(code).toBe("GRAPH_UNAVAILABLE");
    expect(ms).toBeLessThan(failsWithinMs);
  });

  it("refuses a version that is too old, and what is no Neo4j", async () => {
    const old = await failure(open(`bolt://127.0.0.1:${await fake(serverThatIs("Neo4j/4.4.38"))}`));
    expect(old).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringMatching(/Neo4j\/4\.4\.38.*5\.7 or newer is needed/) });
    const other = await failure(open(`bolt://127.0.0.1:${await fake(serverThatIs("Other/9.0"))}`));
    expect(other).toMatchObject({ code: "SERVER_UNSUITABLE", message: expect.stringContaining("Other/9.0") });
  });
});

describe.skipIf(neo4jMissing !== null)("a graph whose server goes away", { timeout: 180_000 }, () => {
  let server: RestartableServer;

  beforeAll(async () => {
    server = await startRestartableNeo4j({ password });
  }, 180_000);

  afterAll(async () => {
    await server.stop();
  });

  it("is opened with the user and password of the URL, and with no other", async () => {
    const url = new URL(server.url);
    for (const [user, secret] of [
      ["neo4j", "wrong-secret"],
      ["nobody", "wrong-secret"],
      ["", ""],
    ]) {
      const login = user === "" ? "" : `${user}:${secret}@`;
      const { code, message } = await failure(open(`bolt://${login}${url.host}`));
      expect(code).toBe("SERVER_REFUSED");
      expect(message).toMatch(/check user and password in urls\.graph/);
      expect(message).not.toContain("secret");
    }
    const graph = await open(server.url);
    expect((await graph.asOf(1)).entities).toEqual([]);
    await graph.close();
    await (await open(server.url.replace("bolt:", "neo4j:"))).close();
  });

  it("says what to do where TLS is asked of a server that does not speak it", async () => {
    const { message } = await failure(open(server.url.replace("bolt:", "bolt+s:")));
    expect(message).toMatch(/TLS/);
    expect(message).not.toContain(encodeURIComponent(password));
  });

  it("fails within 5 s while the server is paused, and goes on by itself", async () => {
    const graph = await open(server.url);
    const delta = { partition: 0, completeThroughMs: 1, entities: [anEntity("a", { seenMs: 1 })], dependencies: [] };
    await graph.apply(delta);
    server.pause();
    try {
      const failures = await Promise.all([
        failure(graph.asOf(1)),
        failure(graph.apply({ ...delta, entities: [anEntity("b", { seenMs: 1 })] })),
      ]);
      for (const { code, ms } of failures) {
        expect(code).toBe("GRAPH_UNAVAILABLE");
        expect(ms).toBeLessThan(failsWithinMs);
      }
    } finally {
      server.resume();
    }
    await until("the graph answers again", async () => (await graph.asOf(1).catch(() => null)) !== null, 30_000);
    await graph.apply({ ...delta, entities: [anEntity("c", { seenMs: 1 })] });
    expect((await graph.asOf(1)).entities.map(({ id }) => id)).toEqual(expect.arrayContaining(["a", "c"]));
    expect(counts.of("graph_connections_renewed")).toBeGreaterThan(0);
    await graph.close();
  });

  it("holds everything that was acknowledged after SIGKILL under load, and goes on by itself", async () => {
    const graph = await open(server.url);
    const acknowledged = new Set<number>();
    for (let round = 0; round < (isFull ? 5 : 1); round += 1) {
      const load = { stopped: false, next: round * 100_000, failed: 0 };
      const writers = Array.from({ length: 8 }, async () => {
        while (!load.stopped) {
          const n = load.next;
          load.next += 1;
          const entities = [anEntity(`e${n}`, { seenMs: n + 1 })];
          const dependencies = [aDependency(`e${n}`, "db", { validFromMs: n + 1 })];
          try {
            await graph.apply({ partition: n % 16, completeThroughMs: n, entities, dependencies });
            acknowledged.add(n);
          } catch (error) {
            load.failed += 1;
            expect(error).toMatchObject({ code: "GRAPH_UNAVAILABLE" });
          }
        }
      });
      const before = acknowledged.size;
      await until("some are acknowledged", () => acknowledged.size > before + 200, 60_000);
      await server.kill();
      await until("an apply has failed", () => load.failed > 0, 30_000);
      await server.restart();
      const afterwards = acknowledged.size;
      await until("it goes on", () => acknowledged.size > afterwards + 50, 60_000);
      load.stopped = true;
      await Promise.all(writers);
    }
    const view = await graph.asOf(10_000_000);
    const entities = new Set(view.entities.map(({ id }) => id));
    const dependencies = new Set(view.dependencies.map(({ id }) => id));
    const lost = [...acknowledged].filter((n) => !entities.has(`e${n}`) || !dependencies.has(`e${n}>db`));
    expect(lost).toEqual([]);
    await graph.close();
  });
});

import { describe, expect, test } from "vitest";
import { lostKeptMs } from "../../../contract/lost-batches.ts";
import type { SeenProcess } from "../../../contract/port.ts";
import type { OverviewProcess, Trouble } from "../../../contract/route.ts";
import type { StageName } from "../../../contract/topic.ts";
import { judgeProcesses } from "../../../services/api/judge-processes.ts";
import { LostBatchesMemory } from "../../../services/api/lost-batches.ts";
import { flowRoles } from "../../../services/api/role-words.ts";
import type { TroubleFacts } from "../../../services/api/trouble-facts.ts";
import { troublesOf } from "../../../services/api/troubles.ts";

const nowMs = 10_000_000;
const quiet: TroubleFacts = {
  processes: [],
  stores: [],
  missing: [],
  unowned: [],
  deadLetters: { count: 0, isAll: "yes", kinds: [], bodiesLost: 0 },
  lostBatches: [],
  silentAgents: [],
  depths: [],
  behind: [],
  graphThroughMs: null,
};

interface Seen extends Partial<Omit<SeenProcess, "roles">> {
  readonly roles: readonly StageName[];
  readonly silentMs?: number;
}

let count = 0;
function seen({ roles, silentMs = 500, ...more }: Seen): SeenProcess {
  count += 1;
  const status = {
    id: `${roles[0]}-${count}`,
    roles,
    host: `host-${roles[0]}`,
    pid: 4_000 + count,
    version: "0.1.0",
    startedAtMs: 1_000_000,
  };
  // The shared clock is another one than that of the API.
  return {
    ...status,
    state: "ready",
    reasons: [],
    partitions: {},
    lostBatches: [],
    atMs: 77_000_000 - silentMs,
    readAtMs: 77_000_000,
    ...more,
  };
}

const judged = (...processes: SeenProcess[]): OverviewProcess[] => judgeProcesses(processes, { nowMs, heardSinceMs: 0, canHear: "yes" });
const eight = (except: readonly StageName[] = []): SeenProcess[] =>
  flowRoles.filter((role) => !except.includes(role)).map((role) => seen({ roles: [role] }));
const told = (facts: Partial<TroubleFacts>): Trouble[] => troublesOf({ ...quiet, ...facts });
const sentences = (troubles: readonly Trouble[]): string[] => troubles.map(({ weight, sentence }) => `${weight}: ${sentence}`);

describe("how processes are", () => {
  test("silent for up to 6 s is as it said of itself, longer is lost, whatever the clocks of the hosts say", () => {
    const states = judged(
      seen({ roles: ["gateway"], silentMs: 5_999 }),
      seen({ roles: ["ingest"], silentMs: 6_001, state: "ready" }),
      seen({ roles: ["detection"], silentMs: -4_000, state: "starting" }),
    );
    expect(states.map(({ state }) => state)).toEqual(["ready", "lost", "starting"]);
    expect(states[1]).toMatchObject({ silentMs: 6_001, lostSinceMs: nowMs - 6_001 });
    expect(states[2]).toMatchObject({ silentMs: 0, lostSinceMs: null });
  });

  test("after an outage of the queue's server everybody has 6 s to speak, and during it nobody is judged", () => {
    const process = seen({ roles: ["ingest"], silentMs: 60_000 });
    const during = judgeProcesses([process], { nowMs, heardSinceMs: nowMs, canHear: "no" });
    const soonAfter = judgeProcesses([process], { nowMs, heardSinceMs: nowMs - 5_000, canHear: "yes" });
    const later = judgeProcesses([process], { nowMs, heardSinceMs: nowMs - 7_000, canHear: "yes" });
    expect([during, soonAfter, later].map(([one]) => one?.state)).toEqual(["unknown", "ready", "lost"]);
  });

  test("a lost process is replaced by one that was started since and has its roles, each by one", () => {
    const lost = [seen({ roles: ["ingest"], silentMs: 60_000 }), seen({ roles: ["ingest"], silentMs: 30_000 })];
    const states = (other: SeenProcess): string[] =>
      judged(...lost, other)
        .map(({ roles, state }) => `${roles.join()} ${state}`)
        .sort();
    const startedAtMs = nowMs - 20_000;
    expect(states(seen({ roles: ["ingest"] }))).toEqual(["ingest lost", "ingest lost", "ingest ready"]);
    expect(states(seen({ roles: ["ingest", "api"], startedAtMs }))).toEqual(["ingest lost", "ingest replaced", "ingest,api ready"]);
    expect(states(seen({ roles: ["api"], startedAtMs }))).toEqual(["api ready", "ingest lost", "ingest lost"]);
  });

  test("they come in the order of the flow, lost ones at their place", () => {
    const processes = judged(
      seen({ roles: ["store"] }),
      seen({ roles: ["api", "gateway"] }),
      seen({ roles: ["topology"], silentMs: 9_000 }),
      seen({ roles: [] }),
    );
    expect(processes.map(({ roles }) => roles.join())).toEqual(["gateway,api", "topology", "store", ""]);
  });
});

describe("troubles", () => {
  test("there are none when eight roles are well, nor when one process has them all", () => {
    expect(told({ processes: judged(...eight()) })).toEqual([]);
    expect(told({ processes: judged(seen({ roles: flowRoles })) })).toEqual([]);
    expect(told({})).toEqual([]);
  });

  test("two killed and one paused: one sentence for each role that nobody does, with its meaning and one command", () => {
    const silent = [
      seen({ roles: ["detection"], silentMs: 8_000, pid: 11, host: "alpha" }),
      seen({ roles: ["store"], silentMs: 9_000, pid: 12 }),
      seen({ roles: ["topology"], silentMs: 7_000, pid: 13 }),
    ];
    const troubles = told({
      processes: judged(...eight(["detection", "store", "topology"]), ...silent),
      graphThroughMs: Date.UTC(2026, 10, 25, 15, 2, 10),
    });
    expect(sentences(troubles)).toEqual([
      "stopped: No detection process answers.",
      "stopped: No topology process answers.",
      "stopped: No store process answers.",
    ]);
    expect(troubles[0]).toMatchObject({
      details: ["detection on alpha (pid 11)"],
      command: "kill -CONT 11 || headwater start --role detection --config headwater.yaml",
      commandHost: "alpha",
      sinceMs: nowMs - 8_000,
    });
    expect(troubles[0]?.meaning).toContain("No window closes");
    expect(troubles[0]?.meaning).toContain("Killed or paused, which look alike from here");
    expect(troubles[1]?.meaning).toContain("Dependencies stay as of 15:02:10 UTC");
  });

  test("every role has its own words for what is missing without it", () => {
    const meanings = flowRoles.map((role) => told({ processes: judged(seen({ roles: [role], silentMs: 10_000 })) })[0]?.meaning ?? "");
    expect(new Set(meanings).size).toBe(flowRoles.length);
    for (const meaning of meanings) expect(meaning.length).toBeGreaterThan(60);
  });

  test("where others with the role answer, a lost process weighs less", () => {
    const processes = judged(...eight(), seen({ roles: ["ingest"], silentMs: 8_000, host: "beta", pid: 7 }));
    const [trouble, ...others] = told({ processes });
    expect(others).toEqual([]);
    expect(trouble).toMatchObject({ weight: "weakened", sentence: "Ingest on beta (pid 7) does not answer; 1 other ingest process does." });
    const several = judged(...eight(), seen({ roles: ["ingest", "api"], silentMs: 8_000, host: "beta", pid: 7 }));
    expect(sentences(told({ processes: several }))).toEqual([
      "weakened: Ingest, api on beta (pid 7) does not answer; others with its roles do.",
    ]);
  });

  test("a process that was replaced is no trouble, one that ends again and again is a notice", () => {
    const fresh = (n: number): SeenProcess => seen({ roles: ["ranking"], startedAtMs: nowMs - 1_000 * n });
    const gone = (n: number): SeenProcess => seen({ roles: ["ranking"], silentMs: 100_000 + 1_000 * n });
    expect(told({ processes: judged(...eight(["ranking"]), fresh(1), gone(1)) })).toEqual([]);
    const often = judged(...eight(["ranking"]), fresh(1), fresh(2), fresh(3), gone(1), gone(2), gone(3));
    expect(sentences(told({ processes: often }))).toEqual([
      "notice: Ranking was started again 3 times within the last hour without having stopped in order.",
    ]);
  });

  test("processes that wait for one server are one trouble, however each of them says it", () => {
    const waits = (role: StageName, reason: string): SeenProcess => seen({ roles: [role], state: "waiting", reasons: [reason] });
    const processes = judged(
      ...eight(["topology", "incident", "ranking"]),
      waits("topology", "topology has waited for 4.2 s: Neo4j at bolt://db:7687 cannot be reached or failed: ECONNREFUSED"),
      waits("incident", "incident has waited for 9.9 s: Neo4j at bolt://db:7687 did not answer within 5000 ms"),
      waits("ranking", "ranking has waited for 3 s: another process holds the model"),
      seen({ roles: ["ranking"] }),
    );
    const troubles = told({ processes });
    expect(sentences(troubles)).toEqual([
      "stopped: Topology and incident wait: Neo4j at bolt://db:7687 cannot be reached.",
      "weakened: Ranking waits: another process holds the model.",
    ]);
    expect(troubles[0]?.details).toHaveLength(2);
    // An age would move from second to second.
    expect(processes.flatMap(({ reasons }) => reasons).join()).not.toContain("4.2 s");
  });

  test("what waits for a store that is told of anyway stands in its details", () => {
    const message = "Neo4j at bolt://db:7687 cannot be reached or failed: closed";
    const reason = "topology has waited for 4.2 s: Neo4j at bolt://db:7687 cannot be reached or failed: ECONNREFUSED";
    const processes = judged(...eight(["topology"]), seen({ roles: ["topology"], state: "waiting", reasons: [reason], host: "x", pid: 1 }));
    const stores = [{ store: "graph", away: { sinceMs: 5, code: "GRAPH_UNAVAILABLE", message }, wasRead: "yes" }] as const;
    expect(told({ processes, stores })).toMatchObject([
      { id: "store/graph", weight: "stopped", sinceMs: 5, details: [message, "topology on x (pid 1) waits for it"] },
    ]);
  });

  test("a telemetry store that is away because nobody has the role store is one trouble", () => {
    const message = "the store at http://s:4319 cannot be reached";
    const stores = [{ store: "telemetry", away: { sinceMs: 5, code: "STORE_UNAVAILABLE", message }, wasRead: "yes" }] as const;
    const processes = judged(...eight(["store"]), seen({ roles: ["store"], silentMs: 9_000 }));
    const troubles = told({ processes, stores });
    expect(sentences(troubles)).toEqual(["stopped: No store process answers."]);
    expect(troubles[0]?.details).toContain(message);
    expect(sentences(told({ processes: judged(...eight()), stores }))).toEqual(["stopped: The telemetry store cannot be reached."]);
  });

  test("stores come first, in the order in which the others depend on them, and say what is shown instead", () => {
    const away = { sinceMs: 5, code: null, message: "no answer" } as const;
    const troubles = told({
      stores: (["telemetry", "graph", "events", "queue"] as const).map((store) => ({
        store,
        away,
        wasRead: store === "graph" ? "no" : "yes",
      })),
    });
    expect(troubles.map(({ id }) => id)).toEqual(["store/queue", "store/events", "store/graph", "store/telemetry"]);
    expect(troubles[2]?.meaning).toContain("cannot be shown yet");
    expect(troubles[3]?.meaning).toContain("as they were last read");
  });

  test("missing roles, unowned partitions, deep queues, readers behind and dead letters, by weight", () => {
    const troubles = told({
      processes: judged(...eight(["gateway"])),
      missing: [{ role: "gateway", why: "never", sinceMs: null }],
      unowned: [{ topic: "window", role: "detection", partitions: [3, 9], sinceMs: 7 }],
      deadLetters: { count: 100, isAll: "no", kinds: ["change for incident: REQUEST_INVALID (100 times)"], bodiesLost: 0 },
      depths: [
        { topic: "telemetry", reader: "ingest", depth: 2_000, depthMax: 2_000, atBound: "refuse" },
        { topic: "verdict", reader: "incident", depth: 800, depthMax: 1_000, atBound: "wait" },
        { topic: "change", reader: "incident", depth: 799, depthMax: 1_000, atBound: "refuse" },
      ],
      behind: [{ topic: "dependency", role: "topology" }],
    });
    expect(sentences(troubles)).toEqual([
      "stopped: No gateway process runs.",
      "stopped: The queue of telemetry for ingest is full.",
      "weakened: The queue of verdict for incident is more than 80 % full.",
      "weakened: Topology is more than a minute behind.",
      "weakened: 2 partitions of the window log have no detection process.",
      "weakened: 100 messages or more could not be handled.",
    ]);
    expect(troubles.map(({ command }) => command)).toEqual([
      "headwater start --role gateway --config headwater.yaml",
      null,
      null,
      "headwater start --role topology --config headwater.yaml",
      null,
      "headwater dead-letters list",
    ]);
    expect(told({ deadLetters: { count: 1, isAll: "yes", kinds: [], bodiesLost: 0 } })[0]?.sentence).toBe(
      "1 message could not be handled.",
    );
  });

  test("partitions that nobody owns are no trouble of their own where the role is the trouble", () => {
    const unowned = [{ topic: "window", role: "detection", partitions: [3], sinceMs: 7 }] as const;
    const lost = judged(...eight(["detection"]), seen({ roles: ["detection"], silentMs: 9_000 }));
    expect(told({ processes: lost, unowned }).map(({ id }) => id)).toEqual(["unanswered/detection"]);
  });

  test("however much is wrong, at most 50 are told, the heaviest", () => {
    const processes = judged(
      ...eight(["api"]),
      ...Array.from({ length: 60 }, () => seen({ roles: ["ingest"], silentMs: 9_000 })),
      seen({ roles: ["api"], silentMs: 9_000 }),
    );
    const troubles = told({ processes });
    expect(troubles).toHaveLength(50);
    expect(troubles[0]?.id).toBe("unanswered/api");
  });
});

describe("lost batches", () => {
  const foundAtMs = Date.UTC(2026, 0, 1, 12, 3, 4);

  test("are told with the gateway they came through and when they were found, in a sentence without an age", () => {
    const gateway = seen({ roles: ["gateway"] });
    const lostBatches = [
      { gateway: gateway.id, foundAtMs, batches: 11 },
      { gateway: "gone", foundAtMs: foundAtMs + 60_000, batches: 1 },
    ];
    const [trouble, ...others] = told({ processes: judged(gateway, ...eight(["gateway"])), lostBatches });
    expect(others).toEqual([]);
    expect(trouble).toMatchObject({
      id: "lost-batches",
      weight: "weakened",
      sentence: "12 acknowledged batches were lost.",
      sinceMs: foundAtMs,
    });
    expect(trouble?.meaning).toMatch(/figures of that time are too low.*appendfsync everysec/is);
    expect(trouble?.details).toEqual([
      `11 acknowledged batches of the gateway on host-gateway (pid ${gateway.pid}), found at 12:03:04 UTC`,
      "1 acknowledged batch of the gateway gone, found at 12:04:04 UTC",
    ]);
    expect(told({ lostBatches: lostBatches.slice(1) })[0]?.sentence).toBe("1 acknowledged batch was lost.");
    expect(told({ lostBatches: [] })).toEqual([]);
  });

  test("are as who keeps the account says, once, whoever else announces something", () => {
    const memory = new LostBatchesMemory();
    const keeper = (batches: number, more: Partial<Seen> = {}): SeenProcess =>
      seen({ roles: ["detection"], partitions: { window: [0, 4] }, lostBatches: [{ gateway: "g", foundAtMs, batches }], ...more });
    const other = seen({ roles: ["detection"], partitions: { window: [1, 5] }, lostBatches: [{ gateway: "g", foundAtMs, batches: 9 }] });
    const total = (list: readonly SeenProcess[], atMs: number): number =>
      memory.follow(list, foundAtMs + atMs).reduce((sum, { batches }) => sum + batches, 0);
    expect(total([keeper(4, { silentMs: 3_000_000 }), keeper(5), other], 1_000)).toBe(5);
    // Nobody keeps it for a moment, then somebody who has not read everything again.
    expect(total([other], 2_000)).toBe(5);
    expect(total([keeper(2), other], 3_000)).toBe(5);
    expect(total([keeper(6), other], 4_000)).toBe(6);
    // Fewer for longer: batches came late.
    expect(total([keeper(3)], 5_000)).toBe(6);
    expect(total([keeper(3)], 14_999)).toBe(6);
    expect(total([keeper(3)], 15_000)).toBe(3);
    expect(total([keeper(3)], lostKeptMs)).toBe(0);
  });

  test("and dead letters whose bodies are gone are not said to be set aside whole", () => {
    const meaning = (count: number, bodiesLost: number) =>
      told({ deadLetters: { count, isAll: "yes", kinds: [], bodiesLost } })[0]?.meaning ?? "";
    expect(meaning(3, 0)).toContain("nothing of them is lost");
    expect(meaning(3, 3)).toContain("putting them back is in vain");
    expect(meaning(3, 2)).toContain("The bodies of 2 of them are gone");
    for (const bodiesLost of [2, 3]) expect(meaning(3, bodiesLost)).not.toContain("nothing of them is lost");
  });
});

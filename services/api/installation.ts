/** How Headwater itself is: its processes, its queues, who owns what, and what of that has lasted long enough to be told. */
import { allPartitions } from "../../contract/canonical.ts";
import type { LostGroup } from "../../contract/lost-batches.ts";
import type { Clock, DeadLetter, PartitionLog, Presence, Queue } from "../../contract/port.ts";
import type { OverviewProcess } from "../../contract/route.ts";
import { type LogTopic, logTopics, type QueueReader, type QueueTopic, queueTopics } from "../../contract/topic.ts";
import { isAnswering, judgeProcesses, silentAfterMs } from "./judge-processes.ts";
import { LostBatchesMemory } from "./lost-batches.ts";
import { type FlowRole, flowRoles } from "./role-words.ts";
import type { DeadLetters, MissingRole, QueueDepth, UnownedPartitions } from "./trouble-facts.ts";
import { type Away, createWatch, type Watch } from "./watch.ts";

/** Dead letters looked at; more are "or more". */
const lettersMax = 100;
const lettersRestMs = 5_000;
const depthsRestMs = 2_000;
const lagRestMs = 5_000;
/** Time that all roles have to announce themselves after the first look. */
const announcedWithinMs = 15_000;
/** Partitions change hands within 3 s and that is announced within 2 s more; what lasts longer is told. */
const unownedAfterMs = 10_000;
/**
 * An ingest process appends at most one entry per partition every 100 ms, and owners commit every 30 s. What is neither committed nor younger
 * than 90 s at that rate is more than a minute behind, however little arrives.
 */
const lagPerIngestMax = 90 * 10 * allPartitions.length;

export interface InstallationOptions {
  readonly clock: Clock;
  readonly presence?: Presence | null;
  readonly queue?: Pick<Queue, "deadLetters" | "depth"> | null;
  readonly log?: Pick<PartitionLog, "lag"> | null;
}

export interface InstallationReading {
  readonly processes: readonly OverviewProcess[];
  readonly missing: readonly MissingRole[];
  readonly unowned: readonly UnownedPartitions[];
  readonly deadLetters: DeadLetters;
  readonly lostBatches: readonly LostGroup[];
  readonly depths: readonly QueueDepth[];
  readonly behind: readonly { readonly topic: LogTopic; readonly role: FlowRole }[];
  readonly queueAway: Away | null;
}

export interface Installation {
  /** Resolves within about 2 s, whatever the servers do. */
  read(): Promise<InstallationReading>;
}

export function createInstallation(options: InstallationOptions): Installation {
  const { clock, presence, queue, log } = options;
  const watch = <P, T>(port: P | null | undefined, ask: (port: P) => Promise<T>, restMs: number): Watch<T> | null =>
    port === null || port === undefined ? null : createWatch({ clock, name: "the queue", ask: () => ask(port), restMs });
  const seen = watch(presence, (port) => port.list(), 0);
  const letters = watch(queue, async (port) => summaryOf(await port.deadLetters({ lettersMax })), lettersRestMs);
  const depths = watch(queue, readDepths, depthsRestMs);
  const lags = watch(log, readLags, lagRestMs);
  const memory = new InstallationMemory();
  const lostMemory = new LostBatchesMemory();
  return {
    async read() {
      await Promise.all([seen?.read(), letters?.read(), depths?.read(), lags?.read()]);
      const nowMs = clock.nowMs();
      // Presence and queue are one server.
      const queueAway = seen?.known().away ?? depths?.known().away ?? null;
      const canHear = (seen?.known().away ?? null) === null ? "yes" : "no";
      const heardSinceMs = memory.heardSince(canHear, nowMs);
      const processes = judgeProcesses(seen?.known().value ?? [], { nowMs, heardSinceMs, canHear });
      const followed = canHear === "yes" ? memory.follow(processes, nowMs) : { missing: [], unowned: [] };
      const ingests = processes.filter((process) => isAnswering(process) && process.roles.includes("ingest")).length;
      const lagMax = lagPerIngestMax * Math.max(1, ingests);
      return {
        processes,
        ...followed,
        lostBatches: lostMemory.follow(seen?.known().value ?? [], nowMs),
        deadLetters: letters?.known().value ?? noDeadLetters,
        depths: queueAway === null ? (depths?.known().value ?? []) : [],
        behind: queueAway === null ? (lags?.known().value ?? []).filter(({ entries }) => entries > lagMax) : [],
        queueAway,
      };
    },
  };
}

/** What has to be remembered from one reading to the next. */
class InstallationMemory {
  #heardSinceMs: number | null = null;
  #firstLookMs: number | null = null;
  readonly #answeredMs = new Map<FlowRole, number>();
  /** Roles of which only lost processes were on the list when it was read last. */
  readonly #lost = new Set<FlowRole>();
  readonly #unownedSinceMs = new Map<LogTopic, number>();
  /** Topics of which somebody owned a partition; a log that is not shared out at all has no partitions that are missed. */
  readonly #shared = new Set<LogTopic>();

  /** Since when everybody can be heard; now while nobody can. */
  heardSince(canHear: "yes" | "no", nowMs: number): number {
    if (canHear === "no") this.#heardSinceMs = null;
    else this.#heardSinceMs ??= nowMs;
    return this.#heardSinceMs ?? nowMs;
  }

  follow(processes: readonly OverviewProcess[], nowMs: number): Pick<InstallationReading, "missing" | "unowned"> {
    // Where nobody announces anything there is nothing to miss anybody in.
    if (processes.length === 0) return { missing: [], unowned: [] };
    this.#firstLookMs ??= nowMs;
    const answering = processes.filter(isAnswering);
    for (const role of flowRoles) {
      if (answering.some(({ roles }) => roles.includes(role))) {
        this.#answeredMs.set(role, nowMs);
        this.#lost.delete(role);
      } else if (processes.some(({ roles }) => roles.includes(role))) this.#lost.add(role);
    }
    return {
      missing: flowRoles.flatMap((role) => this.#missing(role, { processes, firstLookMs: this.#firstLookMs ?? nowMs, nowMs })),
      unowned: (Object.keys(logTopics) as LogTopic[]).flatMap((topic) => this.#unowned(topic, answering, nowMs)),
    };
  }

  #missing(role: FlowRole, at: { processes: readonly OverviewProcess[]; firstLookMs: number; nowMs: number }): MissingRole[] {
    if (at.processes.some(({ roles }) => roles.includes(role))) return [];
    const sinceMs = this.#answeredMs.get(role) ?? null;
    if (this.#lost.has(role)) return [{ role, why: "forgotten", sinceMs }];
    // Telemetry may be in the files of a process that has no role `store` of its own.
    if (sinceMs === null && role === "store") return [];
    if (sinceMs === null) return at.nowMs - at.firstLookMs > announcedWithinMs ? [{ role, why: "never", sinceMs }] : [];
    return at.nowMs - sinceMs > silentAfterMs ? [{ role, why: "stopped", sinceMs }] : [];
  }

  #unowned(topic: LogTopic, answering: readonly OverviewProcess[], nowMs: number): UnownedPartitions[] {
    const owned = new Set(answering.flatMap((process) => process.partitions[topic] ?? []));
    if (owned.size > 0) this.#shared.add(topic);
    const partitions = this.#shared.has(topic) ? allPartitions.filter((partition) => !owned.has(partition)) : [];
    if (partitions.length === 0) {
      this.#unownedSinceMs.delete(topic);
      return [];
    }
    const sinceMs = this.#unownedSinceMs.get(topic) ?? nowMs;
    this.#unownedSinceMs.set(topic, sinceMs);
    return nowMs - sinceMs > unownedAfterMs ? [{ topic, role: logTopics[topic].reader, partitions, sinceMs }] : [];
  }
}

const noDeadLetters: DeadLetters = { count: 0, isAll: "yes", kinds: [], bodiesLost: 0 };

function summaryOf(letters: readonly DeadLetter[]): DeadLetters {
  const counts = new Map<string, number>();
  for (const { topic, reader, code } of letters) {
    const kind = `${topic} for ${reader}: ${code}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const kinds = [...counts]
    .sort((left, right) => right[1] - left[1])
    .map(([kind, count]) => (count === 1 ? kind : `${kind} (${count} times)`));
  const bodiesLost = letters.filter(({ code }) => code === "PAYLOAD_LOST").length;
  return { count: letters.length, isAll: letters.length < lettersMax ? "yes" : "no", kinds, bodiesLost };
}

async function readDepths(queue: Pick<Queue, "depth">): Promise<QueueDepth[]> {
  const rows = (Object.keys(queueTopics) as QueueTopic[]).flatMap((topic) =>
    queueTopics[topic].readers.map(async (reader) => {
      const { depthMax, atBound } = queueTopics[topic];
      return { topic, reader, depth: await queue.depth(topic, reader as QueueReader<QueueTopic>), depthMax, atBound };
    }),
  );
  return Promise.all(rows);
}

interface Lag {
  readonly topic: LogTopic;
  readonly role: FlowRole;
  readonly entries: number;
}

async function readLags(log: Pick<PartitionLog, "lag">): Promise<Lag[]> {
  const topics = Object.keys(logTopics) as LogTopic[];
  return Promise.all(topics.map(async (topic) => ({ topic, role: logTopics[topic].reader, entries: await log.lag(topic) })));
}

/**
 * Which process works on which partitions of a topic (design §4, Exactly once): processes that take part see each other, decide alike,
 * hand over what is not theirs any more, and take what is, as soon as its lease is free.
 */
import { setImmediate as turn } from "node:timers/promises";
import { allPartitions, partitionCount } from "./canonical.ts";
import { HeadwaterError, toHeadwaterError } from "./error.ts";
import { invariant } from "./invariant.ts";
import type { Outages } from "./outage.ts";
import type { Clock, Membership, PartitionLog, PartitionOwner } from "./port.ts";
import type { LogTopic } from "./topic.ts";

/** Between two looks at who takes part: with the lease of 2 s, a partition changes hands within 3 s. Also the pause between two tries. */
const lookMs = 500;
/** A partition that is ours and that somebody else has kept for so long is worth a sentence; a hand-over takes less. */
const heldToldMs = 5_000;

/** `each`: partitions are shared out among the processes; `all`: the senior one owns all of them, the others stand by. */
export type Sharing = "each" | "all";

/** What a process does with partitions that it owns. */
export interface OwnedWork {
  /** Resolves when everything appended so far is read and its outputs are written. */
  settle(): Promise<void>;
  /**
   * Finishes what was read, commits, gives the partitions back, within seconds whatever is away. Called once, also after `lost`; failures
   * are the work's to deal with: what is not committed is read again.
   */
  stop(): Promise<void>;
}

interface PartitionGroupOptions<T extends LogTopic> {
  readonly log: PartitionLog;
  readonly topic: T;
  readonly sharing: Sharing;
  readonly clock: Clock;
  /** Told of what could not be taken or had to be given up, until it is worked on again; each is tried again at the next look. */
  readonly outages: Outages;
  /**
   * Loads and begins to work on partitions: one with `each`, all 16, in order, with `all`. Fails rather than waits for what is away: the
   * group gives the partitions back then and tries again. Whatever it began before it failed it has ended itself, but for the owners.
   * `lost` is to be called when a partition belongs to somebody else by now or cannot be worked on; also while this still runs. The work
   * is then stopped, and taken up anew when it is ours again.
   */
  readonly begin: (owners: readonly PartitionOwner<T>[], lost: (error: HeadwaterError) => void) => Promise<OwnedWork>;
  /** Called when what is owned has changed. Sorted. */
  readonly onOwned?: (partitions: readonly number[]) => void;
}

/** Work from when it is begun until its `stop` is over; its partitions are not taken meanwhile. */
interface Running {
  readonly partitions: readonly number[];
  /** Null until it has begun, and when it could not. */
  work: OwnedWork | null;
  /** Resolves when it has begun or has failed to, with a failure that does not pass by itself. */
  begun: Promise<HeadwaterError | null>;
  ending: Promise<void> | null;
}

/** Partitions that one member is to own. Every member computes the same from the same list. */
export function shareOf(members: readonly string[], self: string, sharing: Sharing): number[] {
  const place = members.indexOf(self);
  if (place < 0) return [];
  if (sharing === "all") return place === 0 ? [...allPartitions] : [];
  return allPartitions.filter((partition) => partition % members.length === place);
}

/**
 * Takes part from `start` to `stop`. Errors that are no HeadwaterErrors are programmer errors: they are thrown outside and end the process.
 * Looks follow each other and never overlap. Beginnings and ends of works do not hold them up, so that one that takes long keeps no other
 * partition from changing hands; a partition is taken again only after its work has ended.
 */
export class PartitionGroup<T extends LogTopic> {
  readonly #options: PartitionGroupOptions<T>;
  readonly #running = new Set<Running>();
  /** Partitions taken while others of the same work are not free yet. */
  readonly #taken = new Map<number, PartitionOwner<T>>();
  /** Since when partitions that are ours are kept by others. */
  readonly #heldSinceMs = new Map<number, number>();
  #membership: Membership | null = null;
  #owned: readonly number[] = [];
  #looking: Promise<HeadwaterError | null> | null = null;
  /** Works begin one after the other, with a turn of the event loop between, so that leases are renewed while large states are loaded. */
  #beginning: Promise<unknown> = Promise.resolve();
  #cancelLook: () => void = () => undefined;
  #stopping: Promise<void> | null = null;

  constructor(options: PartitionGroupOptions<T>) {
    this.#options = options;
  }

  /** Partitions that are worked on here now, sorted. */
  get owned(): readonly number[] {
    return this.#owned;
  }

  /**
   * Resolves after the first look: what is free and ours is being worked on. What failed for a reason that passes is tried again later;
   * rejects with an error that does not pass by itself, after everything was given back.
   */
  async start(): Promise<void> {
    invariant(this.#looking === null && this.#stopping === null, "a partition group is started once");
    this.#looking = this.#look();
    try {
      const failure = await this.#looking;
      if (failure !== null) throw failure;
      // Looking goes on while works begin.
      this.#planLook();
      const failures = await Promise.all([...this.#running].map(({ begun }) => begun));
      for (const failed of failures) if (failed !== null) throw failed;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Resolves when every work that runs here is settled. Rejects when one of them is lost meanwhile. */
  async settle(): Promise<void> {
    const works = [...this.#running].filter(({ ending }) => ending === null);
    await Promise.all(works.map(({ begun }) => begun));
    await Promise.all(works.map(({ work }) => work?.settle()));
  }

  /** Hands everything over and leaves. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Sentences on partitions that we cannot get. */
  reasons(): readonly string[] {
    const { clock, topic } = this.#options;
    const since = clock.nowMs() - heldToldMs;
    const held = [...this.#heldSinceMs].flatMap(([partition, heldSinceMs]) => (heldSinceMs <= since ? [partition] : []));
    if (held.length === 0) return [];
    return [`another process keeps partitions of the ${topic} log that this one is to work on: ${held.sort(ascending).join(", ")}`];
  }

  async #stop(): Promise<void> {
    // The field is set once this returns to `stop`, so that a look under way sees it and takes nothing more.
    await Promise.resolve();
    this.#cancelLook();
    await this.#looking?.catch(() => undefined);
    await Promise.all([...this.#running].map((running) => this.#end(running)));
    await this.#release([...this.#taken.values()]);
    this.#taken.clear();
    this.#heldSinceMs.clear();
    for (const step of ["look" as const, ...allPartitions]) this.#options.outages.passed(this.#stepOf(step));
    // A membership that cannot be ended now runs out by itself.
    await this.#membership?.leave().catch(onlyOperational);
  }

  #planLook(): void {
    if (this.#stopping !== null) return;
    this.#cancelLook = this.#options.clock.schedule(lookMs, () => {
      this.#looking = this.#look();
      // A failure is told by `outages` and tried again; what is thrown is a programmer error.
      this.#looking.then(() => this.#planLook(), endProcess);
    });
  }

  /** Answers a failure that does not pass by itself, null when there is none. Throws programmer errors only. */
  async #look(): Promise<HeadwaterError | null> {
    const { log, topic, sharing, outages } = this.#options;
    let wanted: ReadonlySet<number>;
    try {
      this.#membership ??= await log.join(topic);
      wanted = new Set(shareOf(await this.#membership.members(), this.#membership.self, sharing));
    } catch (error) {
      return this.#failed("look", error);
    }
    outages.passed(this.#stepOf("look"));
    for (const running of this.#running) {
      // Not awaited: whoever takes it over waits for its end as well, and nothing else has to.
      if (!running.partitions.every((partition) => wanted.has(partition))) void this.#end(running);
    }
    await this.#giveUp(wanted);
    return await this.#take(wanted);
  }

  /** Forgets what is not ours any more, and gives back what was taken and not begun. */
  async #giveUp(wanted: ReadonlySet<number>): Promise<void> {
    const taken = [...this.#taken.values()].filter(({ partition }) => !wanted.has(partition));
    for (const { partition } of taken) this.#taken.delete(partition);
    for (const partition of allPartitions) {
      if (wanted.has(partition)) continue;
      this.#heldSinceMs.delete(partition);
      this.#options.outages.passed(this.#stepOf(partition));
    }
    await this.#release(taken);
  }

  async #take(wanted: ReadonlySet<number>): Promise<HeadwaterError | null> {
    const busy = new Set([...this.#running].flatMap(({ partitions }) => partitions));
    for (const { partitions, work, ending } of this.#running) {
      // It has run since an earlier look, so that a work that fails as soon as it has begun is one outage.
      if (work !== null && ending === null) for (const partition of partitions) this.#options.outages.passed(this.#stepOf(partition));
    }
    const free = [...wanted].filter((partition) => !busy.has(partition));
    if (this.#options.sharing === "each") return await firstOf(free.map((partition) => this.#takeOne(partition)));
    const failure = await firstOf(free.map((partition) => this.#own(partition)));
    if (failure === null && this.#taken.size === partitionCount) {
      this.#begin([...this.#taken.values()].sort((left, right) => left.partition - right.partition));
    }
    return failure;
  }

  async #takeOne(partition: number): Promise<HeadwaterError | null> {
    const failure = await this.#own(partition);
    const owner = this.#taken.get(partition);
    if (owner !== undefined) this.#begin([owner]);
    return failure;
  }

  /** Tries to get a partition; that somebody else still has it is no failure. */
  async #own(partition: number): Promise<HeadwaterError | null> {
    if (this.#stopping !== null || this.#taken.has(partition)) return null;
    const { log, topic, clock, outages } = this.#options;
    try {
      this.#taken.set(partition, await log.own(topic, partition));
      this.#heldSinceMs.delete(partition);
      return null;
    } catch (error) {
      if (!(error instanceof HeadwaterError) || error.code !== "PARTITION_HELD") return this.#failed(partition, error);
      if (!this.#heldSinceMs.has(partition)) this.#heldSinceMs.set(partition, clock.nowMs());
      outages.passed(this.#stepOf(partition));
      return null;
    }
  }

  #begin(owners: readonly PartitionOwner<T>[]): void {
    if (this.#stopping !== null) return;
    const partitions = owners.map(({ partition }) => partition);
    for (const partition of partitions) this.#taken.delete(partition);
    const running: Running = { partitions, work: null, begun: Promise.resolve(null), ending: null };
    this.#running.add(running);
    running.begun = this.#beginning.then(() => this.#beginNow(running, owners));
    this.#beginning = running.begun.catch(endProcess);
  }

  /** Answers a failure that does not pass by itself. Throws programmer errors only. */
  async #beginNow(running: Running, owners: readonly PartitionOwner<T>[]): Promise<HeadwaterError | null> {
    await turn();
    try {
      // Nothing is begun that is to end before it has begun.
      if (running.ending !== null) await this.#release(owners);
      else running.work = await this.#options.begin(owners, (error) => this.#lose(running, error));
      this.#tellOwned();
      return null;
    } catch (error) {
      await this.#release(owners);
      let failure: HeadwaterError | null = null;
      for (const partition of running.partitions) failure = this.#failed(partition, error);
      return failure;
    } finally {
      if (running.work === null) this.#running.delete(running);
    }
  }

  /** What is lost is ended at once, and taken up anew by a later look. */
  #lose(running: Running, error: HeadwaterError): void {
    if (running.ending !== null) return;
    for (const partition of running.partitions) this.#failed(partition, error);
    void this.#end(running);
  }

  #end(running: Running): Promise<void> {
    running.ending ??= this.#endNow(running).catch(endProcess);
    this.#tellOwned();
    return running.ending;
  }

  async #endNow(running: Running): Promise<void> {
    await running.begun;
    await running.work?.stop().catch(onlyOperational);
    this.#running.delete(running);
  }

  /** A lease that cannot be given back now runs out by itself. */
  async #release(owners: readonly PartitionOwner<T>[]): Promise<void> {
    await Promise.all(owners.map((owner) => owner.release().catch(onlyOperational)));
  }

  /** Answers the error when it does not pass by itself. Throws programmer errors. */
  #failed(step: "look" | number, error: unknown): HeadwaterError | null {
    onlyOperational(error);
    const known = toHeadwaterError(error);
    // A log that is closing is closed by who also stops us.
    if (known.code !== "STOPPING") this.#options.outages.failed(this.#stepOf(step), known);
    return known.retriable || known.code === "FENCED" ? null : known;
  }

  #stepOf(step: "look" | number): string {
    const { topic } = this.#options;
    return step === "look" ? `look at who works on the ${topic} log` : `take partition ${step} of the ${topic} log`;
  }

  #tellOwned(): void {
    const owned = [...this.#running].flatMap(({ partitions, work, ending }) => (work !== null && ending === null ? partitions : []));
    owned.sort(ascending);
    if (owned.join() === this.#owned.join()) return;
    this.#owned = owned;
    this.#options.onOwned?.(owned);
  }
}

function ascending(left: number, right: number): number {
  return left - right;
}

/** Waits for all of them and answers the first failure. */
async function firstOf(tries: readonly Promise<HeadwaterError | null>[]): Promise<HeadwaterError | null> {
  const results = await Promise.allSettled(tries);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return results.map((result) => (result.status === "fulfilled" ? result.value : null)).find((failure) => failure !== null) ?? null;
}

/** Lets operational errors pass. */
function onlyOperational(error: unknown): void {
  if (!(error instanceof HeadwaterError) || error.code === "INTERNAL") throw error;
}

function endProcess(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

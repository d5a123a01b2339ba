/** A log without entries that several processes share: membership, leases and fences as its members see them, decided by the test. */
import { HeadwaterError } from "../../contract/error.ts";
import { Outages } from "../../contract/outage.ts";
import { type OwnedWork, PartitionGroup, type Sharing } from "../../contract/partition-group.ts";
import type { PartitionLog, PartitionOwner } from "../../contract/port.ts";
import { ManualClock } from "../../services/platform.ts";

export class SharedLog {
  readonly clock = new ManualClock(1_700_000_000_000);
  readonly members: string[] = [];
  /** Who holds the lease of a partition. */
  readonly holders = new Map<number, string>();
  /** While set, every operation of the log fails with it. */
  failure: HeadwaterError | null = null;
  #fence = 0;

  /** The log as one process sees it. */
  as(self: string): PartitionLog {
    const none = (): never => {
      throw new Error("not part of this test");
    };
    const refuse = (): void => {
      if (this.failure !== null) throw this.failure;
    };
    return {
      append: none,
      reduced: none,
      lag: none,
      close: none,
      join: async () => {
        refuse();
        this.members.push(self);
        const members = async () => {
          refuse();
          return [...this.members];
        };
        const leave = async () => {
          refuse();
          this.members.splice(this.members.indexOf(self), 1);
        };
        return { self, members, leave };
      },
      own: async (topic, partition) => {
        refuse();
        const holder = this.holders.get(partition) ?? self;
        if (holder !== self) throw new HeadwaterError("PARTITION_HELD", `${holder} has partition ${partition}`);
        this.holders.set(partition, self);
        this.#fence += 1;
        const owner: PartitionOwner<typeof topic> = {
          ...{ topic, partition, fence: this.#fence, checkpoint: { offset: 0, chunks: new Map() } },
          read: none,
          commit: none,
          release: async () => {
            refuse();
            if (this.holders.get(partition) === self) this.holders.delete(partition);
          },
        };
        return owner;
      },
    };
  }

  /** Half a second passes, and what comes of it. */
  async pass(): Promise<void> {
    this.clock.advanceTo(this.clock.nowMs() + 500);
    await turns();
  }
}

/** Everything that needs no clock happens. */
export async function turns(): Promise<void> {
  for (let left = 60; left > 0; left -= 1) await new Promise((resolve) => setImmediate(resolve));
}

interface BegunWork {
  readonly partitions: readonly number[];
  readonly lost: (error: HeadwaterError) => void;
  state: "running" | "stopping" | "stopped";
}

/** One process with a group whose works are only noted. */
export class Process {
  readonly name: string;
  readonly group: PartitionGroup<"window">;
  readonly works: BegunWork[] = [];
  readonly owned: (readonly number[])[] = [];
  readonly lines: string[] = [];
  readonly outages: Outages;
  /** What `begin` waits for, and what it throws. */
  beginsAfter: Promise<unknown> = Promise.resolve();
  beginFails: ((partitions: readonly number[]) => Error | null) | null = null;
  stopsAfter: Promise<unknown> = Promise.resolve();
  begins = 0;

  constructor(log: SharedLog, name: string, sharing: Sharing) {
    this.name = name;
    const { clock } = log;
    const line = (fields: object, message: string) => void this.lines.push(`${message} ${JSON.stringify(fields)}`);
    this.outages = new Outages({ name: "it", clock, logger: { info: line, warn: line } });
    this.group = new PartitionGroup({
      ...{ log: log.as(name), topic: "window", sharing, clock, outages: this.outages },
      begin: async (owners, lost) => {
        this.begins += 1;
        return await this.#begin(owners, lost);
      },
      onOwned: (partitions) => this.owned.push(partitions),
    });
  }

  get running(): BegunWork[] {
    return this.works.filter(({ state }) => state === "running");
  }

  /** Partitions of works that run or are being stopped: nobody else may work on them. */
  get touched(): number[] {
    return this.works.filter(({ state }) => state !== "stopped").flatMap(({ partitions }) => partitions);
  }

  async #begin(owners: readonly PartitionOwner<"window">[], lost: BegunWork["lost"]): Promise<OwnedWork> {
    const partitions = owners.map(({ partition }) => partition);
    const work: BegunWork = { partitions, lost, state: "running" };
    await Promise.race([this.beginsAfter, new Promise((resolve) => this.earlyLost.push(() => resolve(lost(fenced()))))]);
    await this.beginsAfter;
    const failure = this.beginFails?.(partitions) ?? null;
    if (failure !== null) throw failure;
    this.works.push(work);
    return {
      settle: async () => undefined,
      stop: async () => {
        work.state = "stopping";
        await this.stopsAfter;
        work.state = "stopped";
        for (const owner of owners) await owner.release();
      },
    };
  }

  /** Each tells a work that is beginning that it is lost. */
  readonly earlyLost: (() => void)[] = [];
}

export function fenced(): HeadwaterError {
  return new HeadwaterError("FENCED", "another owner has it");
}

export function away(): HeadwaterError {
  return new HeadwaterError("LOG_UNAVAILABLE", "Redis at redis://127.0.0.1:1 cannot be reached");
}

/** One log as several processes see it: who takes part, leases that others respect, and processes that die or are paused. */
import { HeadwaterError } from "../../contract/error.ts";
import type { NewLogEntry, PartitionLog } from "../../contract/port.ts";

export class SeveralProcesses {
  readonly members: string[] = [];
  /** Who has the lease of a partition, by topic and partition. */
  readonly #holders = new Map<string, string>();
  readonly #log: PartitionLog;

  constructor(log: PartitionLog) {
    this.#log = log;
  }

  /** The log as the process `self` sees it. `beforeAppend` may keep it waiting. */
  as(self: string, beforeAppend: (entries: readonly NewLogEntry[]) => Promise<void> = () => Promise.resolve()): PartitionLog {
    const log = this.#log;
    return {
      append: async (entries, options) => {
        await beforeAppend(entries);
        await log.append(entries, options);
      },
      reduced: (ids) => log.reduced(ids),
      own: async (topic, partition) => {
        const key = `${topic}/${partition}`;
        const holder = this.#holders.get(key) ?? self;
        if (holder !== self) throw new HeadwaterError("PARTITION_HELD", `${holder} has partition ${partition} of ${topic}`);
        this.#holders.set(key, self);
        const owner = await log.own(topic, partition);
        const release = async (): Promise<void> => {
          if (this.#holders.get(key) === self) this.#holders.delete(key);
          await owner.release();
        };
        return { ...owner, release };
      },
      join: async () => {
        this.members.push(self);
        const leave = async (): Promise<void> => this.#leave(self);
        return { self, members: async () => [...this.members], leave };
      },
      lag: (topic) => log.lag(topic),
      close: () => log.close(),
    };
  }

  /** The process has not been heard of for longer than its lease. It may still run. */
  expire(self: string): void {
    this.#leave(self);
    for (const [key, holder] of this.#holders) if (holder === self) this.#holders.delete(key);
  }

  #leave(self: string): void {
    if (this.members.includes(self)) this.members.splice(this.members.indexOf(self), 1);
  }
}

/** A promise that the test resolves. */
export function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

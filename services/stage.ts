/** What a stage is: something that reads topics, calls a library and writes topics. */
import type { LostGroup } from "../contract/lost-batches.ts";
import type { Outages } from "../contract/outage.ts";
import type { PartitionGroup } from "../contract/partition-group.ts";
import type { LogTopic, StageName } from "../contract/topic.ts";

export interface Stage {
  readonly name: StageName;
  /** Opens and begins to work. Rejects with a HeadwaterError when it cannot. */
  start(): Promise<void>;
  /** Resolves when everything that had reached the stage when called has left it (replay and tests wait for this). */
  settle(): Promise<void>;
  /** Stops reading, finishes what is begun, releases everything. Idempotent. */
  stop(): Promise<void>;
  /** What it waits for now, as sentences with the address where there is one; empty when all is well. */
  reasons(): readonly string[];
  /** Partitions that it works on now, by topic, sorted; empty where it works on none. */
  partitions(): Readonly<Record<string, readonly number[]>>;
  /** Acknowledged batches that it found missing within the last hour; a stage that looks for none has not this. */
  lostBatches?(): readonly LostGroup[];
}

/** A stage that is nothing but work on the partitions of a topic. */
export function partitionStage<T extends LogTopic>(
  name: StageName,
  parts: { readonly topic: T; readonly group: PartitionGroup<T>; readonly outages: Outages },
): Stage {
  const { topic, group, outages } = parts;
  return {
    name,
    start: () => group.start(),
    settle: () => group.settle(),
    stop: () => group.stop(),
    reasons: () => [...outages.reasons(), ...group.reasons()],
    partitions: () => (group.owned.length === 0 ? {} : { [topic]: group.owned }),
  };
}

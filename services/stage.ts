/** What a stage is: something that reads topics, calls a library and writes topics. */
import type { PartitionReader } from "../contract/partition-reader.ts";
import type { LogTopic, StageName } from "../contract/topic.ts";

export interface Stage {
  readonly name: StageName;
  /** Opens and begins to work. Rejects with a HeadwaterError when it cannot. */
  start(): Promise<void>;
  /** Resolves when everything that had reached the stage when called has left it (replay and tests wait for this). */
  settle(): Promise<void>;
  /** Stops reading, finishes what is begun, releases everything. Idempotent. */
  stop(): Promise<void>;
}

/** A stage that is nothing but the owner of some partitions: what its readers do, it does. */
export function partitionStage<T extends LogTopic>(name: StageName, readers: readonly PartitionReader<T>[]): Stage {
  return {
    name,
    async start() {
      // No partition moves before all have loaded what they know, so that what partitions do together can wait for the slowest.
      await Promise.all(readers.map((reader) => reader.open()));
      for (const reader of readers) reader.run();
    },
    async settle() {
      await Promise.all(readers.map((reader) => reader.settle()));
    },
    async stop() {
      await Promise.all(readers.map((reader) => reader.stop()));
    },
  };
}

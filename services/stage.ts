/** What a stage is: something that reads topics, calls a library and writes topics. */
import type { StageName } from "../contract/topic.ts";

export interface Stage {
  readonly name: StageName;
  /** Opens and begins to work. Rejects with a HeadwaterError when it cannot. */
  start(): Promise<void>;
  /** Resolves when everything that had reached the stage when called has left it (replay and tests wait for this). */
  settle(): Promise<void>;
  /** Stops reading, finishes what is begun, releases everything. Idempotent. */
  stop(): Promise<void>;
}

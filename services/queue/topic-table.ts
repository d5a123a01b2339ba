/** The topics that a queue carries; `queueTopics` unless a test brings its own. */
import type { z } from "zod";
import { invariant } from "../../contract/invariant.ts";

interface TopicRow {
  readonly schema: z.ZodType;
  readonly readers: readonly string[];
  readonly depthMax: number;
  readonly atBound: "refuse" | "wait";
}

/** Topic → row, as in `contract/topic.ts`. */
export type TopicTable = Readonly<Record<string, TopicRow>>;

/** The queue of one reader of one topic. */
interface ReaderName {
  readonly topic: string;
  readonly reader: string;
  /** `<topic>.<reader>`; neither part has a dot. */
  readonly name: string;
}

/** The row of a topic; a topic that is not in the table is a programmer error. */
export function rowOf(topics: TopicTable, topic: string): TopicRow {
  const row = topics[topic];
  invariant(row !== undefined, `${topic} is not a topic`);
  return row;
}

/** Every reader of every topic, in the order of the table. */
export function readersOf(topics: TopicTable): ReaderName[] {
  return Object.entries(topics).flatMap(([topic, { readers }]) => readers.map((reader) => ({ topic, reader, name: `${topic}.${reader}` })));
}

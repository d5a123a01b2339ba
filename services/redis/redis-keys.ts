/**
 * Every key that Headwater uses in Redis. All begin with `{prefix}:`, a hash tag, so that one script may touch several of them on a cluster
 * as well. BullMQ's own keys begin with `{prefix}:queue`.
 */
import type { LogTopic } from "../../contract/topic.ts";

export interface RedisKeys {
  /** String: version of the layout of these keys. */
  readonly version: string;
  /** What BullMQ puts before its keys. */
  readonly queuePrefix: string;
  /** String: the binary body of a telemetry batch, until it is reduced. */
  payload(batchId: string): string;
  /** Sorted set: ids of reduced batches by the time they were marked. */
  readonly reduced: string;
  /** Stream: the entries of a partition; an entry's id is `<offset>-0`. */
  stream(topic: LogTopic, partition: number): string;
  /** Hash: `last`, `committed`, `position`, `fence`, `owner` of a partition. */
  partition(topic: LogTopic, partition: number): string;
  /** String with an expiry: who holds the lease of a partition. */
  lease(topic: LogTopic, partition: number): string;
  /** Hash: state chunks of a partition. */
  chunks(topic: LogTopic, partition: number): string;
  /** Hash: members of the work on a topic, and when they were heard of last. */
  members(topic: LogTopic): string;
  /** String with an expiry: number and outcome of the newest flush of a process that appends to the log. */
  writer(id: string): string;
  /** Channel on which partitions with new entries are announced. */
  readonly arrivals: string;
  /** Hash: processes by id, as JSON. */
  readonly processes: string;
}

/** The keys under a prefix (`redis.prefix` of the configuration). */
export function redisKeys(prefix: string): RedisKeys {
  const under = (name: string): string => `{${prefix}}:${name}`;
  return {
    version: under("version"),
    queuePrefix: under("queue"),
    payload: (batchId) => under(`payload:${batchId}`),
    reduced: under("reduced"),
    stream: (topic, partition) => under(`log:${topic}:${partition}`),
    partition: (topic, partition) => under(`partition:${topic}:${partition}`),
    lease: (topic, partition) => under(`lease:${topic}:${partition}`),
    chunks: (topic, partition) => under(`chunks:${topic}:${partition}`),
    members: (topic) => under(`members:${topic}`),
    writer: (id) => under(`writer:${id}`),
    arrivals: under("arrivals"),
    processes: under("processes"),
  };
}

/** Ownership of one partition of the Redis log. What it does goes by its fence and by the server's run, never by local time. */
import { Buffer } from "node:buffer";
import { HeadwaterError, toHeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Checkpoint, Clock, PartitionOwner, StoredLogEntry } from "../../contract/port.ts";
import type { LogEntry, LogTopic } from "../../contract/topic.ts";
import type { RedisKeys } from "../redis/redis-keys.ts";
import type { RedisArrivals } from "./redis-arrivals.ts";
import { commitScript, ownScript, readScript, releaseScript } from "./redis-scripts.ts";
import { listOf, type Reply, type ServerSide, textOf } from "./redis-server-side.ts";

/** Bytes of entries at which a read takes no more. */
const bytesPerReadMax = 16_777_216;

/** What all owners of a process share. */
export interface OwnerBase {
  readonly server: ServerSide;
  readonly keys: RedisKeys;
  readonly arrivals: RedisArrivals;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  readonly member: string;
  readonly leaseMs: number;
  readonly isClosing: () => boolean;
}

interface Taken {
  readonly fence: number;
  /** The start of the server under which it was taken. */
  readonly run: string;
  readonly checkpoint: Checkpoint;
}

export class RedisPartitionOwner<T extends LogTopic> implements PartitionOwner<T> {
  readonly topic: T;
  readonly partition: number;
  readonly fence: number;
  readonly run: string;
  readonly checkpoint: Checkpoint;
  /** How the partition is called in announcements and messages. */
  readonly name: string;
  readonly #base: OwnerBase;
  #lost: HeadwaterError | null = null;

  private constructor(base: OwnerBase, at: { topic: T; partition: number }, taken: Taken) {
    this.#base = base;
    this.topic = at.topic;
    this.partition = at.partition;
    this.name = `${at.topic}/${at.partition}`;
    this.fence = taken.fence;
    this.run = taken.run;
    this.checkpoint = taken.checkpoint;
  }

  /** Takes the partition. Throws PARTITION_HELD naming its owner, LOG_UNAVAILABLE, DATA_FOREIGN. */
  static async take<T extends LogTopic>(base: OwnerBase, at: { topic: T; partition: number }): Promise<RedisPartitionOwner<T>> {
    const { server, keys, member, leaseMs } = base;
    const { topic, partition } = at;
    const name = `${topic}/${partition}`;
    const touched = [keys.lease(topic, partition), keys.partition(topic, partition), keys.chunks(topic, partition)];
    const [taken, ...rest] = listOf(await server.run(ownScript, touched, [member, leaseMs, keys.arrivals, name]));
    if (taken !== 1) throw new HeadwaterError("PARTITION_HELD", `the partition ${name} belongs to the process ${textOf(rest[0])}`);
    const [fence, committed, run, flat] = rest;
    const chunks = new Map<string, Uint8Array>();
    const pairs = listOf(flat);
    for (let index = 0; index + 1 < pairs.length; index += 2) chunks.set(textOf(pairs[index]), bytesOf(pairs[index + 1]));
    const checkpoint = { offset: Number(committed), chunks };
    return new RedisPartitionOwner(base, at, { fence: Number(fence), run: textOf(run), checkpoint });
  }

  get isLost(): boolean {
    return this.#lost !== null;
  }

  async read(afterOffset: number, options: { entriesMax: number; waitMs: number }): Promise<StoredLogEntry<T>[]> {
    const { arrivals, clock, isClosing } = this.#base;
    this.#refuse();
    const endsAtMs = clock.nowMs() + options.waitMs;
    try {
      for (;;) {
        const leftMs = Math.min(options.waitMs, endsAtMs - clock.nowMs());
        const announced = arrivals.announced(this.name);
        const entries = await this.#readOnce(afterOffset, options.entriesMax);
        if (entries.length > 0 || leftMs <= 0) return entries;
        await arrivals.next(this.name, announced, leftMs);
        if (isClosing()) return [];
        if (this.#lost !== null) throw this.#lost;
      }
    } catch (error) {
      if (isClosing()) return [];
      throw error;
    }
  }

  async commit(offset: number, changed: ReadonlyMap<string, Uint8Array | null>): Promise<void> {
    const { server, keys, member, leaseMs } = this.#base;
    this.#refuse();
    const { topic, partition } = this;
    const touched = [keys.lease(topic, partition), keys.partition(topic, partition), keys.stream(topic, partition)];
    const args: (string | number | Uint8Array)[] = [this.fence, this.run, offset, member, leaseMs];
    for (const [name, bytes] of changed) args.push(name, bytes === null ? "del" : "set", bytes ?? "");
    const answer = listOf(await this.#orStopping(server.run(commitScript, [...touched, keys.chunks(topic, partition)], args)));
    this.#obey(answer);
    invariant(answer[0] === 1, `commit of ${offset} in ${this.name} is outside ${String(answer[1])}..${String(answer[2])}`);
  }

  /** Gives the lease back. Where that cannot be said, because Redis is away, it runs out by itself. */
  async release(): Promise<void> {
    // A log that closes gives back everything.
    if (this.#lost !== null || this.#base.isClosing()) return;
    this.lose(new HeadwaterError("FENCED", `the partition ${this.name} was given back`));
    try {
      await this.giveBack();
    } catch (error) {
      if (toHeadwaterError(error).code !== "LOG_UNAVAILABLE") throw error;
      this.#base.onCounted("log_redis_errors", 1);
    }
  }

  /** Gives the lease alone back; see `release`. Throws LOG_UNAVAILABLE. */
  async giveBack(): Promise<void> {
    const { server, keys, member } = this.#base;
    const touched = [keys.lease(this.topic, this.partition), keys.partition(this.topic, this.partition)];
    await server.run(releaseScript, touched, [this.fence, member]);
  }

  /** What a script found about the ownership: 0 = another process took it, -1 = the server was started again, else it stands. */
  judge(verdict: Reply, newest: number | null): void {
    if (this.#lost !== null || (verdict !== 0 && verdict !== -1)) return;
    this.#base.onCounted("log_partitions_lost", 1);
    this.lose(verdict === 0 ? fenced(this, newest) : restarted(this));
  }

  /** From now on every call fails; readers that wait are woken. */
  lose(error: HeadwaterError): void {
    this.#lost ??= error;
    this.#base.arrivals.announce(this.name);
  }

  async #readOnce(afterOffset: number, entriesMax: number): Promise<StoredLogEntry<T>[]> {
    const { server, keys, onCounted } = this.#base;
    const touched = [keys.partition(this.topic, this.partition), keys.stream(this.topic, this.partition)];
    const answer = listOf(await server.run(readScript, touched, [this.fence, this.run, afterOffset, entriesMax, bytesPerReadMax]));
    this.#obey(answer);
    const entries = listOf(answer[2]).map((entry) => this.#decode(entry));
    const missing = (entries[0]?.offset ?? 0) - 1 - Math.max(afterOffset, Number(answer[1]));
    if (missing > 0) onCounted("log_entries_lost", missing);
    return entries;
  }

  #decode(entry: Reply): StoredLogEntry<T> {
    const [id, fields] = listOf(entry);
    const [offset, rest] = textOf(id).split("-");
    const [field, json] = listOf(fields);
    try {
      if (rest !== "0" || textOf(field) !== "json") throw new SyntaxError("another field");
      return { offset: Number(offset), value: JSON.parse(textOf(json)) as LogEntry<T> };
    } catch {
      throw this.#base.server.foreign(`the entry ${textOf(id)} in ${this.#base.keys.stream(this.topic, this.partition)}`);
    }
  }

  #obey(answer: readonly Reply[]): void {
    this.judge(answer[0] ?? null, Number(answer[1]));
    if (this.#lost !== null) throw this.#lost;
  }

  #refuse(): void {
    if (this.#base.isClosing()) throw stopping();
    if (this.#lost !== null) throw this.#lost;
  }

  async #orStopping<R>(work: Promise<R>): Promise<R> {
    try {
      return await work;
    } catch (error) {
      throw this.#base.isClosing() ? stopping() : error;
    }
  }
}

/** Another process took the partition. */
export function fenced(owner: { name: string; fence: number }, newest: number | null): HeadwaterError {
  const by = newest === null ? "another process has taken it" : `${newest} is the newest`;
  return new HeadwaterError("FENCED", `fence ${owner.fence} of the partition ${owner.name} is stale, ${by}`);
}

/** The newest writes may be missing after a restart, so that what the owner knows may not be what the log holds. */
function restarted(owner: { name: string }): HeadwaterError {
  return new HeadwaterError("FENCED", `Redis was started again: the partition ${owner.name} has to be taken up anew from its checkpoint`);
}

function stopping(): HeadwaterError {
  return new HeadwaterError("STOPPING", "the partition log is closing");
}

function bytesOf(reply: Reply | undefined): Uint8Array {
  return Buffer.isBuffer(reply) ? new Uint8Array(reply) : new Uint8Array(0);
}

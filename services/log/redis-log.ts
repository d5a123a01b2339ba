/** The distributed PartitionLog: one Redis stream per partition, written and read by scripts that check fences and marks where they act. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { allPartitions, partitionCount } from "../../contract/canonical.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { invariant } from "../../contract/invariant.ts";
import type { Clock, Membership, NewLogEntry, PartitionLog, PartitionOwner } from "../../contract/port.ts";
import { type LogTopic, logTopics } from "../../contract/topic.ts";
import { checkRedis, connectRedis } from "../redis/redis-connection.ts";
import { type RedisKeys, redisKeys } from "../redis/redis-keys.ts";
import { markAgeMaxMs, RedisAppends } from "./redis-appends.ts";
import { RedisArrivals } from "./redis-arrivals.ts";
import { RedisMembership } from "./redis-members.ts";
import { fenced, RedisPartitionOwner } from "./redis-owner.ts";
import { renewScript } from "./redis-scripts.ts";
import { listOf, ServerSide } from "./redis-server-side.ts";

interface RedisPartitionLogOptions {
  /** redis://… or rediss://…, the Redis of the queue: marking a batch and removing its payload is one step. */
  readonly url: string;
  readonly prefix: string;
  /** Marks carry its time; has to be the machine's own. */
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** What this process is called among the owners and members, unique per start; made from host and process id unless told. */
  readonly memberId?: string;
  /** A partition is free, and a member gone, after so much silence; 2 s unless told. */
  readonly leaseMs?: number;
  /** Between two signs of life; 0.5 s unless told. */
  readonly renewMs?: number;
  /** Batches that are known as reduced at most; 1,000,000 unless told. */
  readonly marksMax?: number;
}

/** How long giving back what is owned may take at close. */
const giveBackWithinMs = 1_000;
/** Ids asked for in one command. */
const idsPerCommandMax = 1_000;

/**
 * Connects to Redis, which must keep what it is given (see `checkRedis`). After another start of the server every owner is fenced, because
 * the server may have come back without its last second (AOF everysec); it takes its partition up anew from the checkpoint.
 *
 * An append that rejects with LOG_UNAVAILABLE (within 5 s) may have happened nevertheless. Its batches are marked then, so repeating it
 * throws BATCH_REDUCED; entries without batches may be there twice when it is repeated.
 *
 * Counters: `log_append_waited`, `log_append_retried`, `log_entries_lost`, `log_reduced_marks_evicted`, `log_partitions_lost`,
 * `log_redis_errors`. Throws LOG_UNAVAILABLE, SERVER_REFUSED, SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN, DATA_FOREIGN.
 */
export async function openRedisPartitionLog(options: RedisPartitionLogOptions): Promise<PartitionLog> {
  const onError = (): void => options.onCounted("log_redis_errors", 1);
  const connection = connectRedis({ url: options.url, prefix: options.prefix, whenAway: "report", onError });
  try {
    await checkRedis(connection, options, "LOG_UNAVAILABLE");
  } catch (error) {
    connection.disconnect();
    throw error;
  }
  const listen = () => connectRedis({ url: options.url, prefix: options.prefix, whenAway: "wait", onError });
  return new RedisPartitionLog(options, new ServerSide(connection, options.url), listen);
}

class RedisPartitionLog implements PartitionLog {
  readonly #options: RedisPartitionLogOptions;
  readonly #server: ServerSide;
  readonly #keys: RedisKeys;
  readonly #appends: RedisAppends;
  readonly #arrivals: RedisArrivals;
  readonly #member: string;
  readonly #leaseMs: number;
  /** By name of the partition. */
  readonly #owned = new Map<string, RedisPartitionOwner<LogTopic>>();
  readonly #memberships = new Map<LogTopic, RedisMembership>();
  #cancelBeat: (() => void) | null = null;
  #beating: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: RedisPartitionLogOptions, server: ServerSide, connect: () => ReturnType<typeof connectRedis>) {
    const { clock, onCounted, prefix } = options;
    this.#options = options;
    this.#server = server;
    this.#keys = redisKeys(prefix);
    this.#member = options.memberId ?? `${hostname()}-${process.pid}-${randomBytes(4).toString("hex")}`;
    this.#leaseMs = options.leaseMs ?? 2_000;
    this.#appends = new RedisAppends({ server, keys: this.#keys, clock, onCounted, marksMax: options.marksMax ?? 1_000_000 });
    this.#arrivals = new RedisArrivals({ connect, channel: this.#keys.arrivals, clock });
  }

  async append(entries: readonly NewLogEntry[], options: { reduced: readonly string[] }): Promise<void> {
    this.#refuseWhenClosing();
    for (const { topic, partition } of entries) checkPartition(topic, partition);
    if (entries.length === 0 && options.reduced.length === 0) return;
    await this.#appends.append(entries, options.reduced);
  }

  async reduced(batchIds: readonly string[]): Promise<ReadonlySet<string>> {
    this.#refuseWhenClosing();
    const found = new Set<string>();
    const oldestMs = this.#options.clock.nowMs() - markAgeMaxMs;
    for (let from = 0; from < batchIds.length; from += idsPerCommandMax) {
      const ids = batchIds.slice(from, from + idsPerCommandMax);
      const marked = await this.#server.answered(() => this.#server.connection.zmscore(this.#keys.reduced, ...ids));
      for (const [index, id] of ids.entries()) {
        const atMs = marked[index] ?? null;
        if (atMs !== null && Number(atMs) >= oldestMs) found.add(id);
      }
    }
    return found;
  }

  async own<T extends LogTopic>(topic: T, partition: number): Promise<PartitionOwner<T>> {
    this.#refuseWhenClosing();
    checkPartition(topic, partition);
    this.#arrivals.listen();
    const base = {
      server: this.#server,
      keys: this.#keys,
      arrivals: this.#arrivals,
      clock: this.#options.clock,
      onCounted: this.#options.onCounted,
      member: this.#member,
      leaseMs: this.#leaseMs,
      isClosing: () => this.#closing !== null,
    };
    const owner = await RedisPartitionOwner.take(base, { topic, partition });
    const earlier = this.#owned.get(owner.name);
    earlier?.lose(fenced(earlier, owner.fence));
    this.#owned.set(owner.name, owner as unknown as RedisPartitionOwner<LogTopic>);
    this.#planBeat();
    return owner;
  }

  async join(topic: LogTopic): Promise<Membership> {
    this.#refuseWhenClosing();
    invariant(!this.#memberships.has(topic), `this process takes part in the work on ${topic} already`);
    const key = this.#keys.members(topic);
    const onLeft = (): void => {
      this.#memberships.delete(topic);
    };
    const membership = new RedisMembership({ server: this.#server, key, self: this.#member, aliveMs: this.#leaseMs, onLeft });
    this.#memberships.set(topic, membership);
    try {
      await membership.members();
    } catch (error) {
      onLeft();
      throw error;
    }
    this.#planBeat();
    return membership;
  }

  async lag(topic: LogTopic): Promise<number> {
    this.#refuseWhenClosing();
    const { connection } = this.#server;
    const known = await this.#server.answered(() =>
      Promise.all(allPartitions.map((partition) => connection.hmget(this.#keys.partition(topic, partition), "last", "committed"))),
    );
    return known.reduce((sum, [last, committed]) => sum + Number(last) - Number(committed), 0);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // One turn, so that `#closing` is set before anybody who is woken looks at it.
    await Promise.resolve();
    this.#cancelBeat?.();
    this.#arrivals.close();
    await this.#appends.close();
    let cancel: () => void = () => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#options.clock.schedule(giveBackWithinMs, resolve);
    });
    await Promise.race([this.#giveBack(), late]);
    cancel();
    this.#server.connection.disconnect();
  }

  /** What fails here ends by itself: leases run out, members that are not heard of are dropped. */
  async #giveBack(): Promise<void> {
    await this.#beating;
    const kept = [...this.#owned.values()].filter((owner) => !owner.isLost);
    const memberships = [...this.#memberships.values()];
    await Promise.allSettled([...kept.map((owner) => owner.giveBack()), ...memberships.map((membership) => membership.leave())]);
  }

  #planBeat(): void {
    if (this.#cancelBeat !== null || this.#beating !== null || this.#closing !== null) return;
    this.#cancelBeat = this.#options.clock.schedule(this.#options.renewMs ?? 500, () => {
      this.#cancelBeat = null;
      this.#beating = this.#beat().finally(() => {
        this.#beating = null;
        this.#planBeat();
      });
    });
  }

  /** Never rejects: while Redis is away nothing can be said, and what was lost meanwhile is found at the next beat. */
  async #beat(): Promise<void> {
    const heard = [...this.#memberships.values()].map((membership) => membership.members());
    const results = await Promise.allSettled([this.#renew(), ...heard]);
    if (results.some(({ status }) => status === "rejected")) this.#options.onCounted("log_redis_errors", 1);
  }

  async #renew(): Promise<void> {
    for (const [name, owner] of this.#owned) if (owner.isLost) this.#owned.delete(name);
    const owners = [...this.#owned.values()];
    if (owners.length === 0) return;
    const keys = owners.flatMap(({ topic, partition }) => [this.#keys.lease(topic, partition), this.#keys.partition(topic, partition)]);
    const fences = owners.flatMap(({ fence, run }) => [fence, run]);
    const answers = listOf(await this.#server.run(renewScript, keys, [this.#member, this.#leaseMs, ...fences]));
    for (const [index, owner] of owners.entries()) owner.judge(answers[index] ?? null, null);
  }

  #refuseWhenClosing(): void {
    if (this.#closing !== null) throw new HeadwaterError("STOPPING", "the partition log is closing");
  }
}

function checkPartition(topic: LogTopic, partition: number): void {
  const exists = Object.hasOwn(logTopics, topic) && Number.isInteger(partition) && partition >= 0 && partition < partitionCount;
  invariant(exists, `there is no partition ${partition} of the log ${topic}`);
}

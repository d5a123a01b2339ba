/** Claim checks: the binary body of a message under a key of its own, so that jobs stay small; one body however many readers there are. */
import type { Redis } from "ioredis";
import type { Clock } from "../../contract/port.ts";
import type { RedisKeys } from "../redis/redis-keys.ts";

/** Bodies without a job for so long are removed: their publisher died between body and job, or their dead letter was trimmed. */
const orphanAgeSeconds = 3_600;
const sweepEveryMs = 600_000;
const keysPerStep = 500;
/** Steps of one sweep; the next one goes on where it ended. */
const sweepStepsMax = 2_000;

/** Removes a body when no reader's job has it any more; answers how many were removed. */
const release = `for key = 2, #KEYS do
  if redis.call("EXISTS", KEYS[key]) == 1 then return 0 end
end
return redis.call("UNLINK", KEYS[1])`;

/** The same for a body that nobody has touched for so many seconds. */
const sweep = `local idle = redis.call("OBJECT", "IDLETIME", KEYS[1])
if not idle or idle < tonumber(ARGV[1]) then return 0 end
${release}`;

interface PayloadStoreOptions {
  readonly connection: Redis;
  readonly keys: RedisKeys;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  /** Keys of the jobs that may have the body of this message. */
  readonly jobKeys: (messageId: string) => readonly string[];
  /** An hour unless told. */
  readonly orphanAgeSeconds?: number;
}

/** Counters: `queue_payloads_swept`, `queue_sweeps_cut`, `queue_sweeps_failed`. */
export class PayloadStore {
  #options: PayloadStoreOptions;
  #cursor = "0";
  #cancelSweep: (() => void) | null = null;
  #sweeping = false;
  #stopped = false;

  constructor(options: PayloadStoreOptions) {
    this.#options = options;
  }

  /** Without a TTL: a body lives as long as its jobs. */
  async put(messageId: string, body: Uint8Array): Promise<void> {
    const { connection, keys } = this.#options;
    await connection.set(keys.payload(messageId), Buffer.from(body.buffer, body.byteOffset, body.byteLength));
  }

  /** Null when there is none. `connection`: the one to read by. */
  async get(messageId: string, connection: Redis): Promise<Uint8Array | null> {
    const buffer = await connection.getBuffer(this.#options.keys.payload(messageId));
    return buffer === null ? null : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }

  /** To be called after a job of the message is gone; the last one takes the body with it. */
  async release(messageId: string): Promise<void> {
    const { connection, keys, jobKeys } = this.#options;
    const all = [keys.payload(messageId), ...jobKeys(messageId)];
    await connection.eval(release, all.length, ...all);
  }

  /** Sweeps now and every ten minutes, until `stop`. Called again it does nothing. */
  startSweeping(): void {
    if (this.#sweeping || this.#stopped) return;
    this.#sweeping = true;
    const again = async (): Promise<void> => {
      await this.#sweep().catch(() => this.#options.onCounted("queue_sweeps_failed", 1));
      if (!this.#stopped) this.#cancelSweep = this.#options.clock.schedule(sweepEveryMs, () => void again());
    };
    void again();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelSweep?.();
  }

  async #sweep(): Promise<void> {
    const { connection, keys, onCounted } = this.#options;
    for (let steps = 0; !this.#stopped; steps += 1) {
      if (steps === sweepStepsMax) {
        onCounted("queue_sweeps_cut", 1);
        return;
      }
      const [cursor, found] = await connection.scan(this.#cursor, "MATCH", keys.payload("*"), "COUNT", keysPerStep);
      const swept = await this.#sweepKeys(found);
      if (swept > 0) onCounted("queue_payloads_swept", swept);
      this.#cursor = cursor;
      if (cursor === "0") return;
    }
  }

  async #sweepKeys(found: readonly string[]): Promise<number> {
    const { connection, keys, jobKeys } = this.#options;
    const prefixLength = keys.payload("").length;
    const age = this.#options.orphanAgeSeconds ?? orphanAgeSeconds;
    let swept = 0;
    for (const key of found) {
      const all = [key, ...jobKeys(key.slice(prefixLength))];
      swept += Number(await connection.eval(sweep, all.length, ...all, age));
    }
    return swept;
  }
}

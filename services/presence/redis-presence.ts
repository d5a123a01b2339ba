/** Presence in the Redis that queue and log share: one hash, a field a process. */
import type { Redis } from "ioredis";
import type { Clock, Presence, ProcessStatus, SeenProcess } from "../../contract/port.ts";
import { answered, checkRedis, connectRedis, type RedisPlace, redisAddress } from "../redis/redis-connection.ts";
import { redisKeys } from "../redis/redis-keys.ts";
import { inOrder, keptMs, ProcessRecord, processesMax, recordOf } from "./process-record.ts";

interface RedisPresenceOptions extends RedisPlace {
  /** Times come from Redis; the option is there as every adapter has it. */
  readonly clock: Clock;
  /**
   * `presence_processes_expired`: silent for an hour; `presence_processes_evicted`: more than 1,000; `presence_entries_unknown`: an entry
   * that we cannot read, passed over; `presence_connection_errors`: attempts to connect that failed.
   */
  readonly onCounted: (name: string, amount: number) => void;
}

/**
 * Removes what is not a process any more and answers how many for each reason. `now` is Redis's own time, so that the clocks of hosts do not
 * matter. A field is `<announced at, ms> <JSON>`; one that does not begin with a time is not ours to judge here and counts as the oldest.
 */
const sweep = `
local function sweep(key, now, keptMs, processesMax)
  local fields = redis.call('HGETALL', key)
  local kept, expired, evicted = {}, 0, 0
  for i = 1, #fields, 2 do
    local at = tonumber(string.match(fields[i + 1], '^(%d+) ')) or 0
    if at > 0 and at < now - keptMs then
      redis.call('HDEL', key, fields[i])
      expired = expired + 1
    else
      kept[#kept + 1] = { at, fields[i] }
    end
  end
  if #kept > processesMax then
    table.sort(kept, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
    for i = 1, #kept - processesMax do
      redis.call('HDEL', key, kept[i][2])
      evicted = evicted + 1
    end
  end
  return expired, evicted
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** KEYS: processes. ARGV: id, JSON, keptMs, processesMax. Everybody is looked at only when somebody is new: 1,000 announce every 2 s. */
const announceScript = `${sweep}
local added = redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
if added == 0 then return { 0, 0 } end
local expired, evicted = sweep(KEYS[1], now, tonumber(ARGV[3]), tonumber(ARGV[4]))
return { expired, evicted }
`;

/** KEYS: processes. ARGV: keptMs, processesMax. */
const listScript = `${sweep}
local expired, evicted = sweep(KEYS[1], now, tonumber(ARGV[1]), tonumber(ARGV[2]))
return { string.format('%.0f', now), expired, evicted, redis.call('HGETALL', KEYS[1]) }
`;

/**
 * Connects and checks the server. While Redis is away every call fails with QUEUE_UNAVAILABLE within 5 s, and works again by itself when it
 * is back. Throws QUEUE_UNAVAILABLE, SERVER_REFUSED, SERVER_UNSUITABLE, DATA_VERSION_UNKNOWN, DATA_FOREIGN.
 */
export async function openRedisPresence(options: RedisPresenceOptions): Promise<Presence> {
  const onError = (): void => options.onCounted("presence_connection_errors", 1);
  const connection = connectRedis({ url: options.url, prefix: options.prefix, whenAway: "report", onError });
  try {
    await checkRedis(connection, options, "QUEUE_UNAVAILABLE");
  } catch (error) {
    connection.disconnect();
    throw error;
  }
  return new RedisPresence(connection, options);
}

class RedisPresence implements Presence {
  readonly #connection: Redis;
  readonly #options: RedisPresenceOptions;
  readonly #key: string;

  constructor(connection: Redis, options: RedisPresenceOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#key = redisKeys(options.prefix).processes;
  }

  async announce(status: ProcessStatus): Promise<void> {
    const json = JSON.stringify(recordOf(status));
    const swept = await this.#run((redis) => redis.eval(announceScript, 1, this.#key, status.id, json, keptMs, processesMax));
    this.#countSwept(swept as [number, number]);
  }

  async list(): Promise<SeenProcess[]> {
    const answer = await this.#run((redis) => redis.eval(listScript, 1, this.#key, keptMs, processesMax));
    const [now, expired, evicted, fields] = answer as [string, number, number, string[]];
    this.#countSwept([expired, evicted]);
    const seen: SeenProcess[] = [];
    for (let index = 0; index + 1 < fields.length; index += 2) {
      const process = seenProcess({ id: fields[index] ?? "", text: fields[index + 1] ?? "", readAtMs: Number(now) });
      if (process === null) this.#options.onCounted("presence_entries_unknown", 1);
      else seen.push(process);
    }
    return inOrder(seen);
  }

  async withdraw(id: string): Promise<void> {
    await this.#run((redis) => redis.hdel(this.#key, id));
  }

  async close(): Promise<void> {
    this.#connection.disconnect();
  }

  #run<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    return answered(() => work(this.#connection), { address: redisAddress(this.#options.url), unavailable: "QUEUE_UNAVAILABLE" });
  }

  #countSwept([expired, evicted]: [number, number]): void {
    if (expired > 0) this.#options.onCounted("presence_processes_expired", expired);
    if (evicted > 0) this.#options.onCounted("presence_processes_evicted", evicted);
  }
}

/** Null for an entry that this version cannot read, or that stands under another id than its own. */
function seenProcess(entry: { id: string; text: string; readAtMs: number }): SeenProcess | null {
  const parts = /^(\d{1,15}) ([\s\S]*)$/.exec(entry.text);
  if (parts === null) return null;
  let json: unknown;
  try {
    json = JSON.parse(parts[2] ?? "");
  } catch {
    return null;
  }
  const parsed = ProcessRecord.safeParse(json);
  if (!parsed.success || parsed.data.id !== entry.id) return null;
  return { ...parsed.data, atMs: Number(parts[1]), readAtMs: entry.readAtMs };
}

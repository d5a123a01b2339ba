/** A subscriber of one reader's queue in Redis: takes jobs, fetches bodies, hands messages out, and what becomes of them afterwards. */
import { type Job, UnrecoverableError, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";
import { type JobData, parseJobData } from "./job.ts";
import type { PayloadStore } from "./payload-store.ts";
import { afterFailure, backoffMs, deadLettersMax, rethrowInvariant } from "./retry.ts";
import type { TopicTable } from "./topic-table.ts";
import { joinBody, validated } from "./validate-message.ts";

/** A job whose worker has not renewed its lock for so long belongs to nobody. */
const lockMs = 4_000;
/** Jobs without a lock are looked for so often: found on the second look, so that a killed worker's are handed out again within 10 s. */
const stalledLookMs = 2_500;
/** How often a job may lose its worker before it is taken for the reason of it. */
const stalledCountMax = 10;
/** Pause before a step of BullMQ's that lost its connection is tried again. */
const stepRetryMs = 500;
/** Handings-out before a body that is missing is lost: its publisher may be about to put it there again, after Redis was restarted. */
const bodyLooksMax = 3;
/** How long Redis may take to note what handlers have finished, once nothing more is handed out. */
const stopWaitMs = 4_000;

interface BullmqReaderOptions {
  readonly topics: TopicTable;
  readonly topic: string;
  /** `<topic>.<reader>`. */
  readonly name: string;
  readonly queuePrefix: string;
  /** Waits while Redis is away; shared by all readers of the process. */
  readonly connection: Redis;
  readonly payloads: PayloadStore;
  readonly clock: Clock;
  readonly onCounted: (name: string, amount: number) => void;
  readonly reduced: ((batchIds: readonly string[]) => Promise<ReadonlySet<string>>) | null;
  readonly handler: (message: unknown) => Promise<void>;
  readonly concurrency: number;
}

type JobJson = Parameters<Worker["Job"]["fromJSON"]>[1];

class TolerantWorker extends Worker<JobData> {
  /** BullMQ's own asks again at once, and so without a pause for as long as Redis refuses (out of memory, password changed). */
  protected override async moveToActive(token: string, name?: string): Promise<Job<JobData>> {
    try {
      return await super.moveToActive(token, name);
    } catch (error) {
      if (this.closing === undefined) await this.delay(stepRetryMs);
      throw error;
    }
  }

  /** BullMQ's own throws at data that are no JSON and leaves the job where it is, to be met again for ever. */
  protected override createJob(raw: JobJson, jobId: string): Job<JobData> {
    try {
      return super.createJob(raw, jobId);
    } catch {
      return super.createJob({ ...raw, data: JSON.stringify({ unreadable: String(raw.data).slice(0, 200) }) }, jobId);
    }
  }
}

/** Counters: `queue_retried`, `queue_dead_letters`, `queue_redelivered_done`, `queue_payloads_lost`, `queue_redis_errors`. */
export class BullmqReader {
  #options: BullmqReaderOptions;
  #worker: TolerantWorker;
  #running = 0;
  #onIdle: (() => void)[] = [];
  /** Bodies that are being removed after their job. */
  #releases = new Set<Promise<void>>();
  #stopping: Promise<void> | null = null;

  constructor(options: BullmqReaderOptions) {
    this.#options = options;
    this.#worker = new TolerantWorker(options.name, (job) => this.#handle(job), {
      connection: options.connection,
      prefix: options.queuePrefix,
      concurrency: options.concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledLookMs,
      maxStalledCount: stalledCountMax,
      runRetryDelay: stepRetryMs,
      // For jobs that others have put there; ours say so themselves.
      removeOnComplete: { count: 0 },
      removeOnFail: { count: deadLettersMax },
      settings: { backoffStrategy: (attemptsMade) => backoffMs(attemptsMade) },
    });
    this.#worker.on("error", () => options.onCounted("queue_redis_errors", 1));
    this.#worker.on("completed", (job) => this.#release(job));
    // Given up by BullMQ itself, without our handler.
    this.#worker.on("failed", (job) => {
      if (job?.deferredFailure !== undefined) options.onCounted("queue_dead_letters", 1);
    });
  }

  async ready(): Promise<void> {
    await this.#worker.waitUntilReady();
  }

  /** Stops handing out and waits for running handlers; what Redis did not note in time is handed out again later. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const closed = this.#worker.close().then(() => Promise.all(this.#releases));
    const isIdle = this.#running === 0 ? Promise.resolve() : new Promise<void>((resolve) => this.#onIdle.push(resolve));
    let cancel = (): void => undefined;
    const late = isIdle.then(
      () =>
        new Promise<"late">((resolve) => {
          cancel = this.#options.clock.schedule(stopWaitMs, () => resolve("late"));
        }),
    );
    const failed = (): void => this.#options.onCounted("queue_redis_errors", 1);
    const how = await Promise.race([closed.then(() => "closed" as const, failed), late]);
    cancel();
    if (how !== "late") return;
    void closed.catch(() => undefined);
    void this.#worker.getBackend().close(true).catch(failed);
  }

  async #handle(job: Job<JobData>): Promise<void> {
    this.#running += 1;
    try {
      const message = await this.#read(job);
      if (message !== null) await this.#options.handler(message);
    } catch (failure) {
      const { action, error } = afterFailure(failure, job.attemptsMade + 1);
      this.#options.onCounted(action === "retry" ? "queue_retried" : "queue_dead_letters", 1);
      rethrowInvariant(failure);
      throw action === "retry" ? error : new UnrecoverableError(`${error.code}: ${error.message}`);
    } finally {
      this.#running -= 1;
      if (this.#running === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    }
  }

  /** The whole message; null when it was handled before. Throws REQUEST_INVALID, QUEUE_UNAVAILABLE, PAYLOAD_LOST. */
  async #read(job: Job<JobData>): Promise<unknown> {
    const { topics, topic, payloads, connection, reduced, onCounted } = this.#options;
    const { json, bodyBytes } = parseJobData(job.data);
    if (bodyBytes === null) return validated(topics, topic, json);
    const id = idOf(json);
    const body = await payloads.get(id, connection);
    if (body !== null) return validated(topics, topic, joinBody(json, body));
    if (reduced !== null && (await reduced([id])).has(id)) {
      onCounted("queue_redelivered_done", 1);
      return null;
    }
    if (job.attemptsMade + 1 < bodyLooksMax) throw new HeadwaterError("QUEUE_UNAVAILABLE", `the body of ${topic} ${id} is not in Redis`);
    onCounted("queue_payloads_lost", 1);
    throw new HeadwaterError(
      "PAYLOAD_LOST",
      `the ${bodyBytes} bytes of ${topic} ${id} are gone from Redis, and it is not marked as handled`,
    );
  }

  #release(job: Job<JobData>): void {
    const data = job.data as Partial<JobData>;
    if (typeof data.bodyBytes !== "number") return;
    const release = this.#options.payloads
      .release(idOf(data.json))
      // It is removed by a sweep then.
      .catch(() => this.#options.onCounted("queue_redis_errors", 1))
      .finally(() => this.#releases.delete(release));
    this.#releases.add(release);
  }
}

function idOf(json: unknown): string {
  const id = (json as { readonly id?: unknown } | null)?.id;
  if (typeof id === "string") return id;
  throw new HeadwaterError("REQUEST_INVALID", "a message with a body has no id");
}

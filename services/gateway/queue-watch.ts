/** The queue as the gateway uses it, and whether it can be reached: senders are told by 503, operators by a sentence. */
import { type ErrorCode, HeadwaterError } from "../../contract/error.ts";
import type { Outages } from "../../contract/outage.ts";
import type { Queue } from "../../contract/port.ts";
import type { QueueMessage, QueueReader, QueueTopic } from "../../contract/topic.ts";

const step = "reach the queue";
/** What does not come of the message, or of a queue that is full. */
const awayCodes: ReadonlySet<ErrorCode> = new Set(["QUEUE_UNAVAILABLE", "SERVER_REFUSED", "SERVER_UNSUITABLE", "DATA_FOREIGN"]);

export class QueueWatch implements Pick<Queue, "publish" | "depth"> {
  readonly #queue: Queue;
  readonly #outages: Outages;
  #isAsking = false;

  constructor(queue: Queue, outages: Outages) {
    this.#queue = queue;
    this.#outages = outages;
  }

  publish<T extends QueueTopic>(topic: T, message: QueueMessage<T>): Promise<void> {
    return this.#watched(() => this.#queue.publish(topic, message));
  }

  depth<T extends QueueTopic>(topic: T, reader: QueueReader<T>): Promise<number> {
    return this.#watched(() => this.#queue.depth(topic, reader));
  }

  /** While the queue is away it is asked again here: a gateway that is not ready may be sent nothing that would show that it is back. */
  reasons(): readonly string[] {
    const reasons = this.#outages.reasons();
    if (reasons.length > 0 && !this.#isAsking) {
      this.#isAsking = true;
      this.depth("telemetry", "ingest").then(
        () => this.#asked(),
        () => this.#asked(),
      );
    }
    return reasons;
  }

  #asked(): void {
    this.#isAsking = false;
  }

  async #watched<R>(work: () => Promise<R>): Promise<R> {
    try {
      const result = await work();
      this.#outages.passed(step);
      return result;
    } catch (error) {
      if (error instanceof HeadwaterError && awayCodes.has(error.code)) this.#outages.failed(step, error);
      else this.#outages.passed(step);
      throw error;
    }
  }
}

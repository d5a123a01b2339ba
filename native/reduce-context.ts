/** Where the reducer is in a batch: whose resource, which windows, and what was refused so far. */
import type { OtlpAttributes, OtlpTime } from "./otlp-model.ts";
import {
  type Accumulator,
  addAccumulator,
  addCount,
  addObservation,
  type EntityPart,
  emptyEntityPart,
  emptyWindowPart,
  type ReduceOptions,
  type Reduction,
  type RejectReason,
  type WindowPart,
} from "./reduction.ts";
import { type ResourceEntity, resourceEntity, senderIdentity } from "./resource.ts";
import { shortenedText } from "./text.ts";

const sampleLengthMax = 200;

export class ReduceContext {
  readonly options: ReduceOptions;
  readonly reduction: Reduction;
  #receivedAtMs: number;
  #resource: ResourceEntity | null = null;
  #part: EntityPart | null = null;
  #resourceNewestUs = 0;
  #sender = "";
  /** Name of the instrumentation scope that the items belong to. */
  scope = "";

  constructor(reduction: Reduction, options: ReduceOptions, receivedAtMs: number) {
    this.reduction = reduction;
    this.options = options;
    this.#receivedAtMs = receivedAtMs;
  }

  /** Goes to the items of another resource. */
  enterResource(attributes: OtlpAttributes): void {
    this.leaveResource();
    this.#resource = resourceEntity(attributes);
    this.#sender = senderIdentity(attributes);
    this.scope = "";
  }

  /** Records that the entity was seen, when one of its items was used. */
  leaveResource(): void {
    if (this.#resource !== null && this.#part !== null) {
      const atMs = Math.floor(this.#resourceNewestUs / 1_000);
      addObservation(this.#part.observations, { ...this.#resource, atMs });
    }
    this.#resource = null;
    this.#part = null;
    this.#resourceNewestUs = 0;
  }

  /** The entity of the current resource, or null after counting `items` rejects. */
  entityOr(items: number): string | null {
    if (this.#resource !== null) return this.#resource.entity;
    this.reject("no-entity", () => "the resource has neither service.name nor job nor host.name", items);
    return null;
  }

  /** Tells the sender of a metric from others of the same entity. */
  get sender(): string {
    return this.#sender;
  }

  /** Whether an event time can be used; when not, the reject is counted. `what` names the item in a sentence. */
  timeAccepted(at: OtlpTime, what: () => string): boolean {
    if (at.us === 0 && at.ns === 0) return this.reject("time-missing", () => `${what()} has no time`);
    const { pastMaxMs, futureMaxMs } = this.options;
    const atMs = at.us / 1_000;
    if (atMs >= this.#receivedAtMs - pastMaxMs && atMs <= this.#receivedAtMs + futureMaxMs) return true;
    return this.reject("time-out-of-range", () => `${what()} has the time ${timeText(atMs)}, received at ${timeText(this.#receivedAtMs)}`);
  }

  windowStartMs(us: number): number {
    const { windowMs } = this.options;
    return Math.floor(us / (windowMs * 1_000)) * windowMs;
  }

  /** Takes an item with an accepted time: its entity's part in its window, which may be that of a moment (`windowUs`) before. */
  windowAt(us: number, windowUs = us): WindowPart {
    this.reduction.itemCount += 1;
    if (us > this.reduction.newestAtUs) this.reduction.newestAtUs = us;
    if (us > this.#resourceNewestUs) this.#resourceNewestUs = us;
    const { windows } = this.#entityPart();
    const startMs = this.windowStartMs(windowUs);
    let window = windows.get(startMs);
    if (window === undefined) {
      window = emptyWindowPart();
      windows.set(startMs, window);
    }
    return window;
  }

  add(window: WindowPart, item: Accumulator): void {
    addAccumulator(window.partials, item, "yes");
  }

  /** Counts rejects and keeps the first sentence per reason. Always false, so that it can be returned. */
  reject(reason: RejectReason, text: () => string, items = 1): false {
    const { rejects, samples } = this.reduction;
    if (!rejects.has(reason) && items > 0) samples.push({ reason, text: shortenedText(text(), sampleLengthMax) });
    addCount(rejects, reason, items);
    return false;
  }

  /** The entity's name for sentences. */
  get entityName(): string {
    return this.#resource?.entity ?? "(no entity)";
  }

  #entityPart(): EntityPart {
    if (this.#part !== null) return this.#part;
    const { entities } = this.reduction;
    const entity = this.entityName;
    const part = entities.get(entity) ?? emptyEntityPart();
    entities.set(entity, part);
    this.#part = part;
    return part;
  }
}

/** ISO 8601 where a date can hold it. */
function timeText(ms: number): string {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`;
}

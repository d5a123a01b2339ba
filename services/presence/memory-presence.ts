/** The embedded Presence: this process only, which is the whole installation. */
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock, Presence, ProcessStatus, SeenProcess } from "../../contract/port.ts";
import { inOrder, keptMs, processesMax, recordOf } from "./process-record.ts";

interface MemoryPresenceOptions {
  readonly clock: Clock;
  /** `presence_processes_expired`: silent for an hour; `presence_processes_evicted`: more than 1,000. */
  readonly onCounted: (name: string, amount: number) => void;
}

interface Announced {
  readonly atMs: number;
  readonly status: ProcessStatus;
}

/** Keeps what was announced in memory until `close`; after that every call fails with QUEUE_UNAVAILABLE. */
export async function openMemoryPresence(options: MemoryPresenceOptions): Promise<Presence> {
  return new MemoryPresence(options);
}

class MemoryPresence implements Presence {
  readonly #options: MemoryPresenceOptions;
  /** The one that announced last is last. */
  readonly #announced = new Map<string, Announced>();
  #isClosed = false;

  constructor(options: MemoryPresenceOptions) {
    this.#options = options;
  }

  async announce(status: ProcessStatus): Promise<void> {
    this.#refuseWhenClosed();
    this.#announced.delete(status.id);
    this.#announced.set(status.id, { atMs: this.#options.clock.nowMs(), status: recordOf(status) });
    this.#forgetExpired();
    for (const id of this.#announced.keys()) {
      if (this.#announced.size <= processesMax) break;
      this.#forget(id, "presence_processes_evicted");
    }
  }

  async list(): Promise<SeenProcess[]> {
    this.#refuseWhenClosed();
    this.#forgetExpired();
    const readAtMs = this.#options.clock.nowMs();
    return inOrder([...this.#announced.values()].map(({ atMs, status }) => ({ ...recordOf(status), atMs, readAtMs })));
  }

  async withdraw(id: string): Promise<void> {
    this.#refuseWhenClosed();
    this.#announced.delete(id);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#announced.clear();
  }

  #forgetExpired(): void {
    const expiredMs = this.#options.clock.nowMs() - keptMs;
    for (const [id, { atMs }] of this.#announced) {
      if (atMs >= expiredMs) break;
      this.#forget(id, "presence_processes_expired");
    }
  }

  #forget(id: string, counter: string): void {
    this.#announced.delete(id);
    this.#options.onCounted(counter, 1);
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw new HeadwaterError("QUEUE_UNAVAILABLE", "the list of processes is closed");
  }
}

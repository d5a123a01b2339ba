/** Makes calls of their two sides: a client half and the server halves with the same trace and span id, within a time. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";
import type { HalfDependency } from "../../contract/window.ts";

export interface Call {
  readonly client: HalfDependency;
  readonly server: HalfDependency;
}

/** Halves whose other side did not come in time. */
export interface Unmatched {
  readonly clients: HalfDependency[];
  readonly servers: HalfDependency[];
}

interface Pending {
  client: HalfDependency | null;
  /** Server halves that wait for a client. */
  servers: HalfDependency[];
  isJoined: boolean;
  /** When the half that came last was taken in. */
  takenMs: number;
  deadlineMs: number;
}

export type StoredCallJoin = readonly (readonly [string, Pending])[];

/** `takenMs` and deadlines are the closed second's, so that a half that comes late still gets its full wait. */
export class CallJoin {
  readonly #options: { readonly joinWaitMs: number; readonly pendingMax: number; readonly onDropped: () => void };
  readonly #pending = new Map<string, Pending>();
  /** Deadline → keys that may be due then; a deadline that was moved is looked at again. */
  readonly #due = new Map<number, string[]>();

  constructor(options: { joinWaitMs: number; pendingMax: number; onDropped: () => void }) {
    this.#options = options;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Takes a half in; answers the calls that it completes. Halves of one second come sorted, see `compareHalves`. */
  add(half: HalfDependency, takenMs: number): Call[] {
    const key = `${half.traceId}/${half.spanId}`;
    const known = this.#pending.get(key);
    if (known === undefined && this.#pending.size >= this.#options.pendingMax) {
      this.#options.onDropped();
      return [];
    }
    const pending = known ?? { client: null, servers: [], isJoined: false, takenMs, deadlineMs: 0 };
    this.#pending.set(key, pending);
    pending.takenMs = takenMs;
    if (half.side === "client") return this.#addClient(key, pending, half);
    if (pending.client === null) {
      pending.servers.push(half);
      if (pending.deadlineMs === 0) this.#schedule(key, pending);
      return [];
    }
    pending.isJoined = true;
    return [{ client: pending.client, server: half }];
  }

  /** Gives up what has waited long enough at `nowMs`, in order of key. */
  expire(nowMs: number): Unmatched {
    const unmatched: Unmatched = { clients: [], servers: [] };
    const deadlines = [...this.#due.keys()].filter((deadlineMs) => deadlineMs <= nowMs);
    const keys = new Set(deadlines.flatMap((deadlineMs) => this.#due.get(deadlineMs) ?? []));
    for (const deadlineMs of deadlines) this.#due.delete(deadlineMs);
    for (const key of sortedBy(keys, (name) => name)) {
      const pending = this.#pending.get(key);
      if (pending === undefined || pending.deadlineMs > nowMs) continue;
      this.#pending.delete(key);
      if (pending.client !== null && !pending.isJoined) unmatched.clients.push(pending.client);
      unmatched.servers.push(...pending.servers);
    }
    return unmatched;
  }

  /** Client halves that still wait for their first server half. */
  *waitingClients(): Iterable<HalfDependency> {
    for (const { client, isJoined } of this.#pending.values()) if (client !== null && !isJoined) yield client;
  }

  toJSON(): StoredCallJoin {
    return sortedBy(this.#pending, ([key]) => key);
  }

  restore(stored: StoredCallJoin): void {
    for (const [key, pending] of stored) {
      this.#pending.set(key, pending);
      this.#remember(key, pending.deadlineMs);
    }
  }

  #addClient(key: string, pending: Pending, client: HalfDependency): Call[] {
    // A span id is one span's; a second client half is the same one sent twice.
    if (pending.client !== null) return [];
    pending.client = client;
    const calls = pending.servers.map((server) => ({ client, server }));
    pending.servers = [];
    pending.isJoined = calls.length > 0;
    this.#schedule(key, pending);
    return calls;
  }

  #schedule(key: string, pending: Pending): void {
    pending.deadlineMs = pending.takenMs + this.#options.joinWaitMs;
    this.#remember(key, pending.deadlineMs);
  }

  #remember(key: string, deadlineMs: number): void {
    const keys = this.#due.get(deadlineMs);
    if (keys === undefined) this.#due.set(deadlineMs, [key]);
    else keys.push(key);
  }
}

/** The order in which the halves of one second are taken in, whatever order they came in. */
export function compareHalves(left: HalfDependency, right: HalfDependency): number {
  return (
    left.atMs - right.atMs ||
    compareCodeUnits(left.traceId, right.traceId) ||
    compareCodeUnits(left.spanId ?? "", right.spanId ?? "") ||
    compareCodeUnits(left.side, right.side) ||
    compareCodeUnits(left.entity, right.entity) ||
    compareCodeUnits(left.peer ?? "", right.peer ?? "")
  );
}

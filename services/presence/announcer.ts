/** Tells the others that this process is there and how it is, until it stops. */
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock, Presence, ProcessStatus } from "../../contract/port.ts";

const announceEveryMs = 2_000;
/** After an announcement that failed: others must not take us for dead longer than need be. */
const announceAgainMs = 500;
/** How long the way off the list may take at stop. */
const withdrawWithinMs = 2_000;

/** An outage that is over. */
export interface EndedOutage {
  readonly lastedMs: number;
  /** Announcements that failed during it. */
  readonly failures: number;
}

export interface AnnouncerOptions {
  readonly presence: Presence;
  readonly clock: Clock;
  /** Asked before each announcement. */
  readonly status: () => ProcessStatus;
  /** Once per outage, at its first failure. */
  readonly onError: (error: HeadwaterError) => void;
  /** Once per outage, when it is over. */
  readonly onRecovered?: (outage: EndedOutage) => void;
}

export interface Announcer {
  /** Announces, and again every 2 s. Resolves after the first attempt, whether it succeeded or not. */
  start(): Promise<void>;
  /** Announces no more and takes the process off the list; gives up on that after 2 s. Idempotent. */
  stop(): Promise<void>;
}

export function createAnnouncer(options: AnnouncerOptions): Announcer {
  const { presence, clock } = options;
  let outage: { sinceMs: number; failures: number } | null = null;
  let announcing: Promise<void> = Promise.resolve();
  let cancelNext: (() => void) | null = null;
  let stopping: Promise<void> | null = null;
  let id: string | null = null;

  async function announce(): Promise<void> {
    const status = options.status();
    id = status.id;
    const beganMs = clock.nowMs();
    try {
      await presence.announce(status);
      if (outage !== null) options.onRecovered?.({ lastedMs: clock.nowMs() - outage.sinceMs, failures: outage.failures });
      outage = null;
    } catch (error) {
      // What is not an operational failure is a programmer error, and ends the process.
      if (!(error instanceof HeadwaterError)) throw error;
      if (outage === null) options.onError(error);
      outage = { sinceMs: outage?.sinceMs ?? beganMs, failures: (outage?.failures ?? 0) + 1 };
    }
    if (stopping === null) cancelNext = clock.schedule(outage === null ? announceEveryMs : announceAgainMs, again);
  }

  function again(): void {
    announcing = announce();
  }

  async function withdraw(): Promise<void> {
    await announcing;
    if (id !== null) await presence.withdraw(id);
  }

  async function stop(): Promise<void> {
    cancelNext?.();
    await new Promise<void>((resolve) => {
      const cancel = clock.schedule(withdrawWithinMs, resolve);
      // Who cannot be taken off the list is found silent by the others.
      const ended = (): void => {
        cancel();
        resolve();
      };
      withdraw().then(ended, ended);
    });
  }

  return {
    start() {
      again();
      return announcing;
    },
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

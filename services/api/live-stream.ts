/**
 * Server-sent events: `incident` with a summary for each new incident event, `window` with the newest closed window, `installation` with a
 * mark that is another one whenever processes or troubles of Headwater itself changed.
 */
import type { Request, Response } from "express";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";
import type { IncidentSummary } from "../../contract/route.ts";

/** Clients at the same time; one more is told to come back. */
export const sseClientsMax = 200;
/** What may wait for one client; a client that is slower is dropped, and reconnects to a fresh state. */
export const sseBufferedBytesMax = 262_144;
/** Short, so that a page notices soon that an API is paused: its client gives up after 8 s of silence. */
const heartbeatMs = 3_000;
const windowEveryMs = 1_000;
const reconnectMs = 2_000;

export interface LiveStream {
  start(): void;
  /** Answers a request with the stream. Throws STOPPING, or QUEUE_UNAVAILABLE (503) when all places are taken. */
  join(request: Request, response: Response): void;
  incidentChanged(summary: IncidentSummary): void;
  stop(): void;
}

export interface LiveStreamOptions {
  readonly clock: Clock;
  /** The newest closed window; asked at most once per second, and only while somebody listens. */
  readonly newestWindow: () => Promise<number | null>;
  /** The mark of how Headwater itself is; asked as the window is. */
  readonly installation: () => Promise<string>;
  /** How many clients listen, after each change. */
  readonly onClients: (count: number) => void;
  readonly onCounted: (reason: "refused" | "slow") => void;
  /** A failure of `newestWindow` or `installation`; the stream goes on. */
  readonly onError: (error: unknown) => void;
}

export function createLiveStream(options: LiveStreamOptions): LiveStream {
  const clients = new Set<Response>();
  const timers = new Map<string, () => void>();
  let stopped = false;
  let newestSentMs: number | null = null;
  let markSent: string | null = null;

  function every(name: string, periodMs: number, work: () => Promise<void>): void {
    const again = (): void => {
      if (!stopped) timers.set(name, options.clock.schedule(periodMs, run));
    };
    const run = (): void => void work().catch(options.onError).finally(again);
    again();
  }

  function write(client: Response, text: string): void {
    if (client.writableLength + text.length > sseBufferedBytesMax) {
      options.onCounted("slow");
      leave(client);
      client.destroy();
      return;
    }
    client.write(text);
  }

  function leave(client: Response): void {
    if (clients.delete(client)) options.onClients(clients.size);
  }

  async function sendWindow(): Promise<void> {
    if (clients.size === 0) return;
    const newestWindowMs = await options.newestWindow();
    if (newestWindowMs === null || newestWindowMs === newestSentMs) return;
    newestSentMs = newestWindowMs;
    for (const client of clients) write(client, frame("window", { newestWindowMs }));
  }

  async function sendInstallation(): Promise<void> {
    if (clients.size === 0) return;
    const mark = await options.installation();
    if (mark === markSent) return;
    markSent = mark;
    for (const client of clients) write(client, frame("installation", { mark }));
  }

  return {
    start() {
      every("heartbeat", heartbeatMs, async () => {
        for (const client of clients) write(client, ": heartbeat\n\n");
      });
      every("window", windowEveryMs, sendWindow);
      every("installation", windowEveryMs, sendInstallation);
    },
    join(request, response) {
      if (stopped) throw new HeadwaterError("STOPPING", "Headwater is stopping", { retryAfterSeconds: 5 });
      if (clients.size >= sseClientsMax) {
        options.onCounted("refused");
        throw new HeadwaterError("QUEUE_UNAVAILABLE", `${sseClientsMax} clients are listening already`, { retryAfterSeconds: 10 });
      }
      response.status(200);
      response.setHeader("Content-Type", "text/event-stream; charset=utf-8");
      response.setHeader("Cache-Control", "no-store");
      response.setHeader("X-Accel-Buffering", "no");
      response.flushHeaders();
      request.socket.setNoDelay(true);
      clients.add(response);
      options.onClients(clients.size);
      response.on("close", () => leave(response));
      write(response, `retry: ${reconnectMs}\n: welcome\n\n`);
      if (newestSentMs !== null) write(response, frame("window", { newestWindowMs: newestSentMs }));
      if (markSent !== null) write(response, frame("installation", { mark: markSent }));
    },
    incidentChanged(summary) {
      const text = frame("incident", summary);
      for (const client of clients) write(client, text);
    },
    stop() {
      stopped = true;
      for (const cancel of timers.values()) cancel();
      for (const client of clients) client.end();
      clients.clear();
    },
  };
}

/** JSON has no line breaks of its own, so one `data` line holds it. */
function frame(event: "incident" | "window" | "installation", data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Live events of the API through fetch, so that they work in Node and in browsers, with a token too. */
import type { IncidentSummary } from "../contract/route.ts";
import { createEventStreamParser, type StreamEvent } from "./event-stream-parser.ts";

/** `refused`: the API wants another token; nothing is tried again. */
export type ConnectionState = "connecting" | "live" | "reconnecting" | "refused" | "closed";

export interface LiveEvents {
  /** An incident as it is after its newest event. */
  readonly onIncident?: (incident: IncidentSummary) => void;
  /** The newest closed window. */
  readonly onWindow?: (window: { newestWindowMs: number }) => void;
  /** Processes or troubles of Headwater itself changed: read the overview anew. */
  readonly onInstallation?: (installation: { mark: string }) => void;
  /** Each change of the connection. After a reconnect (`live` again) events may have been missed: read anew. */
  readonly onState?: (state: ConnectionState) => void;
}

export interface LiveOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly fetch: typeof fetch;
}

/** The API sends a heartbeat every 3 s; a stream that is silent for this long is dead, or its API paused. */
const silentMaxMs = 8_000;
const backoffMinMs = 500;
const backoffMaxMs = 10_000;

/** Listens until the answer is called, reconnecting after 0.5 s, then twice as long each time, at most 10 s. */
export function subscribeLive(options: LiveOptions, events: LiveEvents): () => void {
  const stop = new AbortController();
  let state: ConnectionState | null = null;
  const become = (next: ConnectionState): void => {
    if (next === state) return;
    state = next;
    events.onState?.(next);
  };
  void (async () => {
    let backoffMs = backoffMinMs;
    become("connecting");
    while (!stop.signal.aborted) {
      const ended = await listenOnce(options, events, stop.signal, () => {
        backoffMs = backoffMinMs;
        become("live");
      });
      if (stop.signal.aborted) break;
      if (ended === "refused") return become("refused");
      become("reconnecting");
      await delay(backoffMs, stop.signal);
      backoffMs = Math.min(backoffMaxMs, backoffMs * 2);
    }
    become("closed");
  })();
  return () => stop.abort();
}

async function listenOnce(options: LiveOptions, events: LiveEvents, stop: AbortSignal, onOpen: () => void): Promise<"ended" | "refused"> {
  const attempt = new AbortController();
  const abort = (): void => attempt.abort();
  stop.addEventListener("abort", abort, { once: true });
  let silence = setTimeout(abort, silentMaxMs);
  try {
    const headers = { accept: "text/event-stream", ...options.headers };
    const response = await options.fetch(options.url, { headers, signal: attempt.signal, cache: "no-store" });
    if (response.status === 401 || response.status === 403) return "refused";
    if (!response.ok || response.body === null) return "ended";
    onOpen();
    const parser = createEventStreamParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return "ended";
      clearTimeout(silence);
      silence = setTimeout(abort, silentMaxMs);
      for (const event of parser.push(decoder.decode(value, { stream: true }))) deliver(event, events);
    }
  } catch {
    // A broken connection, a stream that is not ours, our own abort: whatever it was, the stream has ended.
    return "ended";
  } finally {
    clearTimeout(silence);
    stop.removeEventListener("abort", abort);
    attempt.abort();
  }
}

function deliver(event: StreamEvent, events: LiveEvents): void {
  if (event.event === "incident") events.onIncident?.(JSON.parse(event.data) as IncidentSummary);
  if (event.event === "installation") events.onInstallation?.(JSON.parse(event.data) as { mark: string });
  if (event.event === "window") events.onWindow?.(JSON.parse(event.data) as { newestWindowMs: number });
}

function delay(delayMs: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, delayMs);
    function done(): void {
      clearTimeout(timer);
      stop.removeEventListener("abort", done);
      resolve();
    }
    stop.addEventListener("abort", done, { once: true });
  });
}

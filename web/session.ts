/** The page's one connection to the API: client, token, live events. */
import { type Client, createClient } from "../client/client.ts";
import type { ConnectionState } from "../client/live.ts";
import { HeadwaterError } from "../contract/error.ts";
import type { IncidentSummary } from "../contract/route.ts";
import { createStore } from "./store.ts";

const tokenKey = "headwater.token";
const nameKey = "headwater.name";

/** How the live events are, for the mark in the header. */
export const connection = createStore<ConnectionState>("connecting");
/** Counts windows, incident events and reconnects: whatever shows live data reads it again when this moves. */
export const windowTick = createStore(0);
export const incidentTick = createStore(0);
/** Moves when processes or troubles of Headwater itself changed. */
export const installationTick = createStore(0);
/** Since when the API does not answer; null while it does. */
export const disconnectedMs = createStore<number | null>(null);
/** The incident that changed last, as it is now. */
export const changedIncident = createStore<IncidentSummary | null>(null);
/** True once the API asked for a token that the page does not have. */
export const tokenWanted = createStore<"yes" | "no">("no");

let token = sessionStorage.getItem(tokenKey);
let client: Client = newClient();
let unsubscribe: (() => void) | null = null;

function newClient(): Client {
  return createClient({ baseUrl: "", ...(token === null ? {} : { token }) });
}

/** The API. Where it wants a token, the page asks for one. */
export const api: Pick<Client, "call" | "report"> = {
  call: (route, request) => client.call(route, request).catch(askForToken),
  report: (incident, format) => client.report(incident, format).catch(askForToken),
};

function askForToken(error: unknown): never {
  if (error instanceof HeadwaterError && error.code === "UNAUTHENTICATED") tokenWanted.set("yes");
  throw error;
}

/** Whether requests carry a token; links to reports cannot, then they are fetched. */
export function hasToken(): boolean {
  return token !== null;
}

/** Remembers the token for this tab and begins anew with it. */
export function enterToken(entered: string): void {
  token = entered;
  sessionStorage.setItem(tokenKey, entered);
  client = newClient();
  tokenWanted.set("no");
  connect();
  moveAll();
}

/** Opens the live events; called again, it opens them anew. */
export function connect(): void {
  unsubscribe?.();
  let interrupted = false;
  unsubscribe = client.subscribe({
    onIncident(incident) {
      changedIncident.set(incident);
      incidentTick.set(incidentTick.get() + 1);
    },
    onWindow: () => windowTick.set(windowTick.get() + 1),
    onInstallation: () => installationTick.set(installationTick.get() + 1),
    onState(state) {
      connection.set(state);
      disconnectedMs.set(state === "reconnecting" ? (disconnectedMs.get() ?? Date.now()) : null);
      if (state === "refused") tokenWanted.set("yes");
      if (state === "reconnecting") interrupted = true;
      // What happened while nobody listened is read, not guessed.
      if (state === "live" && interrupted) moveAll();
    },
  });
}

function moveAll(): void {
  incidentTick.set(incidentTick.get() + 1);
  windowTick.set(windowTick.get() + 1);
}

/** Under which name this browser acknowledges. */
export function rememberedName(): string {
  return localStorage.getItem(nameKey) ?? "on-call";
}

export function rememberName(name: string): void {
  localStorage.setItem(nameKey, name);
}

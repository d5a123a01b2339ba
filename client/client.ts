/** The API client, typed from the API table; used by the page, the commands and the drill. Runs in Node and in browsers. */
import type { z } from "zod";
import { type ErrorCode, errorTable, HeadwaterError } from "../contract/error.ts";
import type { Problem, ReportFormat, RouteBody, RouteName, RouteResponse, routes } from "../contract/route.ts";
import { type LiveEvents, subscribeLive } from "./live.ts";
import { fillPath, paths } from "./paths.ts";

export interface ClientOptions {
  /** Where the API is, e.g. `http://127.0.0.1:8080`; an empty string in a page that the API itself serves. */
  readonly baseUrl: string;
  readonly token?: string;
  readonly fetch?: typeof fetch;
}

/** Inputs as one would write them: optional where the schema has a default, typed as the schema's output. */
type Written<S extends z.ZodType> = {
  [K in keyof z.input<S>]: K extends keyof z.output<S> ? z.output<S>[K] | (undefined extends z.input<S>[K] ? undefined : never) : never;
};
type Params<R extends RouteName> = Written<(typeof routes)[R]["params"]>;
type Query<R extends RouteName> = Written<(typeof routes)[R]["query"]>;
type Part<Name extends string, T> = Record<string, never> extends T ? { readonly [K in Name]?: T } : { readonly [K in Name]: T };

export type CallRequest<R extends RouteName> = Part<"params", Params<R>> &
  Part<"query", Query<R>> & {
    readonly body?: RouteBody<R>;
    /** Refuse with CONFLICT when the incident's sequence is another one by now. */
    readonly ifSequence?: number;
    /** The same key twice does it once. */
    readonly idempotencyKey?: string;
    readonly signal?: AbortSignal;
  };

export interface Client {
  /**
   * Calls a route. Throws a HeadwaterError with the code, the detail and the Retry-After of the API's problem+json;
   * a network failure is fetch's own error.
   */
  call<R extends RouteName>(route: R, request: CallRequest<R>): Promise<RouteResponse<R>>;
  /** The text of a report. Throws as `call` does. */
  report(incident: string, format: ReportFormat): Promise<string>;
  /** Live events until the answer is called; see `LiveEvents` for what to do after a reconnect. */
  subscribe(events: LiveEvents): () => void;
}

/** What `call` reads of a request, whatever the route. */
interface AnyRequest {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly ifSequence?: number;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

export function createClient(options: ClientOptions): Client {
  const baseUrl = options.baseUrl.replace(/\/+$/, "");
  const send: typeof fetch = options.fetch ?? ((input, init) => fetch(input, init));
  const authorization: Record<string, string> = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  return {
    async call<R extends RouteName>(route: R, request: CallRequest<R>): Promise<RouteResponse<R>> {
      const { method, path } = paths[route];
      const any = request as AnyRequest;
      const headers: Record<string, string> = { accept: "application/json", ...authorization };
      if (any.ifSequence !== undefined) headers["if-match"] = `"${any.ifSequence}"`;
      if (any.idempotencyKey !== undefined) headers["idempotency-key"] = any.idempotencyKey;
      const init: RequestInit = { method, headers };
      if (any.signal !== undefined) init.signal = any.signal;
      if (method === "POST") {
        headers["content-type"] = "application/json";
        init.body = JSON.stringify(any.body ?? {});
      }
      const params = Object.fromEntries(Object.entries(any.params ?? {}).map(([name, value]) => [name, String(value)]));
      const response = await send(`${baseUrl}${fillPath(path, params)}${queryOf(any.query ?? {})}`, init);
      if (!response.ok) throw await problemError(response);
      return (await response.json()) as RouteResponse<R>;
    },
    async report(incident, format) {
      const response = await send(`${baseUrl}${reportPath(incident, format)}`, { headers: authorization });
      if (!response.ok) throw await problemError(response);
      return response.text();
    },
    subscribe: (events) => subscribeLive({ url: `${baseUrl}/api/v1/events`, headers: authorization, fetch: send }, events),
  };
}

/** Where a report is. */
export function reportPath(incident: string, format: ReportFormat): string {
  return `/api/v1/incidents/${encodeURIComponent(incident)}/report.${format}`;
}

function queryOf(query: Readonly<Record<string, unknown>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) search.set(name, String(value));
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

async function problemError(response: Response): Promise<HeadwaterError> {
  const problem = (await response.json().catch(() => null)) as Partial<Problem> | null;
  const retryAfter = Number(response.headers.get("retry-after"));
  const retry = Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {};
  if (typeof problem?.code === "string" && Object.hasOwn(errorTable, problem.code)) {
    return new HeadwaterError(problem.code as ErrorCode, problem.detail ?? problem.code, retry);
  }
  return new HeadwaterError("INTERNAL", `The API answered ${response.status} without saying why`, retry);
}

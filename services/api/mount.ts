/** Serves the API table: every row the same way — role, schemas, handler, answer. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import express, { type Express, type Request, type RequestHandler, type Response } from "express";
import type { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import { type RouteName, routes } from "../../contract/route.ts";
import type { Access, Caller } from "./access.ts";
import type { ApiAnswer, ApiContext, ApiRequest, Handler } from "./handler.ts";
import { handlers } from "./handlers.ts";
import type { IdempotencyKeys } from "./idempotency.ts";
import { requestInvalid } from "./problem.ts";

/** Bodies are a name and a note; nothing in the table needs more. */
const bodyBytesMax = 65_536;
/** Answers shorter than this are not worth compressing. */
const gzipBytesMin = 4_096;
const gzipAsync = promisify(gzip);

export interface MountOptions {
  readonly access: Access;
  readonly context: ApiContext;
  readonly idempotency: IdempotencyKeys<ApiAnswer>;
}

/** Adds every row of `routes`, and METHOD_NOT_ALLOWED for the other methods of their paths. */
export function mountRoutes(app: Express, options: MountOptions): void {
  const methods = new Map<string, Set<string>>();
  for (const name of Object.keys(routes) as RouteName[]) {
    const row = routes[name];
    methods.set(row.path, (methods.get(row.path) ?? new Set()).add(row.method));
    const admit = admitCaller(name, options.access);
    if (row.method === "GET") app.get(row.path, admit, serveRoute(name, options));
    else app.post(row.path, admit, requireJson, express.json({ limit: bodyBytesMax, strict: true }), serveRoute(name, options));
  }
  for (const [path, allowed] of methods) app.all(path, onlyMethods([...allowed]));
}

/** Refuses what comes through with another method. */
export function onlyMethods(allowed: readonly string[]): RequestHandler {
  return (request, response) => {
    response.setHeader("Allow", [...allowed, ...(allowed.includes("GET") ? ["HEAD"] : [])].join(", "));
    throw new HeadwaterError("METHOD_NOT_ALLOWED", `${request.method} is not among ${allowed.join(", ")}`);
  };
}

/** Before a byte of the body is read: who asks, and may they? */
function admitCaller(name: RouteName, access: Access): RequestHandler {
  return (request, response, next) => {
    response.locals.route = name;
    const caller = access.callerOf(request.headers.authorization);
    access.require(caller, routes[name].role);
    response.locals.caller = caller;
    next();
  };
}

function requireJson(request: Request, _response: Response, next: () => void): void {
  const empty = request.headers["content-length"] === "0";
  // `is` answers null without a body, and false for a body of another type.
  if (!empty && request.is("json") === false) throw new HeadwaterError("CONTENT_TYPE_UNSUPPORTED", "Send the body as application/json");
  next();
}

function serveRoute<R extends RouteName>(name: R, options: MountOptions): RequestHandler {
  const row = routes[name];
  const handler = handlers[name] as Handler<RouteName>;
  return async (request, response) => {
    const caller = response.locals.caller as Caller;
    const parsed = {
      params: parsePart("params", row.params, request.params),
      query: parsePart("query", row.query, request.query),
      body: parsePart("body", row.body, request.body ?? {}),
      ifMatch: request.headers["if-match"] ?? null,
    } as ApiRequest<RouteName>;
    const work = (): Promise<ApiAnswer> => handler(parsed, options.context);
    const answer = row.method === "POST" ? await onceByKey({ name, caller, parsed, request, response }, options, work) : await work();
    await send(request, response, answer);
  };
}

interface PostCall {
  readonly name: RouteName;
  readonly caller: Caller;
  readonly parsed: ApiRequest<RouteName>;
  readonly request: Request;
  readonly response: Response;
}

async function onceByKey(call: PostCall, options: MountOptions, work: () => Promise<ApiAnswer>): Promise<ApiAnswer> {
  const key = call.request.get("idempotency-key");
  if (key === undefined) return work();
  const { params, query, body } = call.parsed;
  const scope = `${call.caller.name} ${call.name}`;
  const { answer, replayed } = await options.idempotency.once({ scope, key, request: { params, query, body } }, work);
  if (replayed === "yes") call.response.setHeader("Idempotency-Replayed", "true");
  return answer;
}

function parsePart(part: string, schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (!result.success) throw requestInvalid(part, result.error);
  return result.data;
}

async function send(request: Request, response: Response, answer: ApiAnswer): Promise<void> {
  response.setHeader("Content-Type", "application/json; charset=utf-8");
  response.setHeader("Cache-Control", answer.version === undefined ? "no-store" : "no-cache");
  response.setHeader("Vary", "Accept-Encoding, Authorization");
  if (answer.version !== undefined) {
    const tag = `"${answer.version}"`;
    response.setHeader("ETag", tag);
    if (
      request.method === "GET" &&
      request
        .get("if-none-match")
        ?.split(",")
        .some((one) => one.trim() === tag)
    ) {
      response.status(304).end();
      return;
    }
  }
  const body = Buffer.from(JSON.stringify(answer.body), "utf8");
  if (body.length < gzipBytesMin || !/\bgzip\b/.test(request.get("accept-encoding") ?? "")) {
    response.end(body);
    return;
  }
  response.setHeader("Content-Encoding", "gzip");
  response.end(await gzipAsync(body, { level: 1 }));
}

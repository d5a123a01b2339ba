/** A call to another service: a CLIENT span per attempt, the trace context passed on, a timeout, perhaps another attempt. */
import { Agent, request } from "node:http";
import { propagation, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { type Place, placeText } from "./address.ts";
import { textOf } from "./lab-error.ts";
import { failSpan, type Scope } from "./span.ts";
import type { CallSpec } from "./spec.ts";

const retryAfterMs = 20;
/** By the place they lead to. */
const agents = new Map<string, Agent>();

/** The other service did not answer, or answered that it failed. */
export class CallError extends Error {
  override readonly name: string;
  /** What this service answers in turn. */
  readonly status: 502 | 504;

  constructor(message: string, options: { name: "CallTimeoutError" | "CallConnectionError" | "CallAnsweredError" }) {
    super(message);
    this.name = options.name;
    this.status = options.name === "CallTimeoutError" ? 504 : 502;
  }
}

/** Where a callee's operation is found. */
export interface CallTarget {
  readonly place: Place;
  /** Our own address. */
  readonly from: string;
  readonly method: string;
  readonly path: string;
}

function agentTo({ place, from }: CallTarget): Agent {
  let agent = agents.get(placeText(place));
  if (agent === undefined) {
    agent = new Agent({ keepAlive: true, maxSockets: 128, localAddress: from });
    agents.set(placeText(place), agent);
  }
  return agent;
}

/** Calls open new connections from now on; the old ones end as soon as they are idle. */
export function reconnect(place: Place): void {
  const agent = agents.get(placeText(place));
  if (agent === undefined) return;
  agents.delete(placeText(place));
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

/**
 * Resolves when the callee answered below 500; rejects with CallError after the last attempt. Only a broken connection is tried again:
 * an answer is an answer, and a timeout has already cost the caller its time.
 */
export async function callService(scope: Scope, call: CallSpec, target: CallTarget): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await attemptCall(scope, { call, target, attempt });
      return;
    } catch (error) {
      const again = error instanceof CallError && error.name === "CallConnectionError" && attempt < call.retriesMax;
      if (!again) throw error;
      scope.telemetry.log("WARN", `${target.method} to ${placeText(target.place)} failed, trying again`, { context: scope.context, error });
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  }
}

async function attemptCall(scope: Scope, options: { call: CallSpec; target: CallTarget; attempt: number }): Promise<void> {
  const { target, attempt } = options;
  const span = scope.telemetry.tracer.startSpan(
    `${target.method} ${options.call.operation.split(" ")[1] ?? ""}`,
    {
      kind: SpanKind.CLIENT,
      attributes: {
        "http.request.method": target.method,
        "server.address": target.place.host,
        "server.port": target.place.port,
        "url.full": `http://${placeText(target.place)}${target.path}`,
        ...(attempt > 0 ? { "http.request.resend_count": attempt } : {}),
      },
    },
    scope.context,
  );
  try {
    const status = await exchange(scope, span, options);
    span.setAttribute("http.response.status_code", status);
    if (status < 500) return;
    // An answer is no exception of the caller's; the status says it.
    span.setAttribute("error.type", String(status));
    span.setStatus({ code: SpanStatusCode.ERROR, message: `status ${status}` });
    throw new CallError(`${target.method} to ${placeText(target.place)} answered ${status}`, { name: "CallAnsweredError" });
  } catch (error) {
    if (!(error instanceof CallError && error.name === "CallAnsweredError")) failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
}

function exchange(scope: Scope, span: Span, options: { call: CallSpec; target: CallTarget }): Promise<number> {
  const { call, target } = options;
  const headers: Record<string, string> = {};
  propagation.inject(trace.setSpan(scope.context, span), headers);
  return new Promise((resolve, reject) => {
    const fail = (error: CallError): void => {
      clearTimeout(timer);
      reject(error);
      sent.destroy();
    };
    const sent = request({ ...target.place, method: target.method, path: target.path, headers, agent: agentTo(target) });
    const timer = setTimeout(
      () => fail(new CallError(`no answer from ${placeText(target.place)} within ${call.timeoutMs} ms`, { name: "CallTimeoutError" })),
      call.timeoutMs,
    );
    sent.on("error", (error) =>
      fail(new CallError(`no connection to ${placeText(target.place)}: ${textOf(error)}`, { name: "CallConnectionError" })),
    );
    sent.on("response", (response) => {
      response.resume();
      response.on("end", () => {
        clearTimeout(timer);
        resolve(response.statusCode ?? 502);
      });
      response.on("error", (error) => fail(new CallError(textOf(error), { name: "CallConnectionError" })));
    });
    sent.end();
  });
}

/** A call to another service: a CLIENT span per attempt, the trace context passed on, a timeout, perhaps another attempt. */
import { Agent, request } from "node:http";
import { propagation, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { textOf } from "./lab-error.ts";
import { failSpan, type Scope } from "./span.ts";
import type { CallSpec } from "./spec.ts";

const agent = new Agent({ keepAlive: true, maxSockets: 128 });
const retryAfterMs = 20;

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
  readonly port: number;
  readonly method: string;
  readonly path: string;
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
      scope.telemetry.log("WARN", `${target.method} to 127.0.0.1:${target.port} failed, trying again`, { context: scope.context, error });
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
        "server.address": "127.0.0.1",
        "server.port": target.port,
        "url.full": `http://127.0.0.1:${target.port}${target.path}`,
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
    throw new CallError(`${target.method} to 127.0.0.1:${target.port} answered ${status}`, { name: "CallAnsweredError" });
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
    const sent = request({ host: "127.0.0.1", port: target.port, method: target.method, path: target.path, headers, agent });
    const timer = setTimeout(
      () => fail(new CallError(`no answer from 127.0.0.1:${target.port} within ${call.timeoutMs} ms`, { name: "CallTimeoutError" })),
      call.timeoutMs,
    );
    sent.on("error", (error) =>
      fail(new CallError(`no connection to 127.0.0.1:${target.port}: ${textOf(error)}`, { name: "CallConnectionError" })),
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

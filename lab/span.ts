/** One way to put a span around something, with explicit contexts (no global state). */
import { type Attributes, type Context, type Span, type SpanKind, SpanStatusCode, type TimeInput, trace } from "@opentelemetry/api";
import type { Telemetry } from "./telemetry.ts";

/** Where something happens: whose telemetry it belongs to, and what it is part of. */
export interface Scope {
  readonly telemetry: Telemetry;
  readonly context: Context;
}

interface SpanOptions {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes?: Attributes;
  readonly startTime?: TimeInput;
}

/** Runs `work` inside a span; what it throws is recorded, sets the status and is thrown on. */
export async function inSpan<T>(scope: Scope, options: SpanOptions, work: (scope: Scope, span: Span) => Promise<T>): Promise<T> {
  const { name, ...rest } = options;
  const span = scope.telemetry.tracer.startSpan(name, rest, scope.context);
  try {
    return await work({ telemetry: scope.telemetry, context: trace.setSpan(scope.context, span) }, span);
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** Marks a span as failed by this exception. */
export function failSpan(span: Span, error: unknown): void {
  const exception = error instanceof Error ? error : new Error(String(error));
  span.recordException(exception);
  span.setAttribute("error.type", exception.name);
  span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message });
}

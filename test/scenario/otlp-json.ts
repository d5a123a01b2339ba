/** Small OTLP/JSON trace bodies for tests that speak to a running gateway. */
import { randomBytes } from "node:crypto";

export interface TraceBodyOptions {
  readonly service: string;
  readonly spanCount: number;
  readonly endMs: number;
  /** Of the spans, how many failed; none unless told. */
  readonly failedCount?: number;
  /** The service that sends the batch, which the gateway numbers it by; the one of the spans unless told. */
  readonly source?: string;
}

/** A body with `spanCount` root server spans of one service that ended at `endMs`. */
export function traceBody(options: TraceBodyOptions): string {
  const failedCount = options.failedCount ?? 0;
  const spans = Array.from({ length: options.spanCount }, (_, index) => ({
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    name: "GET /",
    kind: 2,
    startTimeUnixNano: String(BigInt(options.endMs - 5) * 1_000_000n + BigInt(index)),
    endTimeUnixNano: String(BigInt(options.endMs) * 1_000_000n),
    status: index < failedCount ? { code: 2 } : {},
  }));
  const of = { resource: resourceOf(options.service), scopeSpans: [{ scope: {}, spans }] };
  const by = options.source === undefined ? [] : [{ resource: resourceOf(options.source), scopeSpans: [] }];
  return JSON.stringify({ resourceSpans: [...by, of] });
}

function resourceOf(service: string): object {
  return { attributes: [{ key: "service.name", value: { stringValue: service } }] };
}

/** Whether the gateway acknowledged it; false also when the connection broke. */
export async function sendTraces(otlpUrl: string, body: string): Promise<boolean> {
  try {
    const answer = await fetch(`${otlpUrl}/v1/traces`, { method: "POST", headers: { "content-type": "application/json" }, body });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}

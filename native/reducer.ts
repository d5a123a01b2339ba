/** The OTLP reducer in TypeScript: a batch of bytes becomes partials that merge exactly. A native twin comes later. */
import type { TelemetryBatch } from "../contract/telemetry.ts";
import { visitJson } from "./otlp-json.ts";
import type { OtlpAttributes, OtlpLogRecord, OtlpMetric, OtlpSpan, OtlpVisitor } from "./otlp-model.ts";
import { visitProtobuf } from "./otlp-protobuf.ts";
import { ReduceContext } from "./reduce-context.ts";
import { reduceLogRecord } from "./reduce-logs.ts";
import { reduceMetric } from "./reduce-metrics.ts";
import { reduceSpan } from "./reduce-traces.ts";
import { emptyHalves, type ReduceOptions, type Reduction } from "./reduction.ts";
import { boundEntities, boundHalves } from "./reduction-bounds.ts";

/**
 * Reduces one batch. A pure function of batch and options; never throws for what the body holds: items that cannot be used are counted
 * by reason, the rest is used. What it answers is bounded by `options`, whatever the size of the body.
 */
export function reduceBatch(batch: TelemetryBatch, options: ReduceOptions): Reduction {
  const reduction: Reduction = {
    batchId: batch.id,
    gateway: batch.gateway,
    source: batch.source,
    sequence: batch.sequence,
    newestAtUs: 0,
    receivedAtMs: batch.receivedAtMs,
    itemCount: 0,
    entities: new Map(),
    halves: emptyHalves(),
    rejects: new Map(),
    samples: [],
    bounds: new Map(),
  };
  const context = new ReduceContext(reduction, options, batch.receivedAtMs);
  const visit = batch.encoding === "json" ? visitJson : visitProtobuf;
  visit(batch.signal, batch.body, new ReducingVisitor(context));
  context.leaveResource();
  boundEntities(reduction.entities, options, reduction.bounds);
  const halves = reduction.halves.map((list) => boundHalves(list, options, reduction.bounds));
  return { ...reduction, halves };
}

class ReducingVisitor implements OtlpVisitor {
  #context: ReduceContext;

  constructor(context: ReduceContext) {
    this.#context = context;
  }

  resource(attributes: OtlpAttributes): void {
    this.#context.enterResource(attributes);
  }

  scope(name: string): void {
    this.#context.scope = name;
  }

  span(span: OtlpSpan): void {
    reduceSpan(this.#context, span);
  }

  metric(metric: OtlpMetric): void {
    reduceMetric(this.#context, metric);
  }

  log(record: OtlpLogRecord): void {
    reduceLogRecord(this.#context, record);
  }

  malformed(reason: "body-malformed" | "item-malformed", where: string): void {
    this.#context.reject(reason, () => where);
  }
}

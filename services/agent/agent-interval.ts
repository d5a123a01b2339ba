/** What is gathered within one interval of wall time. */
import type { AgentMetrics } from "./agent-metrics.ts";
import { MetricSums } from "./metric-sums.ts";
import type { ObservedExchange } from "./observed-exchange.ts";
import type { Interval } from "./otlp-item.ts";
import { RequestTable } from "./request-table.ts";
import { SpanChoice } from "./span-choice.ts";

const servicesMax = 1_000;
const rowsPerServiceMax = 200;
const pointsMax = 20_000;
const exchangesMax = 20_000;
const aloneMax = 200;
const failedPerSecondMax = 50;
const slowestPerOperation = 3;
const operationsMax = 500;

export class AgentInterval implements Interval {
  readonly startMs: number;
  readonly endMs: number;
  readonly requests: RequestTable;
  readonly spans: SpanChoice;
  readonly sums: MetricSums;

  constructor(interval: Interval, options: { readonly host: string; readonly metrics: AgentMetrics }) {
    const onCounted = (what: string) => options.metrics.dropped(what, 1);
    this.startMs = interval.startMs;
    this.endMs = interval.endMs;
    this.requests = new RequestTable({ servicesMax, rowsPerServiceMax, onCounted });
    this.spans = new SpanChoice({
      ...{ exchangesMax, aloneMax, failedPerSecondMax, slowestPerOperation, operationsMax },
      host: options.host,
      onCounted,
    });
    this.sums = new MetricSums({ pointsMax, onCounted });
  }

  add(observed: ObservedExchange): void {
    this.requests.add(observed);
    this.spans.add(observed);
  }
}

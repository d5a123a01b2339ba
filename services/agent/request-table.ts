/** How often, how slowly and with which result requests were made in one interval, by service and side (RED). */
import { DurationSum } from "./duration-sum.ts";
import { resourceOf, type ServiceIdentity } from "./identity.ts";
import type { ObservedExchange } from "./observed-exchange.ts";
import type { Attributes, HistogramPoint, Metric, ResourceItems } from "./otlp-item.ts";
import { durationMetric, errorTypeOf, operationAttributes, type Side, serverAttributes } from "./request-naming.ts";

export interface RequestTableOptions {
  readonly servicesMax: number;
  /** Rows (operation, server, result) of one service; the operations beyond are counted under `_OTHER`. */
  readonly rowsPerServiceMax: number;
  readonly onCounted: (what: "services-refused" | "operations-folded" | "servers-folded" | "no-metric") => void;
}

interface Row {
  readonly metric: string;
  readonly attributes: Attributes;
  readonly durations: DurationSum;
}

interface ServiceRows {
  readonly who: ServiceIdentity;
  readonly rows: Map<string, Row>;
}

/** What the conventions call an operation that is not told apart. */
const otherOperation = "_OTHER";

export class RequestTable {
  readonly #options: RequestTableOptions;
  readonly #services = new Map<string, ServiceRows>();
  #count = 0;

  constructor(options: RequestTableOptions) {
    this.#options = options;
  }

  /** Exchanges counted, over both sides. */
  get count(): number {
    return this.#count;
  }

  add(observed: ObservedExchange): void {
    const { exchange, side, who } = observed;
    const metric = durationMetric(exchange.protocol, side);
    if (metric === null) {
      this.#options.onCounted("no-metric");
      return;
    }
    const service = this.#serviceOf(who);
    if (service === null) return;
    this.#rowOf(service, observed, metric).durations.add(exchange.endNs - exchange.startNs);
    this.#count += 1;
  }

  metrics(): ResourceItems<Metric>[] {
    return [...this.#services.values()].map(({ who, rows }) => ({ resource: resourceOf(who), items: metricsOf(rows.values()) }));
  }

  #serviceOf(who: ServiceIdentity): ServiceRows | null {
    const known = this.#services.get(who.key);
    if (known !== undefined) return known;
    if (this.#services.size >= this.#options.servicesMax) {
      this.#options.onCounted("services-refused");
      return null;
    }
    const service = { who, rows: new Map<string, Row>() };
    this.#services.set(who.key, service);
    return service;
  }

  #rowOf(service: ServiceRows, observed: ObservedExchange, metric: string): Row {
    const { rows } = service;
    const { exchange, side } = observed;
    const server = side === "client" ? observed.server : null;
    const result = errorTypeOf(exchange) ?? "";
    const place = server === null ? "" : `${server.ip} ${server.port}`;
    const key = `${side} ${exchange.protocol} ${exchange.operation}\n${place}\n${result}`;
    const known = rows.get(key);
    if (known !== undefined) return known;
    const { rowsPerServiceMax, onCounted } = this.#options;
    // Beyond the bound operations are folded, at twice the bound servers as well: then few rows are left that can still begin.
    if (rows.size >= rowsPerServiceMax && exchange.operation !== otherOperation) {
      onCounted("operations-folded");
      return this.#rowOf(service, withOperation(observed, otherOperation), metric);
    }
    if (rows.size >= rowsPerServiceMax * 2 && (server !== null || !isPlainResult(result))) {
      onCounted("servers-folded");
      return this.#rowOf(service, folded(observed), metric);
    }
    const row = { metric, attributes: attributesOf(observed, side), durations: new DurationSum() };
    rows.set(key, row);
    return row;
  }
}

function isPlainResult(result: string): boolean {
  return result === "" || result === otherOperation;
}

function withOperation(observed: ObservedExchange, operation: string): ObservedExchange {
  return { ...observed, exchange: { ...observed.exchange, operation } };
}

function folded(observed: ObservedExchange): ObservedExchange {
  const { exchange } = observed;
  return { ...observed, server: null, exchange: { ...exchange, status: exchange.failed === "yes" ? otherOperation : exchange.status } };
}

function attributesOf({ exchange, server }: ObservedExchange, side: Side): Attributes {
  const errorType = errorTypeOf(exchange);
  return {
    ...operationAttributes(exchange.protocol, exchange.operation),
    ...(side === "client" ? serverAttributes(server) : {}),
    ...(errorType === null ? {} : { "error.type": errorType }),
  };
}

function metricsOf(rows: Iterable<Row>): Metric[] {
  const byName = new Map<string, HistogramPoint[]>();
  for (const { metric, attributes, durations } of rows) {
    const points = byName.get(metric) ?? [];
    points.push(...durations.points(attributes));
    byName.set(metric, points);
  }
  return [...byName].map(([name, points]) => ({ kind: "histogram", name, unit: "s", points }));
}

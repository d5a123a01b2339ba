/** OTLP protobuf bodies by hand (opentelemetry-proto 1.x): no library is in the agent's way, and none has to be kept up to date there. */
import { kernelScope } from "../../contract/kernel-telemetry.ts";
import type {
  Attributes,
  AttributeValue,
  HistogramPoint,
  Interval,
  LogItem,
  Metric,
  NumberPoint,
  ResourceItems,
  SpanItem,
} from "./otlp-item.ts";
import { ProtobufWriter } from "./protobuf-writer.ts";

/** Points of one metric message; a metric with more is written several times. */
const pointsMax = 200;
const textLengthMax = 2_048;
const temporalityDelta = 1;
const spanKinds = { internal: 1, server: 2, client: 3 } as const;
const statusError = 2;
const severities = { DEBUG: 5, INFO: 9, WARN: 13, ERROR: 17 } as const;

export interface OtlpWriterOptions {
  /** A new body is begun once one has so many bytes; the last item may lie beyond. */
  readonly bodyBytesMax: number;
  readonly version: string;
  /**
   * Who sends: the first resource of every body, without items, because the gateway tells its sources apart by it and numbers their batches.
   */
  readonly sender: Attributes;
}

export class OtlpWriter {
  readonly #options: OtlpWriterOptions;
  readonly #writer = new ProtobufWriter();

  constructor(options: OtlpWriterOptions) {
    this.#options = options;
  }

  metrics(resources: readonly ResourceItems<Metric>[], interval: Interval): Uint8Array<ArrayBuffer>[] {
    const times = pointTimes(interval);
    const split = resources.map(({ resource, items }) => ({ resource, items: items.flatMap(inParts) }));
    return this.#bodies(split, (metric) => writeMetric(this.#writer, metric, times));
  }

  traces(resources: readonly ResourceItems<SpanItem>[]): Uint8Array<ArrayBuffer>[] {
    return this.#bodies(resources, (span) => writeSpan(this.#writer, span));
  }

  logs(resources: readonly ResourceItems<LogItem>[]): Uint8Array<ArrayBuffer>[] {
    return this.#bodies(resources, (record) => writeLog(this.#writer, record));
  }

  /** Request, resource, scope and item have the same field numbers in all three signals. */
  #bodies<T>(resources: readonly ResourceItems<T>[], write: (item: T) => void): Uint8Array<ArrayBuffer>[] {
    const writer = this.#writer;
    const bodies: Uint8Array<ArrayBuffer>[] = [];
    let isEmpty = true;
    for (const { resource, items } of resources) {
      let at = 0;
      while (at < items.length) {
        if (isEmpty) writeResource(writer, this.#options.sender);
        isEmpty = false;
        at = this.#writeSome({ resource, items, at }, write);
        if (writer.length < this.#options.bodyBytesMax) continue;
        bodies.push(writer.take());
        isEmpty = true;
      }
    }
    if (!isEmpty) bodies.push(writer.take());
    return bodies;
  }

  /** Writes the items of a resource from `at` on until the body is full; answers how far it came. */
  #writeSome<T>(from: { resource: Attributes; items: readonly T[]; at: number }, write: (item: T) => void): number {
    const writer = this.#writer;
    const resource = writer.begin(1);
    const identity = writer.begin(1);
    writeAttributes(writer, 1, from.resource);
    writer.end(identity);
    const scopes = writer.begin(2);
    const scope = writer.begin(1);
    writer.string(1, kernelScope);
    writer.string(2, this.#options.version);
    writer.end(scope);
    let { at } = from;
    while (at < from.items.length) {
      const item = writer.begin(2);
      write(from.items[at] as T);
      writer.end(item);
      at += 1;
      if (writer.length >= this.#options.bodyBytesMax) break;
    }
    writer.end(scopes);
    writer.end(resource);
    return at;
  }
}

function inParts(metric: Metric): Metric[] {
  if (metric.points.length <= pointsMax) return metric.points.length === 0 ? [] : [metric];
  const parts: Metric[] = [];
  for (let at = 0; at < metric.points.length; at += pointsMax) {
    const end = at + pointsMax;
    if (metric.kind === "histogram") parts.push({ ...metric, points: metric.points.slice(at, end) });
    else parts.push({ ...metric, points: metric.points.slice(at, end) });
  }
  return parts;
}

interface PointTimes {
  readonly startNs: bigint;
  readonly endNs: bigint;
}

/** The end is exclusive, and a point at the very end of an interval would be one of the next. */
function pointTimes({ startMs, endMs }: Interval): PointTimes {
  return { startNs: BigInt(startMs) * 1_000_000n, endNs: BigInt(endMs) * 1_000_000n - 1_000_000n };
}

function writeResource(writer: ProtobufWriter, attributes: Attributes): void {
  const resource = writer.begin(1);
  const identity = writer.begin(1);
  writeAttributes(writer, 1, attributes);
  writer.end(identity);
  writer.end(resource);
}

function writeAttributes(writer: ProtobufWriter, field: number, attributes: Attributes): void {
  for (const [key, value] of Object.entries(attributes)) {
    const pair = writer.begin(field);
    writer.string(1, key);
    const any = writer.begin(2);
    writeValue(writer, value);
    writer.end(any);
    writer.end(pair);
  }
}

function writeValue(writer: ProtobufWriter, value: AttributeValue): void {
  if (typeof value === "string") writer.string(1, value.length > textLengthMax ? value.slice(0, textLengthMax) : value);
  else if (typeof value === "boolean") writer.varint(2, value ? 1 : 0);
  else if (Number.isSafeInteger(value)) writer.int64(3, value);
  else writer.double(4, value);
}

function writeMetric(writer: ProtobufWriter, metric: Metric, times: PointTimes): void {
  writer.string(1, metric.name);
  writer.string(3, metric.unit);
  const data = writer.begin({ gauge: 5, sum: 7, histogram: 9 }[metric.kind]);
  if (metric.kind === "histogram") {
    for (const point of metric.points) writeHistogramPoint(writer, point, times);
    writer.varint(2, temporalityDelta);
  } else {
    for (const point of metric.points) writeNumberPoint(writer, point, times);
    if (metric.kind === "sum") {
      writer.varint(2, temporalityDelta);
      writer.varint(3, 1);
    }
  }
  writer.end(data);
}

function writeNumberPoint(writer: ProtobufWriter, { attributes, value }: NumberPoint, { startNs, endNs }: PointTimes): void {
  const point = writer.begin(1);
  writer.fixed64(2, startNs);
  writer.fixed64(3, endNs);
  if (Number.isSafeInteger(value)) writer.fixed64(6, BigInt(value));
  else writer.double(4, value);
  writeAttributes(writer, 7, attributes);
  writer.end(point);
}

function writeHistogramPoint(writer: ProtobufWriter, histogram: HistogramPoint, { startNs, endNs }: PointTimes): void {
  const point = writer.begin(1);
  writer.fixed64(2, startNs);
  writer.fixed64(3, endNs);
  writer.fixed64Number(4, histogram.count);
  writer.double(5, histogram.sum);
  writer.packedFixed64(6, histogram.counts);
  writer.packedDoubles(7, histogram.bounds);
  writeAttributes(writer, 9, histogram.attributes);
  if (histogram.min !== null) writer.double(11, histogram.min);
  if (histogram.max !== null) writer.double(12, histogram.max);
  writer.end(point);
}

function writeSpan(writer: ProtobufWriter, span: SpanItem): void {
  writer.hex(1, span.traceId);
  writer.hex(2, span.spanId);
  if (span.parentSpanId !== null) writer.hex(4, span.parentSpanId);
  writer.string(5, span.name);
  writer.varint(6, spanKinds[span.kind]);
  writer.fixed64(7, span.startNs);
  writer.fixed64(8, span.endNs);
  writeAttributes(writer, 9, span.attributes);
  if (span.failed === "no") return;
  const status = writer.begin(15);
  writer.varint(3, statusError);
  writer.end(status);
}

function writeLog(writer: ProtobufWriter, record: LogItem): void {
  writer.fixed64(1, record.atNs);
  writer.varint(2, severities[record.severity]);
  writer.string(3, record.severity);
  const body = writer.begin(5);
  writeValue(writer, record.body);
  writer.end(body);
  writeAttributes(writer, 6, { "event.name": record.event, ...record.attributes });
  writer.fixed64(11, record.atNs);
  writer.string(12, record.event);
}

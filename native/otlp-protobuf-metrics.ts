/** Metric messages of OTLP in protobuf. */
import {
  emptyDistributionPoint,
  noTime,
  type OtlpDistributionPoint,
  type OtlpMetric,
  type OtlpNumberPoint,
  quantilesMax,
} from "./otlp-model.ts";
import { readAttribute } from "./otlp-protobuf-value.ts";
import type { ProtobufReader } from "./protobuf-reader.ts";

/** A Metric message whose limit the reader is in. Its name and temporality may stand after its points, so it is read as a whole. */
export function readMetric(reader: ProtobufReader): OtlpMetric {
  const metric: OtlpMetric = { name: "", type: "none", temporality: 0, monotonic: false, numbers: [], distributions: [] };
  while (reader.next()) {
    if (reader.field === 1) metric.name = reader.readString();
    else if (reader.field === 5) readData(reader, metric, "gauge", readNumberPoint);
    else if (reader.field === 7) readData(reader, metric, "sum", readNumberPoint);
    else if (reader.field === 9) readData(reader, metric, "histogram", readHistogramPoint);
    else if (reader.field === 10) readData(reader, metric, "exponentialHistogram", readExponentialPoint);
    else if (reader.field === 11) readData(reader, metric, "summary", readSummaryPoint);
    else reader.skip();
  }
  return metric;
}

type ReadPoint = (reader: ProtobufReader, metric: OtlpMetric) => void;

/** Gauge, Sum, Histogram, ExponentialHistogram, Summary: points in field 1, temporality in 2, monotonic in 3. */
function readData(reader: ProtobufReader, metric: OtlpMetric, type: OtlpMetric["type"], readPoint: ReadPoint): void {
  const outer = reader.enter();
  // A oneof that is there twice: protobuf keeps the last kind.
  if (metric.type !== type) {
    metric.numbers = [];
    metric.distributions = [];
  }
  metric.type = type;
  while (reader.next()) {
    if (reader.field === 1) {
      const pointOuter = reader.enter();
      readPoint(reader, metric);
      reader.leave(pointOuter);
    } else if (reader.field === 2 && (type === "sum" || type === "histogram" || type === "exponentialHistogram")) {
      metric.temporality = reader.readInt32();
    } else if (reader.field === 3 && type === "sum") metric.monotonic = reader.readInt32() !== 0;
    else reader.skip();
  }
  reader.leave(outer);
}

function readNumberPoint(reader: ProtobufReader, metric: OtlpMetric): void {
  const point: OtlpNumberPoint = { attributes: new Map(), startAt: noTime, at: noTime, value: null, flags: 0 };
  while (reader.next()) {
    if (reader.field === 2) point.startAt = reader.readTime();
    else if (reader.field === 3) point.at = reader.readTime();
    else if (reader.field === 4) point.value = reader.readDouble();
    else if (reader.field === 6) point.value = reader.readSfixed64();
    else if (reader.field === 7) readAttribute(reader, point.attributes);
    else if (reader.field === 8) point.flags = reader.readInt32();
    else reader.skip();
  }
  metric.numbers.push(point);
}

function readHistogramPoint(reader: ProtobufReader, metric: OtlpMetric): void {
  const point = emptyDistributionPoint();
  while (reader.next()) {
    if (reader.field === 6) reader.readRepeatedFixed64(point.counts);
    else if (reader.field === 7) reader.readRepeatedDouble(point.bounds);
    else if (reader.field === 9) readAttribute(reader, point.attributes);
    else if (reader.field === 10) point.flags = reader.readInt32();
    else readCommon(reader, point);
  }
  metric.distributions.push(point);
}

/** Count and sum only: the exponential buckets are not used. */
function readExponentialPoint(reader: ProtobufReader, metric: OtlpMetric): void {
  const point = emptyDistributionPoint();
  while (reader.next()) {
    if (reader.field === 1) readAttribute(reader, point.attributes);
    else if (reader.field === 10) point.flags = reader.readInt32();
    else readCommon(reader, point);
  }
  metric.distributions.push(point);
}

function readSummaryPoint(reader: ProtobufReader, metric: OtlpMetric): void {
  const point = emptyDistributionPoint();
  while (reader.next()) {
    if (reader.field === 6) readQuantile(reader, point);
    else if (reader.field === 7) readAttribute(reader, point.attributes);
    else if (reader.field === 8) point.flags = reader.readInt32();
    else readCommon(reader, point);
  }
  metric.distributions.push(point);
}

/** Fields 2 to 5 mean the same in all three. */
function readCommon(reader: ProtobufReader, point: OtlpDistributionPoint): void {
  if (reader.field === 2) point.startAt = reader.readTime();
  else if (reader.field === 3) point.at = reader.readTime();
  else if (reader.field === 4) point.count = reader.readFixed64();
  else if (reader.field === 5) point.sum = reader.readDouble();
  else reader.skip();
}

function readQuantile(reader: ProtobufReader, point: OtlpDistributionPoint): void {
  const outer = reader.enter();
  const row = { quantile: 0, value: 0 };
  while (reader.next()) {
    if (reader.field === 1) row.quantile = reader.readDouble();
    else if (reader.field === 2) row.value = reader.readDouble();
    else reader.skip();
  }
  reader.leave(outer);
  if (point.quantiles.length < quantilesMax) point.quantiles.push(row);
}

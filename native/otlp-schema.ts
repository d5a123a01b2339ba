/** The OTLP messages as tables: field number → wire type, and the message inside. Unknown fields are skipped, as protobuf asks. */
import type { Signal } from "../contract/telemetry.ts";

/** `message` is what a length-delimited field holds; `packed` allows a repeated 8-byte number in both forms. */
interface FieldRow {
  readonly wireType: number;
  readonly message?: MessageName;
  readonly packed?: true;
}

type MessageTable = Readonly<Record<number, FieldRow>>;

const varint: FieldRow = { wireType: 0 };
const fixed64: FieldRow = { wireType: 1 };
const bytes: FieldRow = { wireType: 2 };
const fixed32: FieldRow = { wireType: 5 };
const packed64: FieldRow = { wireType: 2, packed: true };

export type MessageName =
  | "TracesRequest"
  | "MetricsRequest"
  | "LogsRequest"
  | "ResourceSpans"
  | "ResourceMetrics"
  | "ResourceLogs"
  | "Resource"
  | "ScopeSpans"
  | "ScopeMetrics"
  | "ScopeLogs"
  | "Scope"
  | "KeyValue"
  | "AnyValue"
  | "ArrayValue"
  | "KeyValueList"
  | "Span"
  | "Event"
  | "Link"
  | "Status"
  | "Metric"
  | "Gauge"
  | "Sum"
  | "Histogram"
  | "Summary"
  | "NumberDataPoint"
  | "HistogramDataPoint"
  | "ExponentialHistogram"
  | "ExponentialHistogramDataPoint"
  | "ExponentialBuckets"
  | "SummaryDataPoint"
  | "ValueAtQuantile"
  | "Exemplar"
  | "LogRecord";

function inner(message: MessageName): FieldRow {
  return { wireType: 2, message };
}

/** opentelemetry-proto 1.x, every field that is not reserved. */
export const messages: Readonly<Record<MessageName, MessageTable>> = {
  TracesRequest: { 1: inner("ResourceSpans") },
  MetricsRequest: { 1: inner("ResourceMetrics") },
  LogsRequest: { 1: inner("ResourceLogs") },
  ResourceSpans: { 1: inner("Resource"), 2: inner("ScopeSpans"), 3: bytes },
  ResourceMetrics: { 1: inner("Resource"), 2: inner("ScopeMetrics"), 3: bytes },
  ResourceLogs: { 1: inner("Resource"), 2: inner("ScopeLogs"), 3: bytes },
  Resource: { 1: inner("KeyValue"), 2: varint },
  ScopeSpans: { 1: inner("Scope"), 2: inner("Span"), 3: bytes },
  ScopeMetrics: { 1: inner("Scope"), 2: inner("Metric"), 3: bytes },
  ScopeLogs: { 1: inner("Scope"), 2: inner("LogRecord"), 3: bytes },
  Scope: { 1: bytes, 2: bytes, 3: inner("KeyValue"), 4: varint },
  KeyValue: { 1: bytes, 2: inner("AnyValue") },
  AnyValue: { 1: bytes, 2: varint, 3: varint, 4: fixed64, 5: inner("ArrayValue"), 6: inner("KeyValueList"), 7: bytes },
  ArrayValue: { 1: inner("AnyValue") },
  KeyValueList: { 1: inner("KeyValue") },
  Span: {
    1: bytes,
    2: bytes,
    3: bytes,
    4: bytes,
    5: bytes,
    6: varint,
    7: fixed64,
    8: fixed64,
    9: inner("KeyValue"),
    10: varint,
    11: inner("Event"),
    12: varint,
    13: inner("Link"),
    14: varint,
    15: inner("Status"),
    16: fixed32,
  },
  Event: { 1: fixed64, 2: bytes, 3: inner("KeyValue"), 4: varint },
  Link: { 1: bytes, 2: bytes, 3: bytes, 4: inner("KeyValue"), 5: varint, 6: fixed32 },
  Status: { 2: bytes, 3: varint },
  Metric: {
    1: bytes,
    2: bytes,
    3: bytes,
    5: inner("Gauge"),
    7: inner("Sum"),
    9: inner("Histogram"),
    10: inner("ExponentialHistogram"),
    11: inner("Summary"),
    12: inner("KeyValue"),
  },
  Gauge: { 1: inner("NumberDataPoint") },
  Sum: { 1: inner("NumberDataPoint"), 2: varint, 3: varint },
  Histogram: { 1: inner("HistogramDataPoint"), 2: varint },
  ExponentialHistogram: { 1: inner("ExponentialHistogramDataPoint"), 2: varint },
  Summary: { 1: inner("SummaryDataPoint") },
  NumberDataPoint: { 2: fixed64, 3: fixed64, 4: fixed64, 5: inner("Exemplar"), 6: fixed64, 7: inner("KeyValue"), 8: varint },
  HistogramDataPoint: {
    2: fixed64,
    3: fixed64,
    4: fixed64,
    5: fixed64,
    6: packed64,
    7: packed64,
    8: inner("Exemplar"),
    9: inner("KeyValue"),
    10: varint,
    11: fixed64,
    12: fixed64,
  },
  ExponentialHistogramDataPoint: {
    1: inner("KeyValue"),
    2: fixed64,
    3: fixed64,
    4: fixed64,
    5: fixed64,
    6: varint,
    7: fixed64,
    8: inner("ExponentialBuckets"),
    9: inner("ExponentialBuckets"),
    10: varint,
    11: inner("Exemplar"),
    12: fixed64,
    13: fixed64,
    14: fixed64,
  },
  ExponentialBuckets: { 1: varint },
  SummaryDataPoint: { 2: fixed64, 3: fixed64, 4: fixed64, 5: fixed64, 6: inner("ValueAtQuantile"), 7: inner("KeyValue"), 8: varint },
  ValueAtQuantile: { 1: fixed64, 2: fixed64 },
  Exemplar: { 2: fixed64, 3: fixed64, 4: bytes, 5: bytes, 6: fixed64, 7: inner("KeyValue") },
  LogRecord: {
    1: fixed64,
    2: varint,
    3: bytes,
    5: inner("AnyValue"),
    6: inner("KeyValue"),
    7: varint,
    8: fixed32,
    9: bytes,
    10: bytes,
    11: fixed64,
    12: bytes,
  },
};

/** Names of one signal in both encodings: request message, and in JSON the three lists from the top to the items. */
export const signalNames: Readonly<Record<Signal, { message: MessageName; resources: string; scopes: string; items: string }>> = {
  traces: { message: "TracesRequest", resources: "resourceSpans", scopes: "scopeSpans", items: "spans" },
  metrics: { message: "MetricsRequest", resources: "resourceMetrics", scopes: "scopeMetrics", items: "metrics" },
  logs: { message: "LogsRequest", resources: "resourceLogs", scopes: "scopeLogs", items: "logRecords" },
};

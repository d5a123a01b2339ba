/** OTLP by protobufjs, with the messages written down a second time: what our own reader is compared with. */
import protobuf from "protobufjs";

type Field = readonly [type: string, id: number, rule?: "repeated"];

const fieldsOf: Record<string, Record<string, Field>> = {
  AnyValue: {
    stringValue: ["string", 1],
    boolValue: ["bool", 2],
    intValue: ["int64", 3],
    doubleValue: ["double", 4],
    arrayValue: ["ArrayValue", 5],
    kvlistValue: ["KeyValueList", 6],
    bytesValue: ["bytes", 7],
  },
  ArrayValue: { values: ["AnyValue", 1, "repeated"] },
  KeyValueList: { values: ["KeyValue", 1, "repeated"] },
  KeyValue: { key: ["string", 1], value: ["AnyValue", 2] },
  Scope: { name: ["string", 1], version: ["string", 2], attributes: ["KeyValue", 3, "repeated"] },
  Resource: { attributes: ["KeyValue", 1, "repeated"], droppedAttributesCount: ["uint32", 2] },
  Status: { message: ["string", 2], code: ["int32", 3] },
  Event: { timeUnixNano: ["fixed64", 1], name: ["string", 2], attributes: ["KeyValue", 3, "repeated"] },
  Link: { traceId: ["bytes", 1], spanId: ["bytes", 2], traceState: ["string", 3], flags: ["fixed32", 6] },
  Span: {
    traceId: ["bytes", 1],
    spanId: ["bytes", 2],
    traceState: ["string", 3],
    parentSpanId: ["bytes", 4],
    name: ["string", 5],
    kind: ["int32", 6],
    startTimeUnixNano: ["fixed64", 7],
    endTimeUnixNano: ["fixed64", 8],
    attributes: ["KeyValue", 9, "repeated"],
    events: ["Event", 11, "repeated"],
    links: ["Link", 13, "repeated"],
    status: ["Status", 15],
    flags: ["fixed32", 16],
  },
  ScopeSpans: { scope: ["Scope", 1], spans: ["Span", 2, "repeated"], schemaUrl: ["string", 3] },
  ResourceSpans: { resource: ["Resource", 1], scopeSpans: ["ScopeSpans", 2, "repeated"], schemaUrl: ["string", 3] },
  traces: { resourceSpans: ["ResourceSpans", 1, "repeated"] },
  Exemplar: { timeUnixNano: ["fixed64", 2], asDouble: ["double", 3], spanId: ["bytes", 4] },
  NumberDataPoint: {
    startTimeUnixNano: ["fixed64", 2],
    timeUnixNano: ["fixed64", 3],
    asDouble: ["double", 4],
    exemplars: ["Exemplar", 5, "repeated"],
    asInt: ["sfixed64", 6],
    attributes: ["KeyValue", 7, "repeated"],
    flags: ["uint32", 8],
  },
  HistogramDataPoint: {
    startTimeUnixNano: ["fixed64", 2],
    timeUnixNano: ["fixed64", 3],
    count: ["fixed64", 4],
    sum: ["double", 5],
    bucketCounts: ["fixed64", 6, "repeated"],
    explicitBounds: ["double", 7, "repeated"],
    attributes: ["KeyValue", 9, "repeated"],
    flags: ["uint32", 10],
    min: ["double", 11],
    max: ["double", 12],
  },
  ExponentialBuckets: { offset: ["sint32", 1], bucketCounts: ["uint64", 2, "repeated"] },
  ExponentialHistogramDataPoint: {
    attributes: ["KeyValue", 1, "repeated"],
    startTimeUnixNano: ["fixed64", 2],
    timeUnixNano: ["fixed64", 3],
    count: ["fixed64", 4],
    sum: ["double", 5],
    scale: ["sint32", 6],
    zeroCount: ["fixed64", 7],
    positive: ["ExponentialBuckets", 8],
    negative: ["ExponentialBuckets", 9],
    flags: ["uint32", 10],
  },
  ValueAtQuantile: { quantile: ["double", 1], value: ["double", 2] },
  SummaryDataPoint: {
    startTimeUnixNano: ["fixed64", 2],
    timeUnixNano: ["fixed64", 3],
    count: ["fixed64", 4],
    sum: ["double", 5],
    quantileValues: ["ValueAtQuantile", 6, "repeated"],
    attributes: ["KeyValue", 7, "repeated"],
    flags: ["uint32", 8],
  },
  Gauge: { dataPoints: ["NumberDataPoint", 1, "repeated"] },
  Sum: { dataPoints: ["NumberDataPoint", 1, "repeated"], aggregationTemporality: ["int32", 2], isMonotonic: ["bool", 3] },
  Histogram: { dataPoints: ["HistogramDataPoint", 1, "repeated"], aggregationTemporality: ["int32", 2] },
  ExponentialHistogram: { dataPoints: ["ExponentialHistogramDataPoint", 1, "repeated"], aggregationTemporality: ["int32", 2] },
  Summary: { dataPoints: ["SummaryDataPoint", 1, "repeated"] },
  Metric: {
    name: ["string", 1],
    description: ["string", 2],
    unit: ["string", 3],
    gauge: ["Gauge", 5],
    sum: ["Sum", 7],
    histogram: ["Histogram", 9],
    exponentialHistogram: ["ExponentialHistogram", 10],
    summary: ["Summary", 11],
  },
  ScopeMetrics: { scope: ["Scope", 1], metrics: ["Metric", 2, "repeated"] },
  ResourceMetrics: { resource: ["Resource", 1], scopeMetrics: ["ScopeMetrics", 2, "repeated"] },
  metrics: { resourceMetrics: ["ResourceMetrics", 1, "repeated"] },
  LogRecord: {
    timeUnixNano: ["fixed64", 1],
    severityNumber: ["int32", 2],
    severityText: ["string", 3],
    body: ["AnyValue", 5],
    attributes: ["KeyValue", 6, "repeated"],
    flags: ["fixed32", 8],
    traceId: ["bytes", 9],
    spanId: ["bytes", 10],
    observedTimeUnixNano: ["fixed64", 11],
  },
  ScopeLogs: { scope: ["Scope", 1], logRecords: ["LogRecord", 2, "repeated"] },
  ResourceLogs: { resource: ["Resource", 1], scopeLogs: ["ScopeLogs", 2, "repeated"] },
  logs: { resourceLogs: ["ResourceLogs", 1, "repeated"] },
  RpcStatus: { code: ["int32", 1], message: ["string", 2] },
};

const oneofs: Record<string, Record<string, { oneof: string[] }>> = {
  AnyValue: { value: { oneof: ["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"] } },
  NumberDataPoint: { value: { oneof: ["asDouble", "asInt"] } },
};

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.entries(fieldsOf).map(([name, fields]) => [
      name,
      {
        ...(oneofs[name] === undefined ? {} : { oneofs: oneofs[name] }),
        fields: Object.fromEntries(
          Object.entries(fields).map(([field, [type, id, rule]]) => [field, { type, id, ...(rule === undefined ? {} : { rule }) }]),
        ),
      },
    ]),
  ),
});

type MessageType = "traces" | "metrics" | "logs" | "RpcStatus";

/** Encodes a request as OTLP/JSON writes it (ids in hex, 64-bit integers as strings) to protobuf. */
export function encodeOtlp(type: MessageType, request: unknown): Uint8Array {
  const message = root.lookupType(type);
  return message.encode(message.fromObject(toBytes(request) as Record<string, unknown>)).finish();
}

/** Decodes a body to the form of OTLP/JSON. Throws for what protobufjs refuses. */
export function decodeOtlp(type: MessageType, body: Uint8Array): Record<string, unknown> {
  const message = root.lookupType(type);
  const object = message.toObject(message.decode(body), { longs: String, arrays: false, oneofs: false });
  return toHex(object) as Record<string, unknown>;
}

const idFields = new Set(["traceId", "spanId", "parentSpanId"]);

function toBytes(value: unknown): unknown {
  return mapFields(value, (key, field) => {
    if (idFields.has(key) && typeof field === "string") return Buffer.from(field, "hex");
    return key === "bytesValue" && typeof field === "string" ? Buffer.from(field, "base64") : undefined;
  });
}

function toHex(value: unknown): unknown {
  return mapFields(value, (key, field) => {
    if (idFields.has(key) && field instanceof Uint8Array) return Buffer.from(field).toString("hex");
    return key === "bytesValue" && field instanceof Uint8Array ? Buffer.from(field).toString("base64") : undefined;
  });
}

function mapFields(value: unknown, change: (key: string, field: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => mapFields(item, change));
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, change(key, field) ?? mapFields(field, change)]));
}

/** OTLP in protobuf, read item by item. What the bytes hold up to the first failure is handed out; the failure is reported once. */
import type { Signal } from "../contract/telemetry.ts";
import {
  emptyLogRecord,
  emptySpan,
  linksMax,
  type OtlpAttributes,
  type OtlpLogRecord,
  type OtlpSpan,
  type OtlpVisitor,
} from "./otlp-model.ts";
import { readMetric } from "./otlp-protobuf-metrics.ts";
import { readAnyValue, readAttribute, readResource } from "./otlp-protobuf-value.ts";
import { ProtobufReader } from "./protobuf-reader.ts";

/** Reads a request body. Never throws; a failure is `malformed` with its offset. */
export function visitProtobuf(signal: Signal, body: Uint8Array, visitor: OtlpVisitor): void {
  const reader = new ProtobufReader(body);
  eachMessage(reader, 1, () => visitResourceGroup(signal, reader, visitor));
  const { failure } = reader;
  if (failure !== null) visitor.malformed("body-malformed", `byte ${failure.offset}: ${failure.message}`);
}

/** Enters every message in `field` of the current one and lets `read` take it; other fields are skipped. */
function eachMessage(reader: ProtobufReader, field: number, read: () => void): void {
  while (reader.next()) {
    if (reader.field !== field) {
      reader.skip();
      continue;
    }
    const outer = reader.enter();
    read();
    reader.leave(outer);
  }
}

/** ResourceSpans, ResourceMetrics, ResourceLogs. The resource may stand after its items, so it is looked for first. */
function visitResourceGroup(signal: Signal, reader: ProtobufReader, visitor: OtlpVisitor): void {
  const start = reader.offset;
  const attributes: OtlpAttributes = new Map();
  eachMessage(reader, 1, () => readResource(reader, attributes));
  visitor.resource(attributes);
  reader.rewind(start);
  eachMessage(reader, 2, () => visitScopeGroup(signal, reader, visitor));
}

function visitScopeGroup(signal: Signal, reader: ProtobufReader, visitor: OtlpVisitor): void {
  const start = reader.offset;
  let name = "";
  eachMessage(reader, 1, () => {
    while (reader.next()) {
      if (reader.field === 1) name = reader.readString();
      else reader.skip();
    }
  });
  visitor.scope(name);
  reader.rewind(start);
  eachMessage(reader, 2, () => visitItem(signal, reader, visitor));
}

/** An item counts only when all of it could be read. */
function visitItem(signal: Signal, reader: ProtobufReader, visitor: OtlpVisitor): void {
  if (signal === "traces") {
    const span = readSpan(reader);
    if (reader.failure === null) visitor.span(span);
  } else if (signal === "metrics") {
    const metric = readMetric(reader);
    if (reader.failure === null) visitor.metric(metric);
  } else {
    const record = readLogRecord(reader);
    if (reader.failure === null) visitor.log(record);
  }
}

function readSpan(reader: ProtobufReader): OtlpSpan {
  const span = emptySpan();
  while (reader.next()) {
    if (reader.field === 1) span.traceId = reader.readHex();
    else if (reader.field === 2) span.spanId = reader.readHex();
    else if (reader.field === 4) span.parentSpanId = reader.readHex();
    else if (reader.field === 5) span.name = reader.readString();
    else if (reader.field === 6) span.kind = reader.readInt32();
    else if (reader.field === 7) span.startAt = reader.readTime();
    else if (reader.field === 8) span.endAt = reader.readTime();
    else if (reader.field === 9) readAttribute(reader, span.attributes);
    else if (reader.field === 11) readEvent(reader, span);
    else if (reader.field === 13) readLink(reader, span);
    else if (reader.field === 15) readStatus(reader, span);
    else reader.skip();
  }
  return span;
}

function readEvent(reader: ProtobufReader, span: OtlpSpan): void {
  const outer = reader.enter();
  const attributes: OtlpAttributes = new Map();
  let name = "";
  while (reader.next()) {
    if (reader.field === 2) name = reader.readString();
    else if (reader.field === 3) readAttribute(reader, attributes);
    else reader.skip();
  }
  reader.leave(outer);
  if (name === "exception") span.exception = attributes;
}

function readLink(reader: ProtobufReader, span: OtlpSpan): void {
  const outer = reader.enter();
  const link = { traceId: "", spanId: "" };
  while (reader.next()) {
    if (reader.field === 1) link.traceId = reader.readHex();
    else if (reader.field === 2) link.spanId = reader.readHex();
    else reader.skip();
  }
  reader.leave(outer);
  if (span.links.length < linksMax) span.links.push(link);
}

function readStatus(reader: ProtobufReader, span: OtlpSpan): void {
  const outer = reader.enter();
  while (reader.next()) {
    if (reader.field === 2) span.statusMessage = reader.readString();
    else if (reader.field === 3) span.statusCode = reader.readInt32();
    else reader.skip();
  }
  reader.leave(outer);
}

function readLogRecord(reader: ProtobufReader): OtlpLogRecord {
  const record = emptyLogRecord();
  while (reader.next()) {
    if (reader.field === 1) record.at = reader.readTime();
    else if (reader.field === 2) record.severityNumber = reader.readInt32();
    else if (reader.field === 3) record.severityText = reader.readString();
    else if (reader.field === 5) record.body = readAnyValue(reader, 0);
    else if (reader.field === 6) readAttribute(reader, record.attributes);
    else if (reader.field === 9) record.traceId = reader.readHex();
    else if (reader.field === 10) record.spanId = reader.readHex();
    else if (reader.field === 11) record.observedAt = reader.readTime();
    else reader.skip();
  }
  return record;
}

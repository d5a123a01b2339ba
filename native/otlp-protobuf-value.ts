/** Attribute values of OTLP in protobuf, in their text form. */
import { type OtlpAttributes, valueDepthMax } from "./otlp-model.ts";
import type { ProtobufReader } from "./protobuf-reader.ts";

/** A Resource message whose limit the reader is in: its attributes into the map. */
export function readResource(reader: ProtobufReader, into: OtlpAttributes): void {
  while (reader.next()) {
    if (reader.field === 1) readAttribute(reader, into);
    else reader.skip();
  }
}

/** A KeyValue field into the map. */
export function readAttribute(reader: ProtobufReader, into: OtlpAttributes): void {
  const outer = reader.enter();
  let key = "";
  let value = "";
  while (reader.next()) {
    if (reader.field === 1) key = reader.readString();
    else if (reader.field === 2) value = readAnyValue(reader, 0);
    else reader.skip();
  }
  reader.leave(outer);
  if (reader.failure === null) into.set(key, value);
}

/**
 * An AnyValue field as text: strings as they are, lists and maps as JSON, bytes as base64, nothing as empty.
 * `depth` is 0 for the value itself; inside lists and maps strings are quoted.
 */
export function readAnyValue(reader: ProtobufReader, depth: number): string {
  const outer = reader.enter();
  let text = depth === 0 ? "" : "null";
  while (reader.next()) {
    if (reader.field === 1) text = quotedInside(reader.readString(), depth);
    else if (reader.field === 2) text = reader.readInt32() === 0 ? "false" : "true";
    else if (reader.field === 3) text = reader.readInt64Text();
    else if (reader.field === 4) text = String(reader.readDouble());
    else if (reader.field === 5) text = readList(reader, depth);
    else if (reader.field === 6) text = readMap(reader, depth);
    else if (reader.field === 7) text = quotedInside(reader.readBase64(), depth);
    else reader.skip();
  }
  reader.leave(outer);
  return text;
}

function readList(reader: ProtobufReader, depth: number): string {
  const outer = reader.enter();
  const parts: string[] = [];
  while (reader.next()) {
    if (reader.field === 1 && depth < valueDepthMax) parts.push(readAnyValue(reader, depth + 1));
    else reader.skip();
  }
  reader.leave(outer);
  return `[${parts.join(",")}]`;
}

function readMap(reader: ProtobufReader, depth: number): string {
  const outer = reader.enter();
  const parts: string[] = [];
  while (reader.next()) {
    if (reader.field !== 1 || depth >= valueDepthMax) {
      reader.skip();
      continue;
    }
    const pairOuter = reader.enter();
    let key = "";
    let value = "null";
    while (reader.next()) {
      if (reader.field === 1) key = reader.readString();
      else if (reader.field === 2) value = readAnyValue(reader, depth + 1);
      else reader.skip();
    }
    reader.leave(pairOuter);
    parts.push(`${JSON.stringify(key)}:${value}`);
  }
  reader.leave(outer);
  return `{${parts.join(",")}}`;
}

function quotedInside(text: string, depth: number): string {
  return depth === 0 ? text : JSON.stringify(text);
}

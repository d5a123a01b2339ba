/** Checks the structure of an OTLP body at the door, without building objects from protobuf (design §5, gateway). */
import type { Signal } from "../contract/telemetry.ts";
import { walkOtlpJson } from "./otlp-json-walk.ts";
import type { OtlpAttributes } from "./otlp-model.ts";
import { readResource } from "./otlp-protobuf-value.ts";
import { type MessageName, messages, signalNames } from "./otlp-schema.ts";
import { ProtobufReader, wire } from "./protobuf-reader.ts";
import { type ResourceIdentity, resourceIdentity } from "./resource.ts";

/** Messages inside messages, protobuf's own default bound. */
const messageDepthMax = 100;

const countedItems: ReadonlySet<MessageName> = new Set<MessageName>([
  "Span",
  "LogRecord",
  "NumberDataPoint",
  "HistogramDataPoint",
  "ExponentialHistogramDataPoint",
  "SummaryDataPoint",
]);

export type OtlpWalk =
  | {
      readonly ok: true;
      /** Of the first resource that is there. */
      readonly resource: ResourceIdentity;
      /** Spans, data points or log records. */
      readonly itemCount: number;
    }
  | { readonly ok: false; readonly offset: number; readonly message: string };

/**
 * Walks the whole body. Refused are: bytes that end inside a field, lengths beyond their message, varints over 10 bytes, wire types other than
 * the field's own, field number 0, groups, nesting over 100 messages; in JSON what `walkOtlpJson` names. Values are not looked at.
 * Never throws.
 */
export function walkOtlp(signal: Signal, encoding: "protobuf" | "json", body: Uint8Array): OtlpWalk {
  if (encoding === "json") return walkOtlpJson(signal, body);
  const walker = new Walker(body);
  walker.walk(signalNames[signal].message, 1);
  const { failure } = walker.reader;
  if (failure !== null) return { ok: false, ...failure };
  return { ok: true, resource: resourceIdentity(walker.resource ?? new Map()), itemCount: walker.itemCount };
}

class Walker {
  readonly reader: ProtobufReader;
  resource: OtlpAttributes | null = null;
  itemCount = 0;

  constructor(body: Uint8Array) {
    this.reader = new ProtobufReader(body);
  }

  walk(name: MessageName, depth: number): void {
    const { reader } = this;
    if (countedItems.has(name)) this.itemCount += 1;
    const start = reader.offset;
    const table = messages[name];
    while (reader.next()) {
      const row = table[reader.field];
      if (row === undefined) reader.skip();
      else if (row.packed === true) this.#skipPacked(name);
      else if (row.wireType !== reader.wireType) {
        reader.fail(`${name}: field ${reader.field} has wire type ${reader.wireType}, expected ${row.wireType}`);
      } else if (row.message === undefined) reader.skip();
      else this.#enter(row.message, depth);
    }
    if (name === "Resource" && this.resource === null) this.#readResource(start);
  }

  #enter(name: MessageName, depth: number): void {
    if (depth >= messageDepthMax) {
      this.reader.fail(`more than ${messageDepthMax} messages inside each other`);
      return;
    }
    const outer = this.reader.enter();
    this.walk(name, depth + 1);
    this.reader.leave(outer);
  }

  #skipPacked(name: MessageName): void {
    const { reader } = this;
    if (reader.wireType === wire.fixed64) reader.skip();
    else if (reader.wireType === wire.bytes) reader.skipPacked64();
    else reader.fail(`${name}: field ${reader.field} has wire type ${reader.wireType}, expected 1 or 2`);
  }

  #readResource(start: number): void {
    const { reader } = this;
    const attributes: OtlpAttributes = new Map();
    reader.rewind(start);
    readResource(reader, attributes);
    if (reader.failure === null) this.resource = attributes;
  }
}

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson } from "../../contract/canonical.ts";
import type { Signal } from "../../contract/telemetry.ts";
import { visitJson } from "../../native/otlp-json.ts";
import type { OtlpAttributes, OtlpLogRecord, OtlpMetric, OtlpSpan, OtlpVisitor } from "../../native/otlp-model.ts";
import { visitProtobuf } from "../../native/otlp-protobuf.ts";
import { walkOtlp } from "../../native/otlp-walk.ts";
import { fixedRequests, requests } from "./otlp-bodies.ts";
import { decodeOtlp, encodeOtlp } from "./otlp-oracle.ts";

const signals = ["traces", "metrics", "logs"] as const;

/** Everything that a body holds, in order, as plain data. */
class Recorder implements OtlpVisitor {
  readonly seen: unknown[] = [];
  readonly malformedAt: string[] = [];
  resource(attributes: OtlpAttributes): void {
    this.seen.push({ resource: plain(attributes) });
  }
  scope(name: string): void {
    this.seen.push({ scope: name });
  }
  span(span: OtlpSpan): void {
    this.seen.push(plain(span));
  }
  metric(metric: OtlpMetric): void {
    this.seen.push(plain(metric));
  }
  log(record: OtlpLogRecord): void {
    this.seen.push(plain(record));
  }
  malformed(_reason: string, where: string): void {
    this.malformedAt.push(where);
  }
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, field) => (field instanceof Map ? Object.fromEntries(field) : field)));
}

function seenInProtobuf(signal: Signal, body: Uint8Array): unknown[] {
  const recorder = new Recorder();
  visitProtobuf(signal, body, recorder);
  expect(recorder.malformedAt).toEqual([]);
  return recorder.seen;
}

function seenInJson(signal: Signal, request: unknown): unknown[] {
  const recorder = new Recorder();
  visitJson(signal, new TextEncoder().encode(JSON.stringify(request)), recorder);
  expect(recorder.malformedAt).toEqual([]);
  return recorder.seen;
}

describe.each(signals)("decoding %s", (signal) => {
  it("finds in protobuf what protobufjs finds in the same bytes", () => {
    fc.assert(
      fc.property(requests[signal], (request) => {
        const body = encodeOtlp(signal, request);
        // protobufjs' objects go through our JSON reader, which shares no code with the protobuf reader but the model.
        expect(seenInProtobuf(signal, body)).toEqual(seenInJson(signal, decodeOtlp(signal, body)));
      }),
      { numRuns: 150 },
    );
  });

  it("finds the same in JSON and in protobuf", () => {
    fc.assert(
      fc.property(requests[signal], (request) => {
        expect(seenInJson(signal, request)).toEqual(seenInProtobuf(signal, encodeOtlp(signal, request)));
      }),
      { numRuns: 150 },
    );
  });

  it("refuses every truncation inside a field with its offset, and reads one at the end of a field as protobufjs does", () => {
    const request = fixedRequests[signal];
    const twice = Object.fromEntries(Object.entries(request).map(([key, list]) => [key, [...(list as unknown[]), ...(list as unknown[])]]));
    const body = encodeOtlp(signal, twice);
    let accepted = 0;
    for (let length = 0; length < body.length; length += 1) {
      const cut = body.subarray(0, length);
      const walked = walkOtlp(signal, "protobuf", cut);
      if (walked.ok) {
        accepted += 1;
        expect(seenInProtobuf(signal, cut)).toEqual(seenInJson(signal, decodeOtlp(signal, cut)));
      } else {
        expect(walked.offset).toBeLessThanOrEqual(length);
        expect(() => decodeOtlp(signal, cut)).toThrow();
      }
    }
    // The empty body and the one that ends after the first resource.
    expect(accepted).toBe(2);
    expect(walkOtlp(signal, "protobuf", body)).toMatchObject({ ok: true, resource: { namespace: null, name: "cart", instance: null } });
  });

  it("never throws for bytes of any kind", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        walkOtlp(signal, "protobuf", bytes);
        walkOtlp(signal, "json", bytes);
        visitProtobuf(signal, bytes, new Recorder());
        visitJson(signal, bytes, new Recorder());
      }),
      { numRuns: 2_000 },
    );
  });

  it("never throws for a valid body with bytes changed, and decodes completely whatever the walk accepts", () => {
    const body = encodeOtlp(signal, fixedRequests[signal]);
    const change = fc.tuple(fc.nat(body.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Uint8Array.from(body);
        for (const [at, value] of changes) bytes[at] = value;
        const recorder = new Recorder();
        visitProtobuf(signal, bytes, recorder);
        if (walkOtlp(signal, "protobuf", bytes).ok) expect(recorder.malformedAt).toEqual([]);
      }),
      { numRuns: 3_000 },
    );
  });

  it("never throws for JSON of any shape", () => {
    const fields = fc.constantFrom(
      "resourceSpans",
      "scopeSpans",
      "spans",
      "resourceMetrics",
      "scopeMetrics",
      "metrics",
      "gauge",
      "dataPoints",
    );
    const more = fc.constantFrom(
      "resourceLogs",
      "scopeLogs",
      "logRecords",
      "resource",
      "attributes",
      "key",
      "value",
      "body",
      "kvlistValue",
    );
    const anything = fc.object({ key: fc.oneof(fields, more), maxDepth: 6 });
    fc.assert(
      fc.property(anything, (value) => {
        const bytes = new TextEncoder().encode(JSON.stringify(value));
        walkOtlp(signal, "json", bytes);
        visitJson(signal, bytes, new Recorder());
      }),
      { numRuns: 500 },
    );
  });
});

describe("walking a body", () => {
  const text = (value: string) => new TextEncoder().encode(value);

  it.each([
    ["traces", '{"resourceSpans":[', 18, "the JSON document ends where a value was expected"],
    ["traces", '{"resourceSpans":[}', 18, '"}" where a value was expected'],
    ["traces", '{"resourceSpans":{}}', 0, "resourceSpans is an object, expected a list"],
    ["traces", "[]", 0, "the body is a list, expected an object"],
    ["logs", '{"resourceLogs":[{"scopeLogs":[7]}]}', 0, "resourceLogs[0].scopeLogs[0] is a number, expected an object"],
    ["logs", '{"resourceSpans":[]}', 0, 'the body holds "resourceSpans", so it belongs to /v1/traces; /v1/logs expects "resourceLogs"'],
    ["metrics", '{"resource_metrics":[]}', 0, '"resource_metrics" is not a field of OTLP/JSON; did you mean "resourceMetrics"?'],
    ["traces", '{"a":tru}', 5, '"t" where a value was expected'],
    ["traces", '{"a":"\u0001"}', 6, "a control character inside a string"],
    ["traces", "{} x", 3, "text after the end of the JSON document"],
    ["traces", "", 0, "the JSON document ends where a value was expected"],
  ] as const)("says what is wrong with %s %s", (signal, body, offset, message) => {
    expect(walkOtlp(signal, "json", text(body))).toEqual({ ok: false, offset, message });
  });

  it.each([
    ["a field number of 0", [0x00, 0x01], 0, "field number 0 does not exist"],
    ["a group", [0x0b], 0, "wire type 3 is not allowed"],
    ["a known field with another wire type", [0x08, 0x01], 0, "TracesRequest: field 1 has wire type 0, expected 2"],
    ["a length beyond the end", [0x0a, 0x05, 0x00], 0, "field 1 needs 5 bytes, 1 are left"],
    ["a varint without end", [0x10, 0xff, 0xff], 1, "the bytes end within a varint"],
    ["a varint of 11 bytes", [0x10, ...new Array(11).fill(0xff)], 1, "a varint is longer than 10 bytes"],
    ["a tag of more than 32 bits", [0xff, 0xff, 0xff, 0xff, 0xff, 0x01], 0, "a field tag is larger than 32 bits"],
  ])("refuses %s", (_name, bytes, offset, message) => {
    expect(walkOtlp("traces", "protobuf", Uint8Array.from(bytes))).toEqual({ ok: false, offset, message });
  });

  it("refuses values nested without end in both encodings", () => {
    let nested: Uint8Array = Uint8Array.from([]);
    const wrap = (field: number, inner: Uint8Array): Uint8Array => {
      const length = inner.length;
      const varint = length < 128 ? [length] : [(length & 0x7f) | 0x80, length >>> 7];
      return Uint8Array.from([(field << 3) | 2, ...varint, ...inner]);
    };
    for (let depth = 0; depth < 200; depth += 1) nested = wrap(5, wrap(1, nested));
    // An attribute of the resource whose value is list in list in list.
    const body = wrap(1, wrap(1, wrap(1, wrap(2, nested))));
    const refused = walkOtlp("traces", "protobuf", body);
    expect(refused).toMatchObject({ ok: false, message: "more than 100 messages inside each other" });
    expect(walkOtlp("traces", "json", text("[".repeat(100_000)))).toEqual({
      ok: false,
      offset: 128,
      message: "more than 128 objects and lists inside each other",
    });
  });

  it("refuses JSON with so many values that its objects would fill the memory", () => {
    const body = text(`{"resourceSpans":[${"{},".repeat(2_100_000)}{}]}`);
    expect(walkOtlp("traces", "json", body)).toMatchObject({ ok: false, message: "more than 2000000 values" });
  });

  it("reads the resource and counts the items of a JSON body", () => {
    const body = text(JSON.stringify(fixedRequests.metrics));
    expect(walkOtlp("metrics", "json", body)).toEqual({
      ok: true,
      itemCount: 5,
      resource: { namespace: null, name: "cart", instance: null },
    });
    const binary = encodeOtlp("metrics", fixedRequests.metrics);
    expect(canonicalJson(walkOtlp("metrics", "protobuf", binary))).toBe(canonicalJson(walkOtlp("metrics", "json", body)));
  });
});

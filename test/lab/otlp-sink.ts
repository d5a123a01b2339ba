/** A receiver of OTLP/HTTP protobuf and CloudEvents that keeps what a test wants to look at. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface SeenSpan {
  readonly service: string;
  readonly version: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly startMs: number;
  readonly durationMs: number;
  readonly failed: boolean;
  readonly exceptions: number;
  readonly attributes: Readonly<Record<string, string | number>>;
}

export interface SeenLine {
  readonly service: string;
  readonly severity: string;
  readonly body: string;
  readonly traceId: string;
}

/** Fields of one message by number: integers and doubles as numbers, everything else as bytes. */
type Fields = ReadonlyMap<number, readonly (number | Buffer)[]>;

function decode(buffer: Buffer): Fields {
  const fields = new Map<number, (number | Buffer)[]>();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = buffer[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < buffer.length) {
    const tag = varint();
    const read = (): number | Buffer => {
      if (tag % 8 === 0) return varint();
      const length = tag % 8 === 2 ? varint() : tag % 8 === 1 ? 8 : 4;
      at += length;
      return buffer.subarray(at - length, at);
    };
    const number = Math.floor(tag / 8);
    fields.set(number, [...(fields.get(number) ?? []), read()]);
  }
  return fields;
}

function parts(fields: Fields, number: number): Fields[] {
  return (fields.get(number) ?? []).map((value) => decode(value as Buffer));
}

function bytes(fields: Fields, number: number): Buffer {
  return (fields.get(number)?.[0] as Buffer | undefined) ?? Buffer.alloc(0);
}

function fixedMs(fields: Fields, number: number): number {
  const value = bytes(fields, number);
  return value.length === 8 ? Number(value.readBigUInt64LE() / 1_000n) / 1_000 : 0;
}

function attributesOf(list: readonly Fields[]): Record<string, string | number> {
  return Object.fromEntries(
    list.map((pair) => {
      const value = decode(bytes(pair, 2));
      const integer = value.get(3)?.[0];
      return [bytes(pair, 1).toString(), typeof integer === "number" ? integer : bytes(value, 1).toString()];
    }),
  );
}

/** Every item of the innermost list with the attributes of its resource. */
function itemsOf(body: Buffer): { resource: Record<string, string | number>; item: Fields }[] {
  return parts(decode(body), 1).flatMap((group) => {
    const resource = attributesOf(parts(decode(bytes(group, 1)), 1));
    return parts(group, 2).flatMap((scope) => parts(scope, 2).map((item) => ({ resource, item })));
  });
}

export class OtlpSink {
  readonly spans: SeenSpan[] = [];
  readonly lines: SeenLine[] = [];
  /** Metric names by service. */
  readonly metrics = new Map<string, Set<string>>();
  readonly changes: Record<string, unknown>[] = [];
  readonly contentTypes = new Set<string>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<OtlpSink> {
    const server = createServer();
    const sink = new OtlpSink(server);
    server.on("request", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        sink.contentTypes.add(`${request.url} ${request.headers["content-type"]}`);
        sink.#take(request.url ?? "", Buffer.concat(chunks));
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return sink;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #take(path: string, body: Buffer): void {
    if (path === "/v1/changes") this.changes.push(JSON.parse(body.toString()));
    else if (path === "/v1/traces") for (const { resource, item } of itemsOf(body)) this.spans.push(spanOf(resource, item));
    else if (path === "/v1/logs") for (const { resource, item } of itemsOf(body)) this.lines.push(lineOf(resource, item));
    else if (path === "/v1/metrics") {
      for (const { resource, item } of itemsOf(body)) {
        const service = String(resource["service.name"]);
        this.metrics.set(service, (this.metrics.get(service) ?? new Set()).add(bytes(item, 1).toString()));
      }
    }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function spanOf(resource: Record<string, string | number>, span: Fields): SeenSpan {
  const startMs = fixedMs(span, 7);
  const status = decode(bytes(span, 15));
  return {
    service: String(resource["service.name"]),
    version: String(resource["service.version"]),
    name: bytes(span, 5).toString(),
    kind: Number(span.get(6)?.[0] ?? 0),
    traceId: bytes(span, 1).toString("hex"),
    spanId: bytes(span, 2).toString("hex"),
    parentSpanId: bytes(span, 4).toString("hex"),
    startMs,
    durationMs: fixedMs(span, 8) - startMs,
    failed: status.get(3)?.[0] === 2,
    exceptions: parts(span, 11).filter((event) => bytes(event, 2).toString() === "exception").length,
    attributes: attributesOf(parts(span, 9)),
  };
}

function lineOf(resource: Record<string, string | number>, line: Fields): SeenLine {
  return {
    service: String(resource["service.name"]),
    severity: bytes(line, 3).toString(),
    body: bytes(decode(bytes(line, 5)), 1).toString(),
    traceId: bytes(line, 9).toString("hex"),
  };
}

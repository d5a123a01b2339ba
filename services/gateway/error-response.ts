/** How the gateway says no: google.rpc.Status to OTLP clients in their own encoding, RFC 9457 to everybody else. */
import { errorTable, type HeadwaterError } from "../../contract/error.ts";
import { type GatewayResponse, jsonResponse, textBytes } from "./gateway-message.ts";

/** Whom an answer is for. */
export type AnswerForm = "protobuf" | "json" | "problem";

/** google.rpc.Code by HTTP status. */
const rpcCodes: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 5,
  405: 12,
  408: 4,
  413: 8,
  415: 3,
  429: 8,
  503: 14,
};
const rpcInternal = 13;

/** The answer for an error, with Retry-After where trying again helps (429 and 503). `headers` are added. */
export function errorResponse(error: HeadwaterError, form: AnswerForm, headers: Readonly<Record<string, string>> = {}): GatewayResponse {
  const response = errorBody(error, form);
  const retry = error.status === 429 || error.status === 503 ? { "retry-after": String(Math.max(1, error.retryAfterSeconds ?? 1)) } : {};
  const challenge = error.status === 401 ? { "www-authenticate": "Bearer" } : {};
  return { ...response, headers: { ...response.headers, ...retry, ...challenge, ...headers } };
}

function errorBody(error: HeadwaterError, form: AnswerForm): GatewayResponse {
  const { status, message } = error;
  if (form === "problem") {
    const { title } = errorTable[error.code];
    return jsonResponse(status, { type: "about:blank", title, status, code: error.code, detail: message }, "application/problem+json");
  }
  const code = rpcCodes[status] ?? rpcInternal;
  if (form === "json") return jsonResponse(status, { code, message });
  return { status, headers: { "content-type": "application/x-protobuf" }, body: rpcStatus(code, message) };
}

/** `message Status { int32 code = 1; string message = 2; }` */
function rpcStatus(code: number, message: string): Uint8Array {
  const text = textBytes(message);
  return Uint8Array.from([0x08, code, 0x12, ...varint(text.length), ...text]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}

/** What OTLP answers when all of a body was taken: an empty Export…ServiceResponse. */
export function exportResponse(form: "protobuf" | "json"): GatewayResponse {
  if (form === "json") return jsonResponse(200, {});
  return { status: 200, headers: { "content-type": "application/x-protobuf" }, body: new Uint8Array(0) };
}

/** Requests and answers of the gateway, apart from any socket. */

/** Header names in lower case. */
export type GatewayHeaders = Readonly<Record<string, string | undefined>>;

export interface GatewayRequest {
  readonly method: string;
  /** With or without a query. */
  readonly path: string;
  readonly headers: GatewayHeaders;
  readonly body: Uint8Array;
  /** Set by a replay; now unless told. */
  readonly receivedAtMs?: number;
}

export interface GatewayResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** One accepted body, decompressed: what a recording keeps. Changes in binary mode are written as structured events. */
export interface RecordedBody {
  readonly receivedAtMs: number;
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array;
}

const encoder = new TextEncoder();

export function textBytes(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

export function jsonResponse(status: number, value: unknown, contentType = "application/json"): GatewayResponse {
  return { status, headers: { "content-type": contentType }, body: textBytes(JSON.stringify(value)) };
}

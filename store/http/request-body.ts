/** Reads the body of a request within its bound. */
import type { IncomingMessage } from "node:http";
import { HeadwaterError } from "../../contract/error.ts";
import type { Clock } from "../../contract/port.ts";
import { requestBytesMax } from "./telemetry-protocol.ts";

/** How long what is left of a refused body is discarded, so that its sender comes to read the answer. */
const discardMs = 2_000;

/** The whole body; null when the connection ended before it was complete. Throws BODY_TOO_LARGE. */
export async function readBody(request: IncomingMessage, onCounted: (name: string, amount: number) => void): Promise<string | null> {
  const refuse = (): HeadwaterError => {
    onCounted("telemetry_server_bodies_refused", 1);
    return new HeadwaterError("BODY_TOO_LARGE", `the body is larger than ${requestBytesMax} bytes: append fewer windows at once`);
  };
  if (Number(request.headers["content-length"] ?? 0) > requestBytesMax) throw refuse();
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= requestBytesMax) chunks.push(chunk);
      else {
        request.removeAllListeners("data");
        reject(refuse());
      }
    });
    request.once("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    request.once("close", () => {
      if (request.complete) return;
      onCounted("telemetry_server_bodies_truncated", 1);
      resolve(null);
    });
  });
}

/** Lets what still comes of a refused body go by for a moment; then hangs up. */
export function discardBody(request: IncomingMessage, clock: Clock): void {
  if (request.complete || request.destroyed) return;
  const cancel = clock.schedule(discardMs, () => request.destroy());
  request.once("close", cancel);
  request.once("end", cancel);
  request.resume();
}

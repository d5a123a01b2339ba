/** Requests to a gateway over HTTP or HTTPS, on one connection that stays. */
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { HeadwaterError } from "../../contract/error.ts";
import type { Post } from "./otlp-sender.ts";

const answerBytesMax = 4_096;

/** `close` ends the connection. */
export function httpPost(options: { readonly url: string; readonly token: string | null; readonly timeoutMs: number }): {
  readonly post: Post;
  close(): void;
} {
  const base = new URL(options.url);
  const isSecure = base.protocol === "https:";
  const agent = isSecure ? new HttpsAgent({ keepAlive: true, maxSockets: 1 }) : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  const send = isSecure ? requestHttps : requestHttp;
  const authorization = options.token === null ? {} : { authorization: `Bearer ${options.token}` };
  const post: Post = ({ path, headers, body }) =>
    new Promise((resolve, reject) => {
      const target = new URL(`${base.pathname.replace(/\/+$/, "")}${path}`, base);
      const sent = { ...headers, ...authorization, "content-length": String(body.length) };
      const request = send(target, { method: "POST", agent, headers: sent, timeout: options.timeoutMs }, (response) => {
        readAnswer(response).then(resolve, reject);
      });
      request.on("timeout", () => request.destroy(new Error(`no answer within ${options.timeoutMs} ms`)));
      request.on("error", (error) => {
        const message = `the gateway at ${options.url} cannot be reached: ${error.message}`;
        reject(new HeadwaterError("GATEWAY_UNAVAILABLE", message, { cause: error }));
      });
      request.end(body);
    });
  return { post, close: () => agent.destroy() };
}

async function readAnswer(response: IncomingMessage): Promise<Awaited<ReturnType<Post>>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (length < answerBytesMax) chunks.push(chunk);
    length += chunk.length;
  }
  const seconds = Number(response.headers["retry-after"]);
  const status = response.statusCode ?? 0;
  // A protobuf status is mostly its message; what is not text in it is left out.
  const text = Buffer.concat(chunks)
    .toString("utf8")
    .slice(0, answerBytesMax)
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim();
  return { status, retryAfterSeconds: Number.isFinite(seconds) && seconds > 0 ? seconds : null, text: status < 300 ? "" : text };
}

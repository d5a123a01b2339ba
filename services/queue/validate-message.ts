/** Messages are checked by their topic's schema before they are queued and again before they are handed out, the same way in both adapters. */
import { HeadwaterError } from "../../contract/error.ts";
import { rowOf, type TopicTable } from "./topic-table.ts";

/** The message as its schema understands it. Throws REQUEST_INVALID with the field and what is wrong with it. */
export function validated<M>(topics: TopicTable, topic: string, message: M): M {
  const result = rowOf(topics, topic).schema.safeParse(message);
  if (result.success) return result.data as M;
  const issue = result.error.issues[0];
  const where = issue === undefined ? "" : ` "${issue.path.join(".")}": ${issue.message}`;
  throw new HeadwaterError("REQUEST_INVALID", `not a message of the topic ${topic}:${where}`);
}

/** A message in two parts: what JSON can hold, and its binary body where it has one. */
export function splitBody(message: unknown): { json: unknown; body: Uint8Array | null } {
  const { body, ...json } = message as { readonly body?: unknown };
  return body instanceof Uint8Array ? { json, body } : { json: message, body: null };
}

/** Puts together what `splitBody` took apart. */
export function joinBody(json: unknown, body: Uint8Array | null): unknown {
  return body === null ? json : { ...(json as object), body };
}

/** Messages are checked by their topic's schema before they are queued, the same way in both adapters. */
import type { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";
import { type QueueMessage, type QueueTopic, queueTopics } from "../../contract/topic.ts";

/** The message as its schema understands it. Throws REQUEST_INVALID with the field and what is wrong with it. */
export function validated<T extends QueueTopic>(topic: T, message: QueueMessage<T>): QueueMessage<T> {
  const schema: z.ZodType = queueTopics[topic].schema;
  const result = schema.safeParse(message);
  if (result.success) return result.data as QueueMessage<T>;
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

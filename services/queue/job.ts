/** What of a message is in its BullMQ job, and how jobs are named. */
import { z } from "zod";
import { HeadwaterError } from "../../contract/error.ts";

const JobData = z.object({
  /** The message without its binary body. */
  json: z.unknown(),
  /** Length of the body, which is under a key of its own; null when the message has none. */
  bodyBytes: z.number().int().nonnegative().nullable(),
});
export type JobData = z.infer<typeof JobData>;

/** What a job holds. Throws REQUEST_INVALID for one that we did not write so. */
export function parseJobData(data: unknown): JobData {
  const result = JobData.safeParse(data);
  if (result.success) return result.data;
  throw new HeadwaterError("REQUEST_INVALID", `a job that is no message of ours: ${JSON.stringify(data)?.slice(0, 300)}`);
}

/** The job of a message with a binary body. BullMQ allows no colon, and addresses of dead letters no slash. */
export function jobIdOf(messageId: string): string {
  return `m-${escaped(messageId)}`;
}

/** `%`, `:` and `/` as in URLs. */
export function escaped(text: string): string {
  return text.replace(/[%:/]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Takes back `escaped`. */
export function unescaped(text: string): string {
  return text.replace(/%(25|3A|2F)/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

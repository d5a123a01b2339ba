/** `headwater dead-letters`: messages that a stage could not handle, to be looked at, handed out again, or forgotten. */
import { HeadwaterError } from "../../contract/error.ts";
import type { RouteResponse } from "../../contract/route.ts";
import { type ApiAddress, apiClient } from "./api-client.ts";
import { type OutputFormat, print } from "./output.ts";

export interface DeadLettersOptions extends ApiAddress {
  readonly format: OutputFormat;
}

type DeadLetterRow = RouteResponse<"deadLetters">["items"][number];

/** Letters that the API tells of at most. */
const lettersMax = 1_000;

/** Lists them, newest first. */
export async function listDeadLetters(options: DeadLettersOptions): Promise<void> {
  const { items } = await apiClient(options).call("deadLetters", { query: { limit: lettersMax } });
  if (options.format === "json") {
    print(JSON.stringify({ items }));
    return;
  }
  if (items.length === 0) print("no dead letter: every message so far was handled, or still will be");
  for (const letter of items) print(`${letter.id}  ${timeOf(letter)}  ${letter.code}  ${firstLine(letter.message)}`);
}

/** Prints one with its message. Throws NOT_FOUND. */
export async function showDeadLetter(id: string, options: DeadLettersOptions): Promise<void> {
  const { items } = await apiClient(options).call("deadLetters", { query: { limit: lettersMax } });
  const letter = items.find((item) => item.id === id);
  if (letter === undefined) throw new HeadwaterError("NOT_FOUND", `there is no dead letter ${id}; headwater dead-letters list shows them`);
  if (options.format === "json") {
    print(JSON.stringify(letter));
    return;
  }
  print(`${letter.id}: a message of the topic ${letter.topic} that ${letter.reader} could not handle`);
  print(`given up    ${timeOf(letter)}, after ${letter.attempts} ${letter.attempts === 1 ? "attempt" : "attempts"}`);
  print(`because     ${letter.code}: ${letter.message}`);
  print(`body        ${letter.bodyBytes} bytes`);
  print(`message     ${JSON.stringify(letter.json, null, 2)}`);
}

/** Hands it out again, with all its attempts. Throws NOT_FOUND. */
export async function retryDeadLetter(id: string, options: DeadLettersOptions): Promise<void> {
  const answer = await apiClient(options).call("retryDeadLetter", { params: { id } });
  print(options.format === "json" ? JSON.stringify({ retried: answer.id }) : `${answer.id} is handed out again`);
}

/** Forgets it for good. Throws NOT_FOUND. */
export async function dropDeadLetter(id: string, options: DeadLettersOptions): Promise<void> {
  const answer = await apiClient(options).call("dropDeadLetter", { params: { id } });
  print(options.format === "json" ? JSON.stringify({ dropped: answer.id }) : `${answer.id} is forgotten`);
}

function timeOf(letter: DeadLetterRow): string {
  return `${new Date(letter.atMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function firstLine(text: string): string {
  const line = text.split("\n")[0] ?? "";
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}

/** Reads answers as they arrive: lists line by line, so that a large one is never one text, and short texts. */
import type { IncomingMessage } from "node:http";
import { StringDecoder } from "node:string_decoder";
import { HeadwaterError } from "../../contract/error.ts";

/** Largest list. The store's own bounds on rows keep answers well below it. */
const answerBytesMax = 536_870_912;
/** Of any other answer no more than this is looked at. */
const textBytesMax = 65_536;

export class LineReader {
  #address: string;
  #onCounted: (name: string, amount: number) => void;
  #decoder = new StringDecoder("utf8");
  /** The line that has not ended yet, as it came. */
  #parts: string[] = [];
  #items: unknown[] = [];

  constructor(address: string, onCounted: (name: string, amount: number) => void) {
    this.#address = address;
    this.#onCounted = onCounted;
  }

  /** The items of an answer. Throws STORE_UNAVAILABLE when it breaks off or is not of lines of JSON, REQUEST_INVALID when it is too large. */
  async read(response: IncomingMessage, heard: () => void): Promise<unknown[]> {
    let bytes = 0;
    for await (const chunk of whole(response, this.#address)) {
      heard();
      bytes += chunk.length;
      if (bytes > answerBytesMax) {
        this.#onCounted("telemetry_client_answers_refused", 1);
        throw new HeadwaterError(
          "REQUEST_INVALID",
          `the answer of ${this.#address} is larger than ${answerBytesMax} bytes: ask for a shorter time or less rows`,
        );
      }
      this.#take(this.#decoder.write(chunk));
    }
    if (this.#parts.length > 0) throw this.#unreadable("ended within a line");
    return this.#items;
  }

  #take(text: string): void {
    let from = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      this.#parts.push(text.slice(from, end));
      const line = this.#parts.length === 1 ? (this.#parts[0] ?? "") : this.#parts.join("");
      this.#parts = [];
      try {
        this.#items.push(JSON.parse(line));
      } catch {
        throw this.#unreadable("holds a line that is no JSON");
      }
      from = end + 1;
    }
    if (from < text.length) this.#parts.push(text.slice(from));
  }

  #unreadable(how: string): HeadwaterError {
    return new HeadwaterError("STORE_UNAVAILABLE", `the answer of ${this.#address} ${how}`);
  }
}

/** The beginning of an answer as text. */
export async function readText(response: IncomingMessage, heard: () => void): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    heard();
    bytes += chunk.length;
    chunks.push(chunk);
    // Leaving the loop hangs up.
    if (bytes > textBytesMax) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The chunks of an answer; throws where it breaks off. */
async function* whole(response: IncomingMessage, address: string): AsyncIterable<Buffer> {
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (error) {
    throw brokenOff(address, error);
  }
  if (!response.complete) throw brokenOff(address, null);
}

function brokenOff(address: string, cause: unknown): HeadwaterError {
  if (cause instanceof HeadwaterError) return cause;
  return new HeadwaterError("STORE_UNAVAILABLE", `the answer of ${address} broke off`, { cause });
}

/** JSON at the door: checked byte by byte, so that an error names its place, and bounded before any object is built. */
import { Buffer } from "node:buffer";
import type { WireFailure } from "./protobuf-reader.ts";

/** Objects and lists inside each other. */
const depthMax = 128;
/** Values in one body; a list of 16 MB of `{},` would otherwise become hundreds of megabytes of objects. */
const valuesMax = 2_000_000;

type JsonBody = { readonly ok: true; readonly value: unknown } | ({ readonly ok: false } & WireFailure);

/** Parses a JSON document. Never throws; the failure names the byte. */
export function parseJsonBody(body: Uint8Array): JsonBody {
  const failure = new JsonScanner(body).scan();
  if (failure !== null) return { ok: false, ...failure };
  try {
    return { ok: true, value: JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8")) };
  } catch (error) {
    return { ok: false, offset: 0, message: error instanceof Error ? error.message : String(error) };
  }
}

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const comma = 0x2c;
const colon = 0x3a;
const minus = 0x2d;

class JsonScanner {
  #bytes: Uint8Array;
  #at = 0;
  #failure: WireFailure | null = null;
  /** Closing byte of each open object or list. */
  #open: number[] = [];
  #values = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  scan(): WireFailure | null {
    this.#value();
    while (this.#failure === null && this.#open.length > 0) this.#next();
    this.#space();
    if (this.#failure === null && this.#at < this.#bytes.length) this.#fail("text after the end of the JSON document");
    return this.#failure;
  }

  /** After a value inside an object or list: a comma and the next one, or the end. */
  #next(): void {
    this.#space();
    const byte = this.#bytes[this.#at];
    const closing = this.#open.at(-1);
    if (byte === closing) {
      this.#at += 1;
      this.#open.pop();
    } else if (byte === comma) {
      this.#at += 1;
      if (closing === closeBrace) this.#key();
      this.#value();
    } else this.#unexpected(closing === closeBrace ? '"," or "}"' : '"," or "]"');
  }

  /** A string, number or literal; of an object or list only its beginning and first value. */
  #value(): void {
    if (this.#failure !== null) return;
    this.#space();
    this.#values += 1;
    if (this.#values > valuesMax) this.#fail(`more than ${valuesMax} values`);
    const byte = this.#bytes[this.#at];
    if (byte === quote) this.#string();
    else if (byte === openBrace) this.#begin(closeBrace);
    else if (byte === openBracket) this.#begin(closeBracket);
    else if (byte === minus || isDigit(byte)) this.#number();
    else if (byte === 0x74) this.#literal("true");
    else if (byte === 0x66) this.#literal("false");
    else if (byte === 0x6e) this.#literal("null");
    else this.#unexpected("a value");
  }

  #begin(closing: number): void {
    if (this.#open.length >= depthMax) {
      this.#fail(`more than ${depthMax} objects and lists inside each other`);
      return;
    }
    this.#at += 1;
    this.#open.push(closing);
    this.#space();
    if (this.#bytes[this.#at] === closing) {
      this.#at += 1;
      this.#open.pop();
      return;
    }
    if (closing === closeBrace) this.#key();
    // The first value of what was just opened; at most `depthMax` calls deep.
    this.#value();
  }

  #key(): void {
    this.#space();
    if (this.#bytes[this.#at] !== quote) {
      this.#unexpected("a key in quotes");
      return;
    }
    this.#string();
    this.#space();
    if (this.#failure === null && this.#bytes[this.#at] !== colon) this.#unexpected('":"');
    this.#at += 1;
  }

  #string(): void {
    const bytes = this.#bytes;
    this.#at += 1;
    while (this.#at < bytes.length) {
      const byte = bytes[this.#at] as number;
      if (byte === quote) {
        this.#at += 1;
        return;
      }
      if (byte < 0x20) {
        this.#fail("a control character inside a string");
        return;
      }
      this.#at += 1;
      if (byte === backslash && !this.#escape()) return;
    }
    this.#unexpected("the end of a string");
  }

  #escape(): boolean {
    const byte = this.#bytes[this.#at];
    if (byte !== undefined && '"\\/bfnrt'.includes(String.fromCharCode(byte))) {
      this.#at += 1;
      return true;
    }
    if (byte !== 0x75) return this.#unexpected("an escape");
    for (let count = 1; count <= 4; count += 1) {
      if (!isHexDigit(this.#bytes[this.#at + count])) return this.#unexpected("four hex digits");
    }
    this.#at += 5;
    return true;
  }

  #number(): void {
    if (this.#bytes[this.#at] === minus) this.#at += 1;
    if (this.#bytes[this.#at] === 0x30) this.#at += 1;
    else if (!this.#digits()) return;
    if (this.#bytes[this.#at] === 0x2e) {
      this.#at += 1;
      if (!this.#digits()) return;
    }
    const exponent = this.#bytes[this.#at];
    if (exponent !== 0x65 && exponent !== 0x45) return;
    this.#at += 1;
    const sign = this.#bytes[this.#at];
    if (sign === minus || sign === 0x2b) this.#at += 1;
    this.#digits();
  }

  #digits(): boolean {
    if (!isDigit(this.#bytes[this.#at])) return this.#unexpected("a digit");
    while (isDigit(this.#bytes[this.#at])) this.#at += 1;
    return true;
  }

  #literal(text: string): void {
    for (let index = 0; index < text.length; index += 1) {
      if (this.#bytes[this.#at + index] !== text.charCodeAt(index)) {
        this.#unexpected("a value");
        return;
      }
    }
    this.#at += text.length;
  }

  #space(): void {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }

  #unexpected(wanted: string): false {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) return this.#fail(`the JSON document ends where ${wanted} was expected`);
    const shown = byte > 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16).padStart(2, "0")}`;
    return this.#fail(`${shown} where ${wanted} was expected`);
  }

  #fail(message: string): false {
    this.#failure ??= { offset: Math.min(this.#at, this.#bytes.length), message };
    this.#at = this.#bytes.length;
    return false;
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHexDigit(byte: number | undefined): boolean {
  return isDigit(byte) || (byte !== undefined && ((byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66)));
}

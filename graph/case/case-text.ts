/** Reads the files of a case: plain or gzip, CSV by rows and JSON, with errors that name file, line and column. */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { createGunzip, gunzipSync } from "node:zlib";
import { HeadwaterError } from "../../contract/error.ts";

const jsonBytesMax = 64 * 1_048_576;
const rowLengthMax = 4 * 1_048_576;

/** What is wrong with a case, and where. */
export function caseInvalid(file: string, message: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("CASE_INVALID", `${file}: ${message}`, cause === undefined ? {} : { cause });
}

/** Path of a case's file, or of the same with `.gz`; null when there is neither. */
export async function findCaseFile(directory: string, name: string): Promise<string | null> {
  for (const path of [join(directory, name), join(directory, `${name}.gz`)]) {
    const found = await stat(path).catch(() => null);
    if (found?.isFile() === true) return path;
  }
  return null;
}

/** The parsed JSON of a file of at most 64 MiB. */
export async function readCaseJson(path: string): Promise<unknown> {
  const file = basename(path);
  const text = await readText(path);
  try {
    return JSON.parse(text);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const place = /position (\d+)/.exec(message);
    const where = place === null ? "" : ` at ${lineAndColumn(text, Number(place[1]))}`;
    throw caseInvalid(file, `is not JSON${where}: ${message}`, cause);
  }
}

async function readText(path: string): Promise<string> {
  const file = basename(path);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw caseInvalid(file, "cannot be read", cause);
  });
  if (!path.endsWith(".gz")) {
    if (bytes.length > jsonBytesMax) throw caseInvalid(file, `is larger than ${jsonBytesMax} bytes`);
    return bytes.toString("utf8");
  }
  try {
    return gunzipSync(bytes, { maxOutputLength: jsonBytesMax }).toString("utf8");
  } catch (cause) {
    throw caseInvalid(file, `is not gzip, or holds more than ${jsonBytesMax} bytes`, cause);
  }
}

function lineAndColumn(text: string, position: number): string {
  const before = text.slice(0, position).split("\n");
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

/** One row of a CSV file, by column name; a column that is missing in a row, or not in the file, is empty. */
export interface CaseRow {
  readonly file: string;
  readonly line: number;
  text(column: string): string;
  /** The text, which must not be empty. */
  required(column: string): string;
  /** A finite number; null for an empty cell and for NaN and infinities. */
  number(column: string): number | null;
  requiredNumber(column: string): number;
}

export interface CsvOptions {
  /** Columns that must be there. */
  readonly columns: readonly string[];
  readonly rowsMax: number;
}

/** Calls `onRow` for every row of a CSV file (RFC 4180; plain or gzip) in order, without holding the file in memory. */
export async function readCaseCsv(path: string, options: CsvOptions, onRow: (row: CaseRow) => void): Promise<void> {
  const file = basename(path);
  const reader = new CsvReader(file, options, onRow);
  const source = createReadStream(path);
  const stream = path.endsWith(".gz") ? source.pipe(createGunzip()) : source;
  source.on("error", (error) => stream.destroy(error));
  const decoder = new TextDecoder("utf-8");
  try {
    for await (const chunk of stream) reader.push(decoder.decode(chunk as Buffer, { stream: true }));
    reader.push(decoder.decode());
    reader.end();
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause;
    throw caseInvalid(file, `cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  } finally {
    source.destroy();
  }
}

class CsvReader {
  readonly #file: string;
  readonly #options: CsvOptions;
  readonly #onRow: (row: CaseRow) => void;
  #rest = "";
  #line = 1;
  #rows = 0;
  #columns: ReadonlyMap<string, number> | null = null;

  constructor(file: string, options: CsvOptions, onRow: (row: CaseRow) => void) {
    this.#file = file;
    this.#options = options;
    this.#onRow = onRow;
  }

  push(text: string): void {
    this.#rest += text;
    let start = 0;
    for (let end = rowEnd(this.#rest, start); end >= 0; end = rowEnd(this.#rest, start)) {
      this.#row(this.#rest.slice(start, end));
      start = end + 1;
    }
    this.#rest = this.#rest.slice(start);
    if (this.#rest.length > rowLengthMax) {
      throw caseInvalid(this.#file, `line ${this.#line}: a row is longer than ${rowLengthMax} characters; is a quote left open?`);
    }
  }

  end(): void {
    if (this.#rest.trim() !== "") this.#row(this.#rest);
    if (this.#columns === null) throw caseInvalid(this.#file, `line 1: the header is missing; it needs ${this.#options.columns.join(",")}`);
  }

  #row(raw: string): void {
    const line = this.#line;
    this.#line += raw.includes("\n") ? raw.split("\n").length : 1;
    const text = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (text === "") return;
    const cells = cellsOf(text);
    if (cells === null) throw caseInvalid(this.#file, `line ${line}: a quoted cell is not closed, or text follows its closing quote`);
    if (this.#columns === null) {
      this.#columns = this.#header(cells);
      return;
    }
    this.#rows += 1;
    if (this.#rows > this.#options.rowsMax) throw caseInvalid(this.#file, `line ${line}: more than ${this.#options.rowsMax} rows`);
    if (cells.length > this.#columns.size) {
      throw caseInvalid(this.#file, `line ${line}: ${cells.length} cells where the header has ${this.#columns.size} columns`);
    }
    this.#onRow(new CsvRow(this.#file, { line, columns: this.#columns, cells }));
  }

  #header(cells: readonly string[]): Map<string, number> {
    const columns = new Map(cells.map((name, index) => [index === 0 ? name.replace(/^\uFEFF/, "").trim() : name.trim(), index]));
    if (columns.size !== cells.length) throw caseInvalid(this.#file, "line 1: a column name occurs twice");
    for (const name of this.#options.columns) {
      if (!columns.has(name)) throw caseInvalid(this.#file, `line 1: the column ${name} is missing; found ${cells.join(",")}`);
    }
    return columns;
  }
}

/** Position of the line feed that ends the row, quoted ones skipped; -1 when it is not there yet. */
function rowEnd(text: string, start: number): number {
  let quoted = false;
  const firstFeed = text.indexOf("\n", start);
  if (firstFeed < 0) return -1;
  const firstQuote = text.slice(start, firstFeed).indexOf('"') + start;
  if (firstQuote < start) return firstFeed;
  for (let index = firstQuote; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === 34) quoted = !quoted;
    else if (code === 10 && !quoted) return index;
  }
  return -1;
}

/** Cells of one row, or null where quotes do not match. */
function cellsOf(row: string): string[] | null {
  if (!row.includes('"')) return row.split(",");
  const cells: string[] = [];
  let index = 0;
  for (;;) {
    if (row[index] === '"') {
      let text = "";
      let from = index + 1;
      for (;;) {
        const quote = row.indexOf('"', from);
        if (quote < 0) return null;
        text += row.slice(from, quote);
        if (row[quote + 1] !== '"') {
          index = quote + 1;
          break;
        }
        text += '"';
        from = quote + 2;
      }
      if (index < row.length && row[index] !== ",") return null;
      cells.push(text);
    } else {
      const comma = row.indexOf(",", index);
      const end = comma < 0 ? row.length : comma;
      cells.push(row.slice(index, end));
      index = end;
    }
    if (index >= row.length) return cells;
    index += 1;
    if (index === row.length) return [...cells, ""];
  }
}

class CsvRow implements CaseRow {
  readonly file: string;
  readonly line: number;
  readonly #columns: ReadonlyMap<string, number>;
  readonly #cells: readonly string[];

  constructor(file: string, options: { line: number; columns: ReadonlyMap<string, number>; cells: readonly string[] }) {
    this.file = file;
    this.line = options.line;
    this.#columns = options.columns;
    this.#cells = options.cells;
  }

  text(column: string): string {
    const index = this.#columns.get(column);
    return index === undefined ? "" : (this.#cells[index] ?? "");
  }

  required(column: string): string {
    const text = this.text(column);
    if (text === "") throw this.#invalid(column, "must not be empty");
    return text;
  }

  number(column: string): number | null {
    const text = this.text(column).trim();
    if (text === "" || /^[+-]?(nan|inf|infinity|null)$/i.test(text)) return null;
    const value = Number(text);
    if (!Number.isFinite(value)) throw this.#invalid(column, `"${text.slice(0, 80)}" is not a number`);
    return value;
  }

  requiredNumber(column: string): number {
    const value = this.number(column);
    if (value === null) throw this.#invalid(column, "must be a finite number");
    return value;
  }

  #invalid(column: string, message: string): HeadwaterError {
    return caseInvalid(this.file, `line ${this.line}, column ${column}: ${message}`);
  }
}

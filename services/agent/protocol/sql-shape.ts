import type { OperationNames } from "./operation-names.ts";

/** Bytes of a statement that are looked at. */
export const sqlBytesMax = 2_048;
/** Statements of one simple query that are named one by one. */
export const statementsMax = 16;
const nameBytesMax = 64;
const verbBytesMax = 10;

const verbs = new Set([
  ...["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "CALL", "EXECUTE", "PREPARE", "DEALLOCATE", "DECLARE", "FETCH"],
  ...["MOVE", "CLOSE", "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "SET", "RESET", "SHOW", "USE"],
  ...["CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE", "COMMENT", "ANALYZE", "VACUUM", "REINDEX", "CLUSTER", "CHECKPOINT"],
  ...[
    "EXPLAIN",
    "LISTEN",
    "NOTIFY",
    "UNLISTEN",
    "LOCK",
    "UNLOCK",
    "DO",
    "VALUES",
    "TABLE",
    "WITH",
    "REFRESH",
    "DISCARD",
    "DESCRIBE",
    "KILL",
  ],
]);
/** The word in front of a verb's first table; without one the table follows the verb. */
const tableAfter: Readonly<Record<string, string>> = { SELECT: "FROM", DELETE: "FROM", INSERT: "INTO", REPLACE: "INTO", MERGE: "INTO" };
const tableFollows = new Set(["UPDATE", "COPY", "TABLE", "CALL", "TRUNCATE", "CREATE", "ALTER", "DROP", "LOCK"]);
/** Words between a verb and its table. */
const fillers = new Set(["ONLY", "TABLE", "IF", "NOT", "EXISTS", "TEMPORARY", "TEMP", "UNLOGGED", "IGNORE", "LOW_PRIORITY", "LATERAL"]);
/** A definition of something else than a table is named by its verb alone. */
const definitions = new Set(["CREATE", "ALTER", "DROP"]);

const quoteSingle = 39;
const quoteDouble = 34;
const backquote = 96;
const semicolon = 59;
const paren = 40;
const parenEnd = 41;

interface Cursor {
  at: number;
  readonly end: number;
  /** Of the last token. */
  from: number;
  to: number;
  kind: "word" | "quoted" | "sign" | "end";
  sign: number;
  readonly escapes: SqlEscapes;
}

/** Where a backslash escapes in a string: in every one (MySQL), or only in those marked with an E (PostgreSQL). */
export type SqlEscapes = "always" | "marked";

export interface SqlText {
  readonly data: Uint8Array;
  readonly from: number;
  readonly to: number;
  readonly escapes: SqlEscapes;
}

/**
 * Names of the statements in SQL text: verb in upper case, first table in lower case, no values. `SELECT orders`, `BEGIN`, `other`. Text
 * may be cut: what is not there names nothing. Empty statements have no name and no place in the list.
 */
export function sqlNames(operations: OperationNames, text: SqlText): readonly string[] {
  const to = Math.min(text.to, text.from + sqlBytesMax);
  return operations.statements(text.data, text.from, to, () => findNames(operations, text));
}

function findNames(operations: OperationNames, text: SqlText): readonly string[] {
  const { data, from, escapes } = text;
  const cursor: Cursor = { at: from, end: Math.min(text.to, from + sqlBytesMax), from: 0, to: 0, kind: "end", sign: 0, escapes };
  const names: string[] = [];
  while (names.length < statementsMax) {
    next(cursor, data);
    if (isEnd(cursor)) break;
    if (isSign(cursor, semicolon)) continue;
    names.push(operations.name(statementName(operations, data, cursor)));
    while (!isEnd(cursor) && !isSign(cursor, semicolon)) next(cursor, data);
  }
  return names;
}

/** The cursor stands on the statement's first token. */
function statementName(operations: OperationNames, data: Uint8Array, cursor: Cursor): string {
  while (isSign(cursor, paren)) next(cursor, data);
  let verb = word(operations, data, cursor);
  if (verb === "WITH") verb = mainVerb(operations, data, cursor);
  if (!verbs.has(verb)) return "other";
  const table = tableName(operations, data, { cursor, verb });
  return table === "" ? verb : `${verb} ${table}`;
}

/** Passes over common table expressions to the verb that uses them. */
function mainVerb(operations: OperationNames, data: Uint8Array, cursor: Cursor): string {
  let depth = 0;
  for (next(cursor, data); !isEnd(cursor); next(cursor, data)) {
    if (isSign(cursor, paren)) depth += 1;
    else if (isSign(cursor, parenEnd)) depth -= 1;
    else if (isSign(cursor, semicolon)) break;
    else if (depth === 0 && cursor.kind === "word") {
      const text = word(operations, data, cursor);
      if (tableAfter[text] !== undefined || text === "UPDATE") return text;
    }
  }
  return "WITH";
}

function tableName(operations: OperationNames, data: Uint8Array, options: { cursor: Cursor; verb: string }): string {
  const { cursor, verb } = options;
  const marker = tableAfter[verb];
  if (marker === undefined && !tableFollows.has(verb)) return "";
  let found = marker === undefined;
  let tables = !definitions.has(verb);
  // FROM counts only outside of parentheses, so that `extract(year FROM x)` names no table.
  let depth = 0;
  let base = 0;
  for (next(cursor, data); !isEnd(cursor) && !isSign(cursor, semicolon); next(cursor, data)) {
    if (isSign(cursor, parenEnd)) depth -= 1;
    if (isSign(cursor, paren)) {
      depth += 1;
      // A subquery: its own FROM names the table.
      if (found && marker === "FROM") base = depth;
      else if (found) return "";
      found = found && marker !== "FROM";
    } else if (!found) {
      if (depth <= base && cursor.kind === "word" && is(data, cursor, marker ?? "")) found = true;
    } else if (cursor.kind === "word" || cursor.kind === "quoted") {
      const text = cursor.kind === "word" && cursor.to - cursor.from <= 12 ? word(operations, data, cursor) : "";
      if (text === "TABLE") tables = true;
      if (!fillers.has(text)) return tables ? identifier(operations, data, cursor) : "";
    } else return "";
  }
  return "";
}

/** `schema.table`, quoted or not, in lower case; runs of four or more digits (partitions, dates) become `{n}`. */
function identifier(operations: OperationNames, data: Uint8Array, cursor: Cursor): string {
  let name = part(operations, data, cursor);
  while (cursor.at < cursor.end && data[cursor.at] === 46) {
    cursor.at += 1;
    next(cursor, data);
    if (cursor.kind !== "word" && cursor.kind !== "quoted") break;
    name = `${name}.${part(operations, data, cursor)}`;
  }
  return name;
}

function part(operations: OperationNames, data: Uint8Array, cursor: Cursor): string {
  const text = operations.text(data, cursor.from, Math.min(cursor.to, cursor.from + nameBytesMax)).toLowerCase();
  if (!/^[\p{L}\p{N}_$ -]*$/u.test(text)) return "other";
  return /\d{4}/.test(text) ? text.replace(/\d{4,}/g, "{n}") : text;
}

function word(operations: OperationNames, data: Uint8Array, cursor: Cursor): string {
  return operations.upperText(data, cursor.from, Math.min(cursor.to, cursor.from + verbBytesMax + 2));
}

// The kind changes behind these calls, which narrowing would not see.
function isEnd(cursor: Cursor): boolean {
  return cursor.kind === "end";
}

function isSign(cursor: Cursor, sign: number): boolean {
  return cursor.kind === "sign" && cursor.sign === sign;
}

/** Whether the token is this word (given in upper case). */
function is(data: Uint8Array, cursor: Cursor, text: string): boolean {
  if (cursor.to - cursor.from !== text.length) return false;
  for (let index = 0; index < text.length; index += 1) {
    const byte = data[cursor.from + index] ?? 0;
    if ((byte >= 97 && byte <= 122 ? byte - 32 : byte) !== text.charCodeAt(index)) return false;
  }
  return true;
}

function next(cursor: Cursor, data: Uint8Array): void {
  skipBlank(cursor, data);
  if (cursor.at >= cursor.end) {
    cursor.kind = "end";
    return;
  }
  const byte = data[cursor.at] ?? 0;
  if (isWordByte(byte) && byte !== 36) {
    cursor.from = cursor.at;
    while (cursor.at < cursor.end && isWordByte(data[cursor.at] ?? 0)) cursor.at += 1;
    cursor.to = cursor.at;
    cursor.kind = byte >= 48 && byte <= 57 ? "sign" : "word";
    cursor.sign = 48;
    return;
  }
  // MySQL takes double quotes for strings, unless it is told otherwise.
  if (byte === quoteDouble && cursor.escapes === "always") {
    quoted(cursor, data, byte);
    cursor.kind = "sign";
    cursor.sign = byte;
    return;
  }
  if (byte === quoteDouble || byte === backquote) {
    quoted(cursor, data, byte);
    cursor.kind = "quoted";
    return;
  }
  cursor.kind = "sign";
  cursor.sign = byte;
  if (byte === quoteSingle) quoted(cursor, data, byte);
  else if (byte === 36 && dollarQuoted(cursor, data)) return;
  else cursor.at += 1;
}

function quoted(cursor: Cursor, data: Uint8Array, quote: number): void {
  const marked = cursor.escapes === "always" || ((data[cursor.at - 1] ?? 0) | 32) === 101;
  cursor.from = cursor.at + 1;
  cursor.at += 1;
  while (cursor.at < cursor.end && data[cursor.at] !== quote) cursor.at += data[cursor.at] === 92 && quote !== backquote && marked ? 2 : 1;
  cursor.at = Math.min(cursor.at, cursor.end);
  cursor.to = cursor.at;
  cursor.at = Math.min(cursor.at + 1, cursor.end);
}

/** `$tag$ ... $tag$`; false when it is a parameter such as `$1`. */
function dollarQuoted(cursor: Cursor, data: Uint8Array): boolean {
  let tagEnd = cursor.at + 1;
  while (tagEnd < cursor.end && isWordByte(data[tagEnd] ?? 0) && data[tagEnd] !== 36) tagEnd += 1;
  if (data[tagEnd] !== 36 || tagEnd >= cursor.end) return false;
  const tag = tagEnd + 1 - cursor.at;
  for (let at = tagEnd + 1; at + tag <= cursor.end; at += 1) {
    let same = 0;
    while (same < tag && data[at + same] === data[cursor.at + same]) same += 1;
    if (same === tag) {
      cursor.at = at + tag;
      return true;
    }
  }
  cursor.at = cursor.end;
  return true;
}

function skipBlank(cursor: Cursor, data: Uint8Array): void {
  while (cursor.at < cursor.end) {
    const byte = data[cursor.at] ?? 0;
    if (byte <= 32) cursor.at += 1;
    else if (byte === 45 && data[cursor.at + 1] === 45) {
      while (cursor.at < cursor.end && data[cursor.at] !== 10) cursor.at += 1;
    } else if (byte === 47 && data[cursor.at + 1] === 42) {
      cursor.at += 2;
      while (cursor.at < cursor.end && !(data[cursor.at] === 42 && data[cursor.at + 1] === 47)) cursor.at += 1;
      cursor.at = Math.min(cursor.at + 2, cursor.end);
    } else return;
  }
}

function isWordByte(byte: number): boolean {
  return (
    (byte >= 97 && byte <= 122) || (byte >= 65 && byte <= 90) || byte === 95 || (byte >= 48 && byte <= 57) || byte === 36 || byte >= 128
  );
}

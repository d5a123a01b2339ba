/** Characters of a pattern, and segments before the rest becomes `*`. */
const patternBytesMax = 96;
const segmentsMax = 8;
/** Segments longer than this are ids whatever they hold. */
const segmentBytesMax = 32;

const slash = 47;
const question = 63;
const hash = 35;
const semicolon = 59;
const idText = [123, 105, 100, 125];

/** What a path was reduced to: bytes in `bytes`, valid until the next call. */
export interface PathPattern {
  readonly bytes: Uint8Array;
  readonly length: number;
}

const scratch = new Uint8Array(patternBytesMax + 8);

/**
 * A path without its values: no query, ids become `{id}`: numbers, hexadecimal from eight digits on, UUIDs, what mixes letters with three or
 * more digits, what is escaped, has an `@` or is longer than 32 bytes. Versions (`v2`) and words stay. At most 8 segments and 96 bytes.
 * `from` and `to` are the request target as it was captured; a last segment that may be `cut` short is masked the same way.
 */
export function pathPattern(data: Uint8Array, from: number, to: number): PathPattern {
  let at = skipAuthority(data, from, to);
  let length = 0;
  let segments = 0;
  if (at === to || data[at] !== slash) {
    scratch[0] = at < to && data[at] === 42 ? 42 : slash;
    return { bytes: scratch, length: 1 };
  }
  while (at < to && data[at] === slash) {
    scratch[length] = slash;
    length += 1;
    let end = at + 1;
    while (end < to && !endsSegment(data[end] ?? 0)) end += 1;
    if (segments === segmentsMax || length + segmentBytesMax > patternBytesMax) {
      scratch[length] = 42;
      return { bytes: scratch, length: length + 1 };
    }
    if (isValue(data, at + 1, end)) {
      for (const byte of idText) {
        scratch[length] = byte;
        length += 1;
      }
    } else {
      for (let position = at + 1; position < end; position += 1) {
        scratch[length] = data[position] ?? 0;
        length += 1;
      }
    }
    segments += 1;
    at = end;
    if (data[at] === semicolon) while (at < to && data[at] !== slash && data[at] !== question && data[at] !== hash) at += 1;
  }
  return { bytes: scratch, length };
}

/** `http://host/path` as proxies get it. */
function skipAuthority(data: Uint8Array, from: number, to: number): number {
  if (data[from] === slash || data[from] === 42) return from;
  for (let at = from; at + 2 < to && at < from + 8; at += 1) {
    if (data[at] !== 58 || data[at + 1] !== slash || data[at + 2] !== slash) continue;
    let path = at + 3;
    while (path < to && data[path] !== slash && data[path] !== question) path += 1;
    return path;
  }
  return to;
}

function endsSegment(byte: number): boolean {
  return byte === slash || byte === question || byte === hash || byte === semicolon;
}

function isValue(data: Uint8Array, from: number, to: number): boolean {
  const length = to - from;
  if (length === 0) return false;
  if (length > segmentBytesMax) return true;
  let digits = 0;
  let hexadecimal = 0;
  for (let at = from; at < to; at += 1) {
    const byte = data[at] ?? 0;
    if (byte >= 48 && byte <= 57) {
      digits += 1;
      hexadecimal += 1;
    } else if ((byte >= 97 && byte <= 102) || (byte >= 65 && byte <= 70)) hexadecimal += 1;
    else if (!isWordByte(byte)) return true;
  }
  if (digits === 0) return false;
  if (digits === length || digits >= 3) return true;
  return hexadecimal === length && length >= 8;
}

function isWordByte(byte: number): boolean {
  return (byte >= 97 && byte <= 122) || (byte >= 65 && byte <= 90) || byte === 45 || byte === 46 || byte === 95 || byte === 126;
}

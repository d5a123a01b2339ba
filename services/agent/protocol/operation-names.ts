/** Names without values, bounded: one instance per owner of parsers (a service of a host), so that hostile names stay one `other`. */

/** Distinct operations of an owner at most. */
const operationsMax = 200;
/** Distinct texts cached, and characters of a text. */
const textsMax = 1_000;
const textLengthMax = 256;

const keep = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const upper = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 97 && byte <= 122 ? byte - 32 : byte));

export class OperationNames {
  readonly #operations = new Set<string>();
  readonly #statuses = new Set<string>();
  readonly #texts = new Map<number, string>();
  readonly #statements = new Map<number, readonly string[]>();
  readonly #operationsMax: number;
  #overflow = 0;

  constructor(options: { operationsMax?: number } = {}) {
    this.#operationsMax = options.operationsMax ?? operationsMax;
  }

  /** Exchanges that became `other` because the bound was hit. */
  get overflow(): number {
    return this.#overflow;
  }

  /** The operation itself while there is room for it, else `other`. */
  name(operation: string): string {
    return this.#bounded(this.#operations, operation, this.#operationsMax);
  }

  /** The same for status texts that a peer can invent (Redis scripts). */
  status(text: string): string {
    return this.#bounded(this.#statuses, text, this.#operationsMax);
  }

  /** The bytes as text, Latin-1; equal bytes answer the same string without allocating. At most 256 characters. */
  text(bytes: Uint8Array, from: number, to: number): string {
    return this.#intern(bytes, from, to, keep);
  }

  /** The same, with ASCII letters in upper case. */
  upperText(bytes: Uint8Array, from: number, to: number): string {
    return this.#intern(bytes, from, to, upper);
  }

  /**
   * What `find` names in these bytes, remembered for equal bytes (by two hashes of 53 bits in all). Statements whose values stand in their
   * text are all different: when the memory is full it begins anew.
   */
  statements(bytes: Uint8Array, from: number, to: number, find: () => readonly string[]): readonly string[] {
    let first = 0x811c9dc5 ^ (to - from);
    let second = 0x2545f491;
    for (let at = from; at < to; at += 1) {
      const byte = bytes[at] ?? 0;
      first = Math.imul(first ^ byte, 0x01000193);
      second = Math.imul(second, 31) + byte;
    }
    const key = (first >>> 0) * 0x20_0000 + (second & 0x1f_ffff);
    const known = this.#statements.get(key);
    if (known !== undefined) return known;
    const names = find();
    if (this.#statements.size >= textsMax) this.#statements.clear();
    this.#statements.set(key, names);
    return names;
  }

  #bounded(set: Set<string>, text: string, max: number): string {
    if (set.has(text)) return text;
    if (set.size >= max) {
      this.#overflow += 1;
      return "other";
    }
    set.add(text);
    return text;
  }

  #intern(bytes: Uint8Array, from: number, to: number, change: Uint8Array): string {
    const end = Math.min(to, from + textLengthMax);
    let hash = 0x811c9dc5;
    for (let at = from; at < end; at += 1) hash = Math.imul(hash ^ (change[bytes[at] ?? 0] ?? 0), 0x01000193);
    const known = this.#texts.get(hash);
    if (known !== undefined && equals(known, bytes, from, end, change)) return known;
    let text = "";
    for (let at = from; at < end; at += 1) text += String.fromCharCode(change[bytes[at] ?? 0] ?? 0);
    if (known === undefined && this.#texts.size < textsMax) this.#texts.set(hash, text);
    return text;
  }
}

function equals(text: string, bytes: Uint8Array, from: number, end: number, change: Uint8Array): boolean {
  if (text.length !== end - from) return false;
  for (let at = from; at < end; at += 1) if (text.charCodeAt(at - from) !== (change[bytes[at] ?? 0] ?? 0)) return false;
  return true;
}

/** Text that is bounded, clean and hashed the same way everywhere in the reducer. */

/** Half of a surrogate pair without the other half; a pair is matched first, so that it is left alone. */
const surrogates = /[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
const control = /[\u0000-\u001f\u007f]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced.
const controls = /[\u0000-\u001f\u007f]+/g;
const surrogate = /[\ud800-\udfff]/;

/**
 * At most `lengthMax` UTF-16 code units, well-formed and without NUL (stores refuse both).
 * Longer text is cut and ends in `~` and eight hex digits of a hash of the whole, so that two long texts stay two.
 */
export function boundedText(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return wellFormed(text);
  const kept = wellFormed(text.slice(0, lengthMax - 9));
  return `${kept}~${hash64Hex(text).slice(0, 8)}`;
}

/** As `boundedText`, for people to read: the cut is shown by `…` instead of a hash. */
export function shortenedText(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? wellFormed(text) : `${wellFormed(text.slice(0, lengthMax - 1))}…`;
}

/** One line: runs of control characters become one space. */
export function singleLine(text: string): string {
  return control.test(text) ? text.replace(controls, " ") : text;
}

function wellFormed(text: string): string {
  const clean = text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
  return surrogate.test(clean) ? clean.replace(surrogates, (found) => (found.length === 2 ? found : "\ufffd")) : clean;
}

const two32 = 4_294_967_296;

/** 64-bit FNV-1a of the UTF-16 code units, as 16 hex digits. */
export function hash64Hex(text: string): string {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (let index = 0; index < text.length; index += 1) {
    low = (low ^ text.charCodeAt(index)) >>> 0;
    // The prime is 2^40 + 0x1b3; both products stay below 2^42, so they are exact.
    const lowProduct = low * 0x1b3;
    high = (high * 0x1b3 + Math.floor(lowProduct / two32) + ((low << 8) >>> 0)) % two32;
    low = lowProduct % two32;
  }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

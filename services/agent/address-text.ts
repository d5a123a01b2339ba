/** Addresses as text, from the bytes of a record. */

/** `a.b.c.d` of the four bytes at `at`. */
export function ipv4Text(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** RFC 5952 text of the 16 bytes at `at`; an IPv4 address that is mapped into IPv6 is written as IPv4, so that both ends agree. */
export function ipv6Text(bytes: Uint8Array, at: number): string {
  if (isMapped(bytes, at)) {
    return ipv4Text(bytes, at + 12);
  }
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[at + 2 * index] ?? 0) << 8) | (bytes[at + 2 * index + 1] ?? 0)).toString(16),
  );
  const gap = longestZeros(groups);
  if (gap.length < 2) {
    return groups.join(":");
  }
  return `${groups.slice(0, gap.start).join(":")}::${groups.slice(gap.start + gap.length).join(":")}`;
}

function isMapped(bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < 10; index += 1) {
    if (bytes[at + index] !== 0) {
      return false;
    }
  }
  return bytes[at + 10] === 0xff && bytes[at + 11] === 0xff;
}

function longestZeros(groups: readonly string[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === "0" ? length + 1 : 0;
    if (length > best.length) {
      best = { start: index - length + 1, length };
    }
  }
  return best;
}

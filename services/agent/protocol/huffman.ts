/**
 * Huffman code of HPACK (RFC 7541, appendix B). The code is canonical: shorter codes first, then by symbol, so that the lengths say it all.
 * The last length is that of the end-of-string symbol, which no string may contain.
 */
const lengths: readonly number[] = [
  ...[13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  ...[13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  ...[20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  ...[26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  ...[20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  30,
];
const endOfString = 256;

/** A binary tree in pairs: node n has its children at 2n and 2n + 1; a negative child is the symbol -1 - child, zero is none. */
const tree = buildTree();

function buildTree(): Int16Array {
  const nodes = new Int16Array(lengths.length * 4);
  let count = 1;
  let code = 0;
  for (let length = 1; length <= 30; length += 1) {
    code *= 2;
    for (let symbol = 0; symbol < lengths.length; symbol += 1) {
      if (lengths[symbol] !== length) continue;
      let node = 0;
      for (let bit = length - 1; bit > 0; bit -= 1) {
        const place = node * 2 + (Math.floor(code / 2 ** bit) % 2);
        if (nodes[place] === 0) {
          nodes[place] = count;
          count += 1;
        }
        node = nodes[place] ?? 0;
      }
      nodes[node * 2 + (code % 2)] = -1 - symbol;
      code += 1;
    }
  }
  return nodes;
}

/** Decodes into `target` as far as it reaches; answers the whole decoded length, or -1 for bytes that are no such code. */
export function decodeHuffman(data: Uint8Array, from: number, to: number, target: Uint8Array): number {
  let length = 0;
  let node = 0;
  let depth = 0;
  let ones = 0;
  for (let at = from; at < to; at += 1) {
    const byte = data[at] ?? 0;
    for (let bit = 7; bit >= 0; bit -= 1) {
      const value = (byte >> bit) & 1;
      depth += 1;
      ones = value === 1 ? ones + 1 : 0;
      const child = tree[node * 2 + value] ?? 0;
      if (child === 0) return -1;
      if (child > 0) {
        node = child;
        continue;
      }
      const symbol = -1 - child;
      if (symbol === endOfString) return -1;
      if (length < target.length) target[length] = symbol;
      length += 1;
      node = 0;
      depth = 0;
    }
  }
  // What is left is padding: fewer than eight bits, all ones.
  return depth < 8 && ones >= depth ? length : -1;
}

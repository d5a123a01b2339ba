/**
 * Reads BTF, the kernel's own description of its types (`/sys/kernel/btf/vmlinux`, section `.BTF` of a compiled program). Reads structs and
 * enums only; a blob that is cut or of another kind gives null, never an exception.
 */

/** One field of a struct. */
export interface BtfField {
  readonly name: string;
  /** From the struct's start, in bytes. */
  readonly offset: number;
}

/** A struct with its fields in order. */
export interface BtfStruct {
  readonly name: string;
  readonly bytes: number;
  readonly fields: readonly BtfField[];
}

/** An enum by its constants; `name` is empty for one without. */
export interface BtfEnum {
  readonly name: string;
  readonly values: readonly { readonly name: string; readonly value: number }[];
}

/** The types of a blob that this reader knows. */
export interface BtfTypes {
  readonly structs: readonly BtfStruct[];
  readonly enums: readonly BtfEnum[];
}

const magic = 0xeb9f;
const headerBytes = 24;
const typeBytes = 12;
const kindStruct = 4;
const kindEnum = 6;
/** Bytes behind the fixed part of a type, by kind: a fixed number, or so many for each member. */
const fixedBytes: Readonly<Record<number, number>> = { 1: 4, 3: 12, 14: 4, 17: 4 };
const memberBytes: Readonly<Record<number, number>> = { 4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12 };
const kindMax = 19;

interface Blob {
  readonly bytes: Buffer;
  readonly typesStart: number;
  readonly typesEnd: number;
  readonly namesStart: number;
  readonly namesEnd: number;
}

/** Structs and enums whose name passes `wanted` (enums without a name are asked for with ""). Null when `bytes` is no BTF or is cut. */
export function readBtf(bytes: Uint8Array, wanted: (name: string) => boolean): BtfTypes | null {
  const blob = openBlob(bytes);
  if (blob === null) {
    return null;
  }
  const structs: BtfStruct[] = [];
  const enums: BtfEnum[] = [];
  let at = blob.typesStart;
  while (at + typeBytes <= blob.typesEnd) {
    const info = blob.bytes.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 31;
    const members = info & 0xffff;
    const next = at + typeBytes + (fixedBytes[kind] ?? 0) + (memberBytes[kind] ?? 0) * members;
    if (kind === 0 || kind > kindMax || next > blob.typesEnd) {
      return null;
    }
    if (kind === kindStruct || kind === kindEnum) {
      const name = nameAt(blob, blob.bytes.readUInt32LE(at));
      if (wanted(name)) {
        if (kind === kindStruct) {
          structs.push(structAt(blob, { at, name, members, bitFields: info >>> 31 === 1 }));
        } else {
          enums.push(enumAt(blob, { at, name, members, signed: info >>> 31 === 1 }));
        }
      }
    }
    at = next;
  }
  return { structs, enums };
}

/** Section `.BTF` of a 64-bit little-endian ELF file, or null. */
export function btfOfObject(file: Uint8Array): Uint8Array | null {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
    return null;
  }
  const table = Number(bytes.readBigUInt64LE(40));
  const entryBytes = bytes.readUInt16LE(58);
  const count = bytes.readUInt16LE(60);
  const namesIndex = bytes.readUInt16LE(62);
  if (entryBytes < 64 || namesIndex >= count || table + entryBytes * count > bytes.length) {
    return null;
  }
  const section = (index: number): { name: number; start: number; end: number } => {
    const at = table + entryBytes * index;
    const start = Number(bytes.readBigUInt64LE(at + 24));
    return { name: bytes.readUInt32LE(at), start, end: start + Number(bytes.readBigUInt64LE(at + 32)) };
  };
  const names = section(namesIndex);
  for (let index = 0; index < count; index += 1) {
    const found = section(index);
    if (found.end <= bytes.length && textAt(bytes, names.start + found.name, names.end) === ".BTF") {
      return bytes.subarray(found.start, found.end);
    }
  }
  return null;
}

function openBlob(file: Uint8Array): Blob | null {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < headerBytes || bytes.readUInt16LE(0) !== magic) {
    return null;
  }
  const start = bytes.readUInt32LE(4);
  const typesStart = start + bytes.readUInt32LE(8);
  const namesStart = start + bytes.readUInt32LE(16);
  const typesEnd = typesStart + bytes.readUInt32LE(12);
  const namesEnd = namesStart + bytes.readUInt32LE(20);
  if (typesEnd > bytes.length || namesEnd > bytes.length) {
    return null;
  }
  return { bytes, typesStart, typesEnd, namesStart, namesEnd };
}

function nameAt(blob: Blob, offset: number): string {
  return textAt(blob.bytes, blob.namesStart + offset, blob.namesEnd);
}

function textAt(bytes: Buffer, start: number, end: number): string {
  if (start >= end || end > bytes.length) {
    return "";
  }
  const zero = bytes.indexOf(0, start);
  return bytes.toString("latin1", start, zero < 0 || zero > end ? end : zero);
}

interface Found {
  readonly at: number;
  readonly name: string;
  readonly members: number;
}

function structAt(blob: Blob, found: Found & { readonly bitFields: boolean }): BtfStruct {
  const fields: BtfField[] = [];
  for (let index = 0; index < found.members; index += 1) {
    const at = found.at + typeBytes + 12 * index;
    const bits = blob.bytes.readUInt32LE(at + 8);
    fields.push({ name: nameAt(blob, blob.bytes.readUInt32LE(at)), offset: (found.bitFields ? bits & 0xffffff : bits) >>> 3 });
  }
  return { name: found.name, bytes: blob.bytes.readUInt32LE(found.at + 8), fields };
}

function enumAt(blob: Blob, found: Found & { readonly signed: boolean }): BtfEnum {
  const values: { name: string; value: number }[] = [];
  for (let index = 0; index < found.members; index += 1) {
    const at = found.at + typeBytes + 8 * index;
    const value = found.signed ? blob.bytes.readInt32LE(at + 4) : blob.bytes.readUInt32LE(at + 4);
    values.push({ name: nameAt(blob, blob.bytes.readUInt32LE(at)), value });
  }
  return { name: found.name, values };
}

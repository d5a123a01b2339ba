/** How fast records come out of the ring into JavaScript, and whether any is lost at a million a second. */
import { setTimeout as pause } from "node:timers/promises";
import { KernelProbe, recordPrefixBytes } from "../../native/kernel-probe.ts";
import { EventDecoder } from "../../services/agent/decode-events.ts";
import { eventLayout } from "../../services/agent/event-layout.generated.ts";
import { BenchKernel, objectOf } from "./kernel.ts";
import { median, type Row, row } from "./row.ts";

const ringBytes = 8_388_608;
/** As the agent reads while there is much to read. */
const readEveryMs = 20;
const bufferBytes = 1_048_576;
/** Of the generator, with its prefix. */
const recordBytes = 136;
const fills = 60;
const perFill = 60_000;
const rateGoal = 5_000_000;
const steadyRate = 1_000_000;
const steadyEveryMs = 5;
const steadyCountMax = 40_000;

export async function ringRate(options: { seconds: number; tell: (text: string) => void }): Promise<Row[]> {
  const walked = saturated((bytes) => walk(bytes));
  const decoder = new EventDecoder();
  let seen = 0;
  const decoded = saturated((bytes) => {
    decoder.decode(bytes, () => {
      seen += 1;
    });
    return bytes.length / recordBytes;
  });
  options.tell(`ring: ${Math.round(walked)} records/s walked, ${Math.round(decoded)} decoded (${seen})\n`);
  const steady = await steadily(options.seconds);
  options.tell(`ring: ${Math.round(steady.perSecond)} records/s for ${options.seconds} s, ${steady.lost} lost\n`);
  return [
    row({ name: "ring: drained, three fields of each read", value: walked, unit: "records/s", goal: { least: rateGoal } }),
    row({ name: "ring: drained and decoded to typed events", value: decoded, unit: "records/s", goal: { least: rateGoal } }),
    row({ name: "ring: written and read by the agent's thread", value: steady.perSecond, unit: "records/s", yardstick: steadyRate }),
    row({ name: `ring: lost of ${steady.written} at that rate`, value: steady.lost, unit: "records", goal: { most: 0 } }),
  ];
}

/** A full ring at a time; only reading is timed. */
function saturated(take: (bytes: Uint8Array) => number): number {
  const probe = new KernelProbe();
  try {
    probe.open({ objects: [objectOf("generator")], ringBytes: { data_ring: ringBytes }, mapEntriesMax: {} });
    probe.load();
    const buffer = new ArrayBuffer(bufferBytes);
    const rates: number[] = [];
    for (let fill = 0; fill < fills; fill += 1) {
      probe.runProgram("generate", generatorContext(fill * perFill, perFill));
      let records = 0;
      const begun = process.hrtime.bigint();
      for (let bytes = probe.drain("data_ring", buffer); bytes > 0; bytes = probe.drain("data_ring", buffer)) {
        records += take(new Uint8Array(buffer, 0, bytes));
      }
      rates.push((records * 1e9) / Number(process.hrtime.bigint() - begun));
    }
    return median(rates);
  } finally {
    probe.close();
  }
}

let checked = 0;

/** What a reader has to look at to know what a record is about; answers how many there were. */
function walk(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { header, chunk } = eventLayout;
  let records = 0;
  let sum = 0;
  for (let at = 0; at < bytes.length; at += recordPrefixBytes + ((view.getUint32(at, true) + 7) & ~7)) {
    const record = at + recordPrefixBytes;
    sum +=
      view.getUint16(record + header.type, true) + view.getUint32(record + header.atNs, true) + view.getUint32(record + chunk.bytes, true);
    records += 1;
  }
  // Used, so that no compiler takes the reading away.
  checked = (checked + sum) % 1_000_003;
  return records;
}

async function steadily(seconds: number): Promise<{ perSecond: number; written: number; lost: number }> {
  let read = 0;
  const kernel = await BenchKernel.open({
    objects: ["generator"],
    rings: [{ name: "data_ring", by: "timer", everyMs: readEveryMs }],
    ringBytes: { data_ring: ringBytes },
    onBatch: ({ bytes }) => {
      read += walk(bytes);
    },
  });
  try {
    let asked = 0;
    let written = 0;
    let lost = 0;
    const begun = performance.now();
    for (let elapsed = 0; elapsed < seconds * 1_000; elapsed = performance.now() - begun) {
      const count = Math.min(steadyCountMax, Math.round((elapsed * steadyRate) / 1_000) - asked);
      if (count > 0) {
        const { context } = await kernel.source.runProgram("generate", generatorContext(asked, count));
        const view = new DataView(context.buffer, context.byteOffset, context.byteLength);
        written += Number(view.getBigUint64(16, true));
        lost += Number(view.getBigUint64(24, true));
        asked += count;
      }
      await pause(steadyEveryMs);
    }
    const took = (performance.now() - begun) / 1_000;
    await kernel.lost();
    return { perSecond: read / took, written, lost: lost + (written - read) };
  } finally {
    await kernel.close();
  }
}

/** `struct hw_generator`; nobody is woken. */
function generatorContext(first: number, count: number): Uint8Array {
  const context = new DataView(new ArrayBuffer(32));
  context.setBigUint64(0, BigInt(first), true);
  context.setUint32(8, count, true);
  return new Uint8Array(context.buffer);
}

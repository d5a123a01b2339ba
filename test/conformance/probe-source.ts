/** What every ProbeSource does, whatever it reads. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProbeBatch, ProbeSource } from "../../contract/port.ts";
import { generatedNumbers } from "../native/bpf-object.ts";

/** A source of records of the generator, numbered from 0, and of the map `losses`. */
export interface ProbeSourcePlace {
  readonly source: ProbeSource;
  /** So many records come from the ring `data_ring`, once the answer has resolved. */
  readonly produce: (records: number) => Promise<void>;
  readonly remove: () => Promise<void>;
}

/** Records of the place that a source gives; a recorded one has no more. */
export const placeRecords = 5_000;

/** Calls `next` until `enough` says so of a batch; false when the source ended before. */
async function readUntil(source: ProbeSource, enough: (batch: ProbeBatch) => boolean): Promise<boolean> {
  for (let batch = await source.next(); batch !== null; batch = await source.next()) if (enough(batch)) return true;
  return false;
}

export function probeSourceConformance(name: string, newPlace: () => Promise<ProbeSourcePlace>): void {
  describe(`ProbeSource: ${name}`, () => {
    let place: ProbeSourcePlace;
    beforeEach(async () => {
      place = await newPlace();
    });
    afterEach(async () => {
      await place.source.close();
      await place.remove();
    });

    it("gives every record once, in order, in batches of whole records", async () => {
      await place.produce(placeRecords);
      const numbers: number[] = [];
      const isWhole = await readUntil(place.source, (batch) => {
        if (batch.kind !== "records") return false;
        expect(batch).toMatchObject({ name: "data_ring", keyBytes: 0, valueBytes: 0, cpus: 0 });
        expect(batch.bytes.length).toBeGreaterThan(0);
        expect(batch.bytes.byteOffset % 8).toBe(0);
        numbers.push(...generatedNumbers(batch.bytes));
        return numbers.length >= placeRecords;
      });
      expect(isWhole).toBe(true);
      expect(numbers).toEqual(Array.from({ length: placeRecords }, (_, index) => index));
    });

    it("gives the entries of a map as keys and one value for each processor", async () => {
      await place.produce(placeRecords);
      const found = await readUntil(place.source, (batch) => {
        if (batch.kind !== "entries") return false;
        expect(batch).toMatchObject({ name: "losses", keyBytes: 8, valueBytes: 8 });
        expect(batch.cpus).toBeGreaterThan(0);
        expect(batch.bytes.length).toBe(16 * (8 + 8 * batch.cpus));
        expect(batch.bytes.byteOffset % 8).toBe(0);
        const view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset);
        expect(Array.from({ length: 16 }, (_, entry) => view.getUint32(entry * (8 + 8 * batch.cpus), true))).toEqual(
          Array.from({ length: 16 }, (_, entry) => entry),
        );
        return true;
      });
      expect(found).toBe(true);
    });

    it("says when it read a batch, by the wall and by the kernel's clock", async () => {
      await place.produce(placeRecords);
      let lastMs = 0;
      const found = await readUntil(place.source, (batch) => {
        expect(batch.atMs).toBeGreaterThanOrEqual(lastMs);
        lastMs = batch.atMs;
        if (batch.kind !== "records") return false;
        const kernelNs = new DataView(batch.bytes.buffer, batch.bytes.byteOffset).getBigUint64(8 + 8, true);
        const ageMs = batch.atMs - (Number(kernelNs) + batch.clockOffsetNs) / 1e6;
        expect(ageMs).toBeGreaterThan(-1);
        expect(ageMs).toBeLessThan(30_000);
        return true;
      });
      expect(found).toBe(true);
    });

    it("ends when it is closed, and stays ended", async () => {
      await place.source.close();
      expect(await place.source.next()).toBeNull();
      await place.source.close();
      expect(await place.source.next()).toBeNull();
    });
  });
}

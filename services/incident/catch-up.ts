/**
 * Until where a start reads again what an earlier life of the stage may have decided already. Up to there its decisions are only repeated, so
 * what people did since is followed at its end: followed at an earlier tick, a resolution would look as if it had burned on ever since.
 */
import type { PartitionOwner } from "../../contract/port.ts";

const entriesPerRead = 256;

export class CatchUp {
  /** Offset of the newest entry of each partition when the stage started; null once all were taken in. */
  #ends: readonly number[] | null;

  private constructor(ends: readonly number[]) {
    this.#ends = ends;
  }

  /** Looks up where the logs end now. `offsets` are those that reading begins after. */
  static async begin(owners: readonly PartitionOwner<"anomaly">[], offsets: readonly number[]): Promise<CatchUp> {
    return new CatchUp(await Promise.all(owners.map((owner, partition) => endOf(owner, offsets[partition] ?? 0))));
  }

  /** Whether everything that was in the logs at the start has been worked off. */
  get isOver(): boolean {
    return this.#ends === null;
  }

  /** To be told after ticks were worked off; answers "yes" once, when that ended the catching up. */
  ends(offsetOf: (partition: number) => number): "yes" | "no" {
    if (this.#ends === null || this.#ends.some((end, partition) => offsetOf(partition) < end)) return "no";
    this.#ends = null;
    return "yes";
  }
}

async function endOf(owner: PartitionOwner<"anomaly">, afterOffset: number): Promise<number> {
  for (let end = afterOffset; ; ) {
    const read = await owner.read(end, { entriesMax: entriesPerRead, waitMs: 0 });
    const last = read.at(-1);
    if (last === undefined) return end;
    end = last.offset;
  }
}

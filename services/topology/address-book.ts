/** Who answered at which address, and when, as learned from calls of which both sides were seen; one book per partition. */
import { compareCodeUnits, sortedBy } from "../../contract/canonical.ts";

const addressesMax = 50_000;
const sightingsPerAddressMax = 8;

/** One entity seen at an address from first to last without a pause of `idleMs`. */
interface Sighting {
  readonly entity: string;
  readonly firstMs: number;
  readonly lastMs: number;
}

export type StoredAddressBook = readonly (readonly [string, readonly Sighting[]])[];

export class AddressBook {
  readonly #idleMs: number;
  readonly #onDropped: () => void;
  readonly #sightings = new Map<string, readonly Sighting[]>();

  constructor(options: { idleMs: number; onDropped: () => void }) {
    this.#idleMs = options.idleMs;
    this.#onDropped = options.onDropped;
  }

  /** Notes that `entity` answered at `address`; answers whether it was not known to. */
  learn(address: string, entity: string, atMs: number): boolean {
    const known = this.#sightings.get(address) ?? [];
    if (known.length === 0 && this.#sightings.size >= addressesMax) {
      this.#onDropped();
      return false;
    }
    const same = known.find((sighting) => sighting.entity === entity && atMs - sighting.lastMs <= this.#idleMs);
    const newest = { entity, firstMs: Math.min(same?.firstMs ?? atMs, atMs), lastMs: Math.max(same?.lastMs ?? atMs, atMs) };
    const kept = [...known.filter((sighting) => sighting !== same), newest].sort((left, right) => left.lastMs - right.lastMs);
    this.#sightings.set(address, kept.slice(-sightingsPerAddressMax));
    return same === undefined;
  }

  at(address: string): readonly Sighting[] {
    return this.#sightings.get(address) ?? [];
  }

  /** Forgets what was last seen before. */
  forgetBefore(atMs: number): void {
    for (const [address, sightings] of this.#sightings) {
      const kept = sightings.filter(({ lastMs }) => lastMs >= atMs);
      if (kept.length === 0) this.#sightings.delete(address);
      else if (kept.length < sightings.length) this.#sightings.set(address, kept);
    }
  }

  toJSON(): StoredAddressBook {
    return sortedBy(this.#sightings, ([address]) => address);
  }

  restore(stored: StoredAddressBook): void {
    for (const [address, sightings] of stored) this.#sightings.set(address, sightings);
  }
}

/**
 * The entity at an address as of a moment, by all books: the one seen last within `idleMs`. When an address changes hands the new
 * entity is seen after the old one; when two were seen there in turn for longer than `overlapMs` (a balancer) the address says nothing: null.
 */
export function entityAt(
  books: Iterable<AddressBook>,
  address: string,
  of: { atMs: number; idleMs: number; overlapMs: number },
): string | null {
  const spans = new Map<string, { firstMs: number; lastMs: number }>();
  for (const book of books) {
    for (const { entity, firstMs, lastMs } of book.at(address)) {
      if (firstMs > of.atMs || lastMs < of.atMs - of.idleMs) continue;
      const span = spans.get(entity) ?? { firstMs, lastMs };
      spans.set(entity, { firstMs: Math.min(span.firstMs, firstMs), lastMs: Math.max(span.lastMs, lastMs) });
    }
  }
  const [newest, ...others] = [...spans].sort(
    ([leftId, left], [rightId, right]) => right.lastMs - left.lastMs || right.firstMs - left.firstMs || compareCodeUnits(leftId, rightId),
  );
  if (newest === undefined) return null;
  const [entity, span] = newest;
  return others.some(([, other]) => other.lastMs - span.firstMs > of.overlapMs) ? null : entity;
}

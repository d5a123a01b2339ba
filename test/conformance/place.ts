/** Where the content of a port lives on while it is closed and opened again: what every conformance suite runs in. */
import { afterEach, beforeEach } from "vitest";
import type { Counts } from "./temporary.ts";

export interface Place<P> {
  readonly counts: Counts;
  /** May be called again after what it opened was closed. */
  open(): Promise<P>;
  remove(): Promise<void>;
}

/** Gives every test of the suite a fresh place with its port open; afterwards closes what was opened last and removes the place. */
export function inFreshPlaces<P extends { close(): Promise<void> }>(
  newPlace: () => Promise<Place<P>>,
  use: (place: Place<P>, port: P) => void,
): void {
  let place: Place<P>;
  let newest: P;

  beforeEach(async () => {
    const given = await newPlace();
    const open = async (): Promise<P> => {
      newest = await given.open();
      return newest;
    };
    place = { counts: given.counts, open, remove: () => given.remove() };
    use(place, await open());
  });

  afterEach(async () => {
    await newest.close();
    await place.remove();
  });
}

/** Addresses of a shop's services: each has its own on the loopback interface, where every address of 127/8 can be used without any rights. */
import { seedFrom } from "./random.ts";
import type { ShopSpec } from "./spec.ts";

/** Where something listens. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

const firstService = 10;
/** Where the relay's own addresses begin: one for each caller in whose name it goes on. */
const firstStandIn = 130;
/** Second parts of an address: below lie 127.0.0.1 and what systems use for themselves. */
const secondPart = { first: 16, count: 224 };

/** The service's own address. Two labs on one machine have others, also with the same seed: what breaks the one must not break the other. */
export function addressOf(shop: Pick<ShopSpec, "seed" | "services">, service: string, labPid = process.pid): string {
  return nth(seedFrom("address", shop.seed, labPid), firstService + indexOf(shop, service));
}

/** The address from which the relay goes on with what this service said; see `Firewall`. */
export function standInOf(shop: Pick<ShopSpec, "seed" | "services">, service: string, labPid = process.pid): string {
  return nth(seedFrom("address", shop.seed, labPid), firstStandIn + indexOf(shop, service));
}

function indexOf(shop: Pick<ShopSpec, "services">, service: string): number {
  const index = shop.services.findIndex(({ name }) => name === service);
  if (index < 0) throw new RangeError(`the shop has no service ${service}`);
  return index;
}

function nth(drawn: number, last: number): string {
  return `127.${secondPart.first + (drawn % secondPart.count)}.${Math.floor(drawn / secondPart.count) % 256}.${last}`;
}

/** `host:port`. */
export function placeText(place: Place): string {
  return `${place.host}:${place.port}`;
}

/** Where telemetry goes: what services say there is no call of theirs, or everything would depend on whoever observes it. */
import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import type { EndAddress } from "./kernel-event.ts";
import { addressKey, isLoopbackAddress, isWildcard } from "./socket-address.ts";

export interface TelemetryPlaces {
  /** `netns` is that of the socket: an address of the machine itself is another one in each. */
  includes(server: Pick<EndAddress, "ip" | "port">, netns: number): boolean;
}

/** Everything is somebody's call. */
export const noTelemetryPlaces: TelemetryPlaces = { includes: () => false };

const addressesMax = 200;

export interface GatewayPlacesOptions {
  /** Of the gateway, `http` or `https`. */
  readonly url: string;
  /** The network namespace of this process; 0 where it is not known. */
  readonly netns: number;
  /** Addresses of a name; of the resolver unless told. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  /** Addresses of this machine; its interfaces' unless told. */
  readonly own?: () => readonly string[];
}

/** Every address under which the gateway is reached from here: one on this machine answers at each of the machine's own. */
export class GatewayPlaces implements TelemetryPlaces {
  readonly #options: GatewayPlacesOptions;
  readonly #host: string;
  readonly #port: number;
  #addresses: ReadonlySet<string> = new Set();

  constructor(options: GatewayPlacesOptions) {
    const url = new URL(options.url);
    this.#options = options;
    this.#host = url.hostname.replace(/^\[|\]$/g, "");
    this.#port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
  }

  /** Asks the resolver again: what a name stands for changes. A name that cannot be resolved now keeps the addresses that it had. */
  async refresh(): Promise<void> {
    const { resolve = resolveAll, own = ownAddresses } = this.#options;
    const found = await resolve(this.#host).catch(() => null);
    if (found === null || found.length === 0) return;
    const ours = own();
    const isHere = found.some((ip) => isLoopbackAddress(ip) || isWildcard(ip) || ours.includes(ip));
    const all = isHere ? [...found, "127.0.0.1", "::1", ...ours] : found;
    this.#addresses = new Set(all.slice(0, addressesMax).map((ip) => addressKey({ ip, port: this.#port })));
  }

  includes({ ip, port }: Pick<EndAddress, "ip" | "port">, netns: number): boolean {
    if (port !== this.#port) return false;
    const isElsewhere = isLoopbackAddress(ip) && this.#options.netns !== 0 && netns !== this.#options.netns;
    return !isElsewhere && this.#addresses.has(addressKey({ ip, port }));
  }
}

async function resolveAll(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

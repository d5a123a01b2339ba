/** Who takes part in the work on a topic's partitions, as the server's clock tells. */

import { compareCodeUnits } from "../../contract/canonical.ts";
import type { Membership } from "../../contract/port.ts";
import { heardScript } from "./redis-scripts.ts";
import { listOf, type ServerSide, textOf } from "./redis-server-side.ts";

interface RedisMembershipOptions {
  readonly server: ServerSide;
  /** Key of the topic's members. */
  readonly key: string;
  readonly self: string;
  /** Silence after which a member is gone. */
  readonly aliveMs: number;
  readonly onLeft: () => void;
}

export class RedisMembership implements Membership {
  readonly self: string;
  readonly #options: RedisMembershipOptions;
  #hasLeft = false;

  constructor(options: RedisMembershipOptions) {
    this.#options = options;
    this.self = options.self;
  }

  /** Says that this process is there, and answers who else is. Throws LOG_UNAVAILABLE, DATA_FOREIGN. */
  async members(): Promise<readonly string[]> {
    const { server, key, aliveMs } = this.#options;
    if (this.#hasLeft) return [];
    const flat = listOf(await server.run(heardScript, [key], [this.self, aliveMs]));
    const members: { readonly id: string; readonly joined: number }[] = [];
    for (let index = 0; index + 1 < flat.length; index += 2) {
      members.push({ id: textOf(flat[index]), joined: Number(textOf(flat[index + 1])) });
    }
    members.sort((left, right) => left.joined - right.joined || compareCodeUnits(left.id, right.id));
    return members.map(({ id }) => id);
  }

  /** When Redis is away, the others forget this process by themselves. Throws LOG_UNAVAILABLE. */
  async leave(): Promise<void> {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    const { server, key, onLeft } = this.#options;
    onLeft();
    await server.answered(() => server.connection.hdel(key, this.self));
  }
}

/** An exchange with everything that is known of who had it. */
import type { ConnectionEnd } from "./connection-table.ts";
import type { ServiceIdentity } from "./identity.ts";
import type { EndAddress } from "./kernel-event.ts";
import type { Exchange } from "./protocol/exchange.ts";
import type { Side } from "./request-naming.ts";

export interface ObservedExchange {
  readonly exchange: Exchange;
  /** Whose end saw it; a service always, as what nobody had is not kept. */
  readonly who: ServiceIdentity;
  readonly side: Side;
  /** Null where the connection is not known. */
  readonly end: ConnectionEnd | null;
  /** The server as this side sees it; null where it is not known. */
  readonly server: EndAddress | null;
  /** Adds up to wall time: nanoseconds since 1970 minus the monotonic clock. */
  readonly clockOffsetNs: number;
  /** A span of it was sent. */
  isSent: boolean;
}

/** Who may do what: bearer tokens with roles, or everything while bound to loopback without tokens (design §9). */
import { createHash } from "node:crypto";
import type { Config } from "../../config/config.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { isLoopback } from "../../contract/loopback.ts";
import type { Role } from "../../contract/route.ts";

/** A caller, as far as its token says. `name` tells callers apart without showing the token. */
export interface Caller {
  readonly name: string;
  readonly roles: ReadonlySet<Role>;
}

/** What each role includes besides itself: an admin may do what a responder may, and so on. */
const included: Record<Role, readonly Role[]> = {
  viewer: ["viewer"],
  responder: ["responder", "viewer"],
  admin: ["admin", "responder", "viewer", "ingest", "agent"],
  ingest: ["ingest"],
  agent: ["agent"],
};

const everybody: Caller = { name: "local", roles: new Set(included.admin) };

export interface Access {
  /** The caller of a request. Throws UNAUTHENTICATED when tokens are configured and none of them was sent. */
  callerOf(authorization: string | undefined): Caller;
  /** Throws FORBIDDEN when the caller's roles do not include `role`. */
  require(caller: Caller, role: Role): void;
}

/** Throws CONFIG_INVALID for a door that everybody on the network could open. */
export function createAccess(options: { host: string; tokens: Config["tokens"] }): Access {
  if (options.tokens.length === 0 && !isLoopback(options.host)) {
    throw new HeadwaterError(
      "CONFIG_INVALID",
      `"api.host" is ${JSON.stringify(options.host)}, which other machines can reach, and "tokens" is empty: add a token, or bind to 127.0.0.1`,
    );
  }
  // Looked up by hash: the time of a lookup says nothing about how much of a guessed token was right.
  const callers = new Map<string, Caller>();
  for (const token of options.tokens) {
    const hash = digest(token.token);
    callers.set(hash, { name: `token-${hash.slice(0, 12)}`, roles: new Set(token.roles.flatMap((role) => included[role])) });
  }
  return {
    callerOf(authorization) {
      if (callers.size === 0) return everybody;
      const token = /^Bearer +(\S{1,512})$/i.exec(authorization ?? "")?.[1];
      const caller = token === undefined ? undefined : callers.get(digest(token));
      if (caller === undefined) throw new HeadwaterError("UNAUTHENTICATED", "Send Authorization: Bearer <token> with a configured token");
      return caller;
    },
    require(caller, role) {
      if (caller.roles.has(role)) return;
      throw new HeadwaterError("FORBIDDEN", `This needs the role "${role}"; the token has ${[...caller.roles].sort().join(", ")}`);
    },
  };
}

function digest(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

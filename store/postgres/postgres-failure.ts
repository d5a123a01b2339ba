/** Errors of PostgreSQL and of the connection to it, in our words. */
import { HeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";

export interface FailurePlace {
  /** Server and database, without user and password. */
  readonly address: string;
  /**
   * While `opening`, what only an operator can change ends the start. Once the store is `open`, the same (a password that was changed, a
   * database that is being restored) is a store that is away: whoever waits for it must not give its work up for good.
   */
  readonly phase: "opening" | "open";
}

/** Server and database of a URL, without user, password and parameters. */
export function postgresAddress(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `PostgreSQL at ${hostname === "" ? "localhost" : hostname}:${port === "" ? "5432" : port}${pathname === "/" ? "" : pathname}`;
}

/** An error as one of ours; one that is ours already stays, and so does a programmer error. */
export function postgresFailure(error: unknown, place: FailurePlace): Error {
  if (error instanceof HeadwaterError || error instanceof InvariantError) return error;
  const { address, phase } = place;
  const code = sqlState(error);
  const text = textOf(error);
  if (phase === "opening") {
    const cause = { cause: error };
    if (code.startsWith("28") || /SASL|password must be a string/i.test(text)) {
      return new HeadwaterError("SERVER_REFUSED", `${address} refused us (${text}): check user and password in urls.events`, cause);
    }
    if (code === "42501") {
      const remedy = "give its user the right to create a schema (GRANT CREATE ON DATABASE … TO …), or create the schema for it";
      return new HeadwaterError("SERVER_REFUSED", `${address} does not allow what is needed (${text}): ${remedy}`, cause);
    }
    if (code === "3D000") {
      return new HeadwaterError(
        "SERVER_UNSUITABLE",
        `${address}: ${text}: create it (createdb), or name another one in urls.events`,
        cause,
      );
    }
    if (/does not support SSL/i.test(text)) {
      return new HeadwaterError("SERVER_UNSUITABLE", `${address} does not speak TLS, which sslmode in urls.events asks for`, cause);
    }
  }
  return new HeadwaterError("STORE_UNAVAILABLE", `${address} cannot be reached or failed: ${text}`, { cause: error });
}

/** PostgreSQL's five characters, or Node's code, or nothing. */
function sqlState(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** Node wraps the attempts at several addresses of a host in an error without a message. */
function textOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(textOf).join(", ");
  return error instanceof Error ? error.message : String(error);
}

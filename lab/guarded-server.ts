/**
 * Runs a server that is not ours so that it never outlives us: a shell waits for it, and ends it when its own standard input closes,
 * which happens when we say so and also when we die of SIGKILL. Its folder of data goes with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LabError } from "./lab-error.ts";

const stopWaitMsDefault = 5_000;
const pollMs = 25;

/** A running server. `stop` ends it and removes its data; idempotent. */
export interface RunningServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface GuardedOptions {
  readonly name: string;
  readonly file: string;
  readonly arguments: readonly string[];
  /** Removed when the server has ended; null = nothing is. */
  readonly folder: string | null;
  /** Account under which it runs; null = ours. */
  readonly account: Account | null;
  readonly environment?: Readonly<Record<string, string>>;
  /** Resolves to true when it answers. */
  readonly isReady: () => Promise<boolean>;
  readonly readyWaitMs: number;
  /** It is killed when it has not ended by then; 5 s unless told. */
  readonly stopWaitMs?: number;
  /** What ends it in order; INT unless told. */
  readonly stopSignal?: "INT" | "TERM";
  readonly url: string;
}

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

// The reader gets standard input by number, since a background command's own is /dev/null. INT is a fast shutdown for PostgreSQL and Redis;
// Java goes on ignoring it, as a background command of a shell is made to.
const guard = `exec 3<&0
folder=$1; signal=$2; shift 2
"$@" 3<&- >&2 & server=$!
echo $server
( while read -r _ <&3; do :; done; kill -$signal $server ) 2>/dev/null >/dev/null & reader=$!
wait $server; status=$?
kill $reader 2>/dev/null
cd / && [ -n "$folder" ] && rm -rf "$folder"
exit $status`;

/** An account that is not root, when we are root and the server refuses to be: `postgres` where it exists, else `nobody`. */
export function unprivilegedAccount(): Account | null {
  if (process.getuid?.() !== 0) return null;
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of ["postgres", "nobody"]) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
    const [uid, gid] = [Number(fields[2]), Number(fields[3])];
    if (Number.isInteger(uid) && Number.isInteger(gid) && uid > 0) return { uid, gid };
  }
  return { uid: 65_534, gid: 65_534 };
}

/** A fresh folder for a server's data, owned by its account. */
export function dataFolder(name: string, account: Account | null): string {
  const folder = mkdtempSync(join(tmpdir(), `headwater-${name}-`));
  if (account !== null) chownSync(folder, account.uid, account.gid);
  return folder;
}

/** A loopback port that nobody uses at this moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Starts it and waits until it answers. Throws LAB_FAILED with the last of what it said when it ends or stays silent. */
export async function startGuarded(options: GuardedOptions): Promise<RunningServer> {
  const said: string[] = [];
  const { child, ended } = spawnGuard(options, said);
  const stop = async (): Promise<void> => {
    child.stdin?.end();
    const timer = setTimeout(() => killHard(pid), options.stopWaitMs ?? stopWaitMsDefault);
    await ended;
    clearTimeout(timer);
    if (options.folder !== null) rmSync(options.folder, { recursive: true, force: true });
  };
  let pid = 0;
  let over = false;
  child.stdout?.on("data", (chunk: Buffer) => {
    pid = pid === 0 ? Number.parseInt(chunk.toString(), 10) || 0 : pid;
  });
  void ended.then(() => {
    over = true;
  });
  const deadline = performance.now() + options.readyWaitMs;
  while (!(pid > 0 && (await options.isReady()))) {
    if (over || performance.now() > deadline) {
      await stop();
      const why = over ? "ended at once" : `did not answer within ${options.readyWaitMs} ms`;
      throw new LabError(`${options.name} ${why}: ${said.join("").trim().slice(-500) || "it said nothing"}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return { url: options.url, pid, stop };
}

/** Ends a server that did not follow; its guard has not reaped it yet, so the id is still its own. */
function killHard(pid: number): void {
  if (pid <= 0) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended in the meantime.
  }
}

function spawnGuard(options: GuardedOptions, said: string[]): { child: ChildProcess; ended: Promise<void> } {
  const chunksMax = 50;
  const child = spawn(
    "/bin/sh",
    ["-c", guard, "sh", options.folder ?? "", options.stopSignal ?? "INT", options.file, ...options.arguments],
    {
      cwd: "/",
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...options.environment },
      // A group of its own: Ctrl-C in a terminal is for us, and we end it in our order.
      detached: true,
      ...(options.account ?? {}),
    },
  );
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      said.push(error.message);
      resolve();
    });
    child.once("exit", () => resolve());
  });
  child.stdin?.on("error", () => {});
  child.stderr?.on("data", (chunk: Buffer) => {
    said.push(chunk.toString());
    if (said.length > chunksMax) said.shift();
  });
  return { child, ended };
}

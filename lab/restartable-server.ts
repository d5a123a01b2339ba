/** A server that can be ended or killed, paused, and started again on the same data: for drills and tests of outages and of backups. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { type GuardedOptions, type RunningServer, startGuarded } from "./guarded-server.ts";
import { LabError, textOf } from "./lab-error.ts";

const restartWaitMs = 20_000;
const retryMs = 100;

export interface RestartableServer extends RunningServer {
  /** Where its data are. */
  readonly folder: string;
  /** Ends it in order, as an operator would; its data stay. */
  end(): Promise<void>;
  /** Sends SIGKILL to the server and to the processes that it started; resolves when they are gone. */
  kill(): Promise<void>;
  /** Starts it again after `end` or `kill`, with the same data and at the same address. */
  restart(): Promise<void>;
  /** Sends SIGSTOP to all of its processes: connections stay and nothing answers. */
  pause(): void;
  /** Goes on after `pause`. */
  resume(): void;
}

// Its data must outlast a server that is killed, and not outlast us.
const keeper = `read -r _
for n in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" 2>/dev/null && exit; sleep 0.3; done`;

/** Starts it and waits until it answers. Throws LAB_FAILED. */
export async function startRestartable(options: GuardedOptions & { readonly folder: string }): Promise<RestartableServer> {
  const { folder } = options;
  const guarded = { ...options, folder: null };
  const keeping = spawn("/bin/sh", ["-c", keeper, "sh", folder], { cwd: "/", stdio: ["pipe", "ignore", "ignore"], detached: true });
  const removeData = (): void => {
    rmSync(folder, { recursive: true, force: true });
    keeping.stdin?.end();
  };
  let running: RunningServer;
  try {
    running = await startGuarded(guarded);
  } catch (error) {
    removeData();
    throw error;
  }
  return {
    url: options.url,
    folder,
    end: () => running.stop(),
    get pid() {
      return running.pid;
    },
    async kill() {
      // Stopped first, so that it starts nothing new while its children are found and killed.
      signalAll([running.pid], "SIGSTOP");
      const processes = [...childrenOf(running.pid), running.pid];
      signalAll(processes, "SIGKILL");
      await running.stop();
      await until(`${options.name} is gone after SIGKILL`, () => !processes.some(isRunning));
    },
    async restart() {
      running = await startAgain(guarded);
    },
    pause: () => signalAll([running.pid, ...childrenOf(running.pid)], "SIGSTOP"),
    resume: () => signalAll([running.pid, ...childrenOf(running.pid)], "SIGCONT"),
    async stop() {
      await running.stop();
      removeData();
    },
  };
}

/** What the killed one held (a port, shared memory) may take a moment to be free. */
async function startAgain(options: GuardedOptions): Promise<RunningServer> {
  const deadline = performance.now() + restartWaitMs;
  for (;;) {
    try {
      return await startGuarded(options);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + restartWaitMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new LabError(`not within ${restartWaitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

function signalAll(pids: readonly number[], signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw new LabError(`${signal} to ${pid}: ${textOf(error)}`);
    }
  }
}

function childrenOf(parent: number): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => statusOf(pid)?.parent === parent);
}

function isRunning(pid: number): boolean {
  const state = statusOf(pid)?.state ?? "Z";
  return state !== "Z" && state !== "X";
}

function statusOf(pid: number): { state: string; parent: number } | null {
  try {
    // The command's name is in parentheses and may itself hold any character; state and parent follow it.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return null;
  }
}

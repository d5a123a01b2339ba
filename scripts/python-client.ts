/**
 * Python with OpenTelemetry's SDK and its OTLP exporter, for the test that lets a client send which nobody here wrote. They are installed once
 * into a virtual environment in the user's cache folder, outside of the checkout; later runs only look that it still works.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const version = "1.45.2";
/** These two pin everything of OpenTelemetry below them to exact versions. */
const packages = [`opentelemetry-sdk==${version}`, `opentelemetry-exporter-otlp-proto-http==${version}`];
const imports = "import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http.trace_exporter";
/** What is on the PATH may be built without what a virtual environment needs; Debian's has it once python3-venv is installed. */
const pythons = ["python3", "/usr/bin/python3"];
const runWaitMs = 30_000;
const installWaitMs = 240_000;

/** The interpreter to run, or why there is none. */
export type PythonClient = { readonly python: string } | { readonly missing: string };

/**
 * Makes the environment where it is not there yet, which it says on standard error (about 20 s). Never throws for what a machine lacks.
 * Two runs may race: each builds beside the place and the first to be ready takes it.
 */
export async function preparePythonClient(): Promise<PythonClient> {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "headwater", `python-otel-${version}`);
  const python = join(folder, "bin", "python");
  if (await works(python, imports)) return { python };
  const base = await findPython();
  if (base === null) {
    return { missing: "there is no python3 with its venv and ensurepip modules (Debian: apt-get install python3-venv)" };
  }
  process.stderr.write(`python client: installing ${packages.join(", ")} into ${folder} (about 20 s, once)\n`);
  try {
    await install(base, folder);
  } catch (error) {
    return { missing: `${packages.join(", ")} cannot be installed into ${folder}: ${saidLast(error)}` };
  }
  return (await works(python, imports)) ? { python } : { missing: `what was installed into ${folder} does not run` };
}

/** A virtual environment finds its packages beside its interpreter, so it can be moved as long as only the interpreter is run. */
async function install(base: string, folder: string): Promise<void> {
  mkdirSync(dirname(folder), { recursive: true });
  const fresh = mkdtempSync(`${folder}.`);
  const python = join(fresh, "bin", "python");
  try {
    await run(base, ["-m", "venv", fresh], installWaitMs);
    await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", ...packages], installWaitMs);
    await replaceBroken({ fresh, folder });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Puts the fresh one in place, unless another run was faster; one that is there and does not work any more is moved away first. */
async function replaceBroken({ fresh, folder }: { fresh: string; folder: string }): Promise<void> {
  if (tryRename(fresh, folder) || (await works(join(folder, "bin", "python"), imports))) return;
  const broken = mkdtempSync(`${folder}.broken-`);
  tryRename(folder, broken);
  rmSync(broken, { recursive: true, force: true });
  tryRename(fresh, folder);
}

function tryRename(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch {
    return false;
  }
}

async function findPython(): Promise<string | null> {
  for (const python of pythons) if (await works(python, "import venv, ensurepip")) return python;
  return null;
}

async function works(python: string, program: string): Promise<boolean> {
  try {
    await run(python, ["-c", program], runWaitMs);
    return true;
  } catch {
    return false;
  }
}

async function run(file: string, args: readonly string[], timeout: number): Promise<void> {
  // A PYTHONPATH of the user's would put other packages before those that are asked for.
  const { PYTHONPATH: _, PYTHONHOME: __, ...env } = process.env;
  await promisify(execFile)(file, [...args], { timeout, killSignal: "SIGKILL", env });
}

/** The last line that a failed program said. */
function saidLast(error: unknown): string {
  const said = (error as { stderr?: string }).stderr?.trim().split("\n").at(-1);
  return said || (error instanceof Error ? error.message : String(error));
}

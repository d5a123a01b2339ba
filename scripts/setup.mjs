/**
 * Makes a fresh checkout ready, and costs nothing when nothing changed. Plain JavaScript: it runs before anything is installed.
 *
 *   node scripts/setup.mjs [--quiet] [--force] [--servers]
 *
 * --quiet    says nothing unless there is work to do
 * --force    builds again even when nothing changed
 * --servers  as root on Debian, also installs the real servers, the browser and the Python that tests use; else names what is missing
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stampDirectory = join(root, "node_modules", ".headwater");
const wanted = {
  quiet: process.argv.includes("--quiet"),
  force: process.argv.includes("--force"),
  servers: process.argv.includes("--servers"),
};
const nodeMajorMin = 20;

const sourceFolders = [
  "contract",
  "config",
  "native",
  "models",
  "graph",
  "report",
  "store",
  "services",
  "client",
  "lab",
  "bench",
  "scripts",
];

function say(text) {
  process.stderr.write(`set-up: ${text}\n`);
}

function fail(text, exitCode) {
  process.stderr.write(`set-up: ${text}\n`);
  process.exit(exitCode);
}

/** Runs a program with its output on standard error, so that standard output stays the command's own. */
function run(command, args, what) {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.error) fail(`${what}: ${command} could not be run (${result.error.message})`, 3);
  if (result.status !== 0) fail(`${what} failed (exit code ${result.status}); see above`, 1);
}

function filesBelow(directory, pattern) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" || entry.name === "dist" ? [] : filesBelow(path, pattern);
    return pattern.test(entry.name) ? [path] : [];
  });
}

/** A fingerprint of names, sizes and times: cheap, and changes whenever a file does. */
function fingerprint(paths) {
  const hash = createHash("sha256");
  for (const path of paths.sort()) {
    const stat = statSync(path);
    hash.update(`${relative(root, path)}\0${stat.size}\0${stat.mtimeMs}\n`);
  }
  return hash.digest("hex");
}

/** Does `work` when what it depends on differs from what the stamp remembers. */
function whenChanged(name, current, product, work) {
  const stamp = join(stampDirectory, name);
  const known = existsSync(stamp) ? readFileSync(stamp, "utf8") : null;
  if (!wanted.force && known === current && existsSync(product)) return;
  work();
  mkdirSync(stampDirectory, { recursive: true });
  writeFileSync(stamp, current);
}

function checkNode() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < nodeMajorMin) fail(`Node ${nodeMajorMin} or newer is needed; this is ${process.version}`, 3);
}

/** `npm ci` is for a checkout without packages; after a change of the lock file, `npm ci` again replaces them. */
function installPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  whenChanged("lock", lock, join(root, "node_modules", "zod"), () => {
    say("installing packages (about 30 s the first time)");
    const startedMs = Date.now();
    run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], "npm ci");
    say(`packages installed in ${Math.round((Date.now() - startedMs) / 1000)} s`);
  });
}

function compileTypeScript() {
  const queries = filesBelow(join(root, "graph"), /\.cypher$/);
  const sources = [
    ...sourceFolders.flatMap((folder) => filesBelow(join(root, folder), /\.(ts|tsx|json)$/)),
    ...queries,
    join(root, "tsconfig.build.json"),
    join(root, "tsconfig.json"),
  ];
  whenChanged("typescript", fingerprint(sources), join(root, "dist", "services", "main.js"), () => {
    if (!wanted.quiet) say("compiling TypeScript");
    run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"], "tsc");
    // The compiler leaves alone what is not TypeScript; the code reads these at run time, from beside itself.
    for (const path of queries) {
      const target = join(root, "dist", relative(root, path));
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(path, target);
    }
  });
}

/** The native addon: one g++ call once there are sources and a compiler; else the TypeScript twin does the work. */
function buildNative() {
  const sources = filesBelow(join(root, "native", "src"), /\.(cpp|hpp|c|h)$/);
  if (sources.length === 0) return;
  if (spawnSync("g++", ["--version"]).status !== 0) {
    say("no g++ here: the TypeScript twin of the native core is used (slower, same results)");
    return;
  }
  whenChanged("native", fingerprint(sources), join(root, "dist", "native", "headwater.node"), () => {
    if (!wanted.quiet) say("building the native addon");
    mkdirSync(join(root, "dist", "native"), { recursive: true });
    const include = [join(root, "node_modules", "node-api-headers", "include"), join(root, "node_modules", "node-addon-api")];
    const output = join(root, "dist", "native", "headwater.node");
    const units = sources.filter((path) => path.endsWith(".cpp"));
    run(
      "g++",
      ["-std=c++20", "-O2", "-fPIC", "-shared", "-DNAPI_VERSION=9", ...include.map((path) => `-I${path}`), ...units, "-o", output],
      "g++",
    );
  });
}

function buildPage() {
  const config = join(root, "web", "vite.config.ts");
  if (!existsSync(config)) return;
  const sources = [...filesBelow(join(root, "web"), /\.(ts|tsx|css|html|svg)$/), ...filesBelow(join(root, "client"), /\.ts$/)];
  whenChanged("web", fingerprint(sources), join(root, "dist", "web", "index.html"), () => {
    if (!wanted.quiet) say("building the web page");
    run(
      process.execPath,
      [join(root, "node_modules", "vite", "bin", "vite.js"), "build", "--config", "web/vite.config.ts", "--logLevel", "warn"],
      "vite build",
    );
  });
}

/** Debian leaves what a virtual environment needs out of its python3. */
function makesEnvironments(python) {
  return spawnSync(python, ["-c", "import venv, ensurepip"], { stdio: "ignore" }).status === 0;
}

/** Real servers, browser and Python for tests. Never fails the set-up: a suite that lacks its server is skipped with this reason, and counted. */
async function installServers() {
  const { fetchNeo4jJars, neo4jPackagesMissing } = await import("../dist/lab/neo4j-jars.js");
  const { archiveNeo4jClasses } = await import("../dist/lab/neo4j-server.js");
  const needed = [
    { name: "redis-server", present: () => existsSync("/usr/bin/redis-server") },
    { name: "postgresql", present: () => existsSync("/usr/lib/postgresql") && readdirSync("/usr/lib/postgresql").length > 0 },
    { name: "chromium", present: () => existsSync("/usr/bin/chromium") },
    { name: "python3-venv", present: () => ["python3", "/usr/bin/python3"].some(makesEnvironments) },
  ];
  const missing = [...needed.filter((server) => !server.present()).map((server) => server.name), ...neo4jPackagesMissing()];
  if (missing.length > 0) installPrograms(missing);
  const stillMissing = neo4jPackagesMissing();
  if (stillMissing.length > 0) {
    say(`Neo4j is not there: ${stillMissing.join(", ")} would have to be installed first; the suites that need it are skipped`);
    return;
  }
  try {
    fetchNeo4jJars(say);
    await archiveNeo4jClasses(say);
  } catch (error) {
    say(`${error.message}; the suites that need Neo4j are skipped`);
  }
}

function installPrograms(missing) {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    say(
      `not installed: ${missing.join(", ")}; the suites that need them are skipped. As root on Debian: apt-get install ${missing.join(" ")}`,
    );
    return;
  }
  say(`installing ${missing.join(", ")} for the tests (apt-get)`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [
    ["update", "-qq"],
    ["install", "-y", "-qq", "--no-install-recommends", ...missing],
  ]) {
    const result = spawnSync("apt-get", args, { stdio: ["ignore", "ignore", 2], env: environment });
    if (result.status !== 0) say(`apt-get ${args[0]} ended with ${result.status}; the suites that need ${missing.join(", ")} are skipped`);
  }
}

process.chdir(root);
checkNode();
installPackages();
compileTypeScript();
buildNative();
buildPage();
if (wanted.servers) await installServers();

/**
 * Makes a fresh checkout ready, and costs nothing when nothing changed. Plain JavaScript: it runs before anything is installed.
 *
 *   node scripts/setup.mjs [--quiet] [--force] [--kernel] [--servers]
 *
 * --quiet    says nothing unless there is work to do
 * --force    builds again even when nothing changed
 * --kernel   as root on Debian, also installs what the programs in the kernel are built and tested with; else names what is missing
 * --servers  the same, and the real servers, the browser and the Python that tests use
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stampDirectory = join(root, "node_modules", ".headwater");
const wanted = {
  quiet: process.argv.includes("--quiet"),
  force: process.argv.includes("--force"),
  kernel: process.argv.includes("--kernel") || process.argv.includes("--servers"),
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

/** Does `work` when what it depends on differs from what the stamp remembers, or one of its products is gone. */
function whenChanged(name, current, products, work) {
  const stamp = join(stampDirectory, name);
  const known = existsSync(stamp) ? readFileSync(stamp, "utf8") : null;
  if (!wanted.force && known === current && products.every((product) => existsSync(product))) return;
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
  whenChanged("lock", lock, [join(root, "node_modules", "zod")], () => {
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
  const products = sources
    .filter((path) => /\.(ts|tsx|cypher)$/.test(path) && !path.endsWith(".d.ts"))
    .map((path) => join(root, "dist", relative(root, path).replace(/\.tsx?$/, ".js")));
  whenChanged("typescript", fingerprint(sources), products, () => {
    if (!wanted.quiet) say("compiling TypeScript");
    // The compiler remembers what it wrote, not whether it is still there.
    if (!products.every((product) => existsSync(product))) rmSync(join(root, "dist", "build.tsbuildinfo"), { force: true });
    run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"], "tsc");
    // The compiler leaves alone what is not TypeScript; the code reads these at run time, from beside itself.
    for (const path of queries) {
      const target = join(root, "dist", relative(root, path));
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(path, target);
    }
  });
}

/** Whether a program is there, without starting it; root's programs are looked for even where PATH leaves them out. */
function isProgram(name) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => folder !== "" && existsSync(join(folder, name)));
}

/** One g++ call makes one addon. */
function buildAddon(name, units, flags) {
  if (!wanted.quiet) say(`building the addon ${name}`);
  const output = join(root, "dist", "native", `${name}.node`);
  mkdirSync(dirname(output), { recursive: true });
  const include = [join(root, "node_modules", "node-api-headers", "include"), join(root, "node_modules", "node-addon-api")];
  const common = ["-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-DNAPI_VERSION=9"];
  // A process may have the old one open: it keeps it when the new one takes its place.
  const partial = `${output}.partial`;
  const args = ["-DNAPI_CPP_EXCEPTIONS", ...include.map((path) => `-isystem${path}`), ...units, ...flags, "-o", partial];
  run("g++", [...common, ...args], `g++ for ${name}`);
  renameSync(partial, output);
}

/** The native core, once there are sources and a compiler; else the TypeScript twin does the work. */
function buildNative() {
  const kernelSources = join(root, "native", "src", "kernel");
  const sources = filesBelow(join(root, "native", "src"), /\.(cpp|hpp|c|h)$/).filter((path) => !path.startsWith(kernelSources));
  if (sources.length === 0) return;
  if (!isProgram("g++")) {
    say("no g++ here: the TypeScript twin of the native core is used (slower, same results)");
    return;
  }
  whenChanged("native", fingerprint(sources), [join(root, "dist", "native", "headwater.node")], () => {
    const units = sources.filter((path) => path.endsWith(".cpp"));
    buildAddon("headwater", units, []);
  });
}

/** Before 1.0 libbpf had another interface. */
function hasLibbpf() {
  const version = "/usr/include/bpf/libbpf_version.h";
  return existsSync(version) && /LIBBPF_MAJOR_VERSION [1-9]/.test(readFileSync(version, "utf8"));
}

/** Debian packages of the tools, and how to see that each is there. The last three only tests need. */
const kernelTools = [
  { name: "g++", isThere: () => isProgram("g++") },
  { name: "clang", isThere: () => isProgram("clang") },
  { name: "llvm", isThere: () => isProgram("llvm-strip") },
  { name: "libbpf-dev", isThere: hasLibbpf },
  { name: "libelf-dev", isThere: () => existsSync("/usr/include/libelf.h") },
  { name: "zlib1g-dev", isThere: () => existsSync("/usr/include/zlib.h") },
  { name: "bpftool", isThere: () => isProgram("bpftool") },
  { name: "nftables", isThere: () => isProgram("nft") },
  { name: "iproute2", isThere: () => isProgram("ip") },
];

/** What reads the kernel: the addon, and the programs themselves. Without them services are seen by their own telemetry only. */
function buildKernel() {
  const sources = filesBelow(join(root, "native", "src", "kernel"), /\.(cpp|hpp)$/);
  const programs = filesBelow(join(root, "bpf"), /\.bpf\.c$/);
  if (sources.length === 0 || process.platform !== "linux") return;
  const missing = kernelTools.slice(0, 4).filter((tool) => !tool.isThere());
  const names = missing.map((tool) => tool.name);
  if (names.length > 0 && !wanted.quiet) {
    say(`no ${names.join(", ")} here: the kernel is not read, services are seen by their own telemetry only (root: setup.mjs --kernel)`);
  }
  if (!names.includes("g++") && !names.includes("libbpf-dev")) {
    const units = sources.filter((path) => path.endsWith(".cpp"));
    whenChanged("kernel", fingerprint(sources), [join(root, "dist", "native", "kernel.node")], () =>
      buildAddon("kernel", units, ["-lbpf"]),
    );
  }
  if (names.includes("clang") || names.includes("llvm") || names.includes("libbpf-dev")) return;
  const headers = filesBelow(join(root, "bpf"), /\.h$/);
  for (const program of programs) compileProgram(program, headers);
}

/** A program whose source did not change is not compiled again; a header counts as a part of every one. */
function compileProgram(source, headers) {
  const name = relative(join(root, "bpf"), source).replace(/\.bpf\.c$/, "");
  const output = join(root, "dist", "bpf", `${name}.bpf.o`);
  whenChanged(`bpf-${name}`, fingerprint([source, ...headers]), [output], () => {
    if (!wanted.quiet) say(`compiling bpf/${name}.bpf.c`);
    mkdirSync(dirname(output), { recursive: true });
    const partial = `${output}.partial`;
    const architecture = { x64: "x86", arm64: "arm64" }[process.arch] ?? process.arch;
    const args = ["-O2", "-g", "-Wall", "-target", "bpf", `-D__TARGET_ARCH_${architecture}`, "-c", source, "-o", partial];
    run("clang", args, `clang for bpf/${name}.bpf.c`);
    // What is for debuggers goes; type information, which the loader needs, stays.
    run("llvm-strip", ["-g", partial], "llvm-strip");
    renameSync(partial, output);
  });
}

function installKernelTools() {
  const missing = kernelTools.filter((tool) => !tool.isThere()).map((tool) => tool.name);
  if (missing.length > 0) installPrograms(missing, "what reads the kernel is not built and its suites are skipped");
}

function buildPage() {
  const config = join(root, "web", "vite.config.ts");
  if (!existsSync(config)) return;
  const sources = [...filesBelow(join(root, "web"), /\.(ts|tsx|css|html|svg)$/), ...filesBelow(join(root, "client"), /\.ts$/)];
  whenChanged("web", fingerprint(sources), [join(root, "dist", "web", "index.html")], () => {
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
    { name: "nginx-light", present: () => existsSync("/usr/sbin/nginx") },
    { name: "chromium", present: () => existsSync("/usr/bin/chromium") },
    { name: "python3-venv", present: () => ["python3", "/usr/bin/python3"].some(makesEnvironments) },
  ];
  const missing = [...needed.filter((server) => !server.present()).map((server) => server.name), ...neo4jPackagesMissing()];
  if (missing.length > 0) installPrograms(missing, "the suites that need them are skipped");
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

/** Never fails the set-up; `cost` says what it means that something is missing. */
function installPrograms(missing, cost) {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    say(`not installed: ${missing.join(", ")}; ${cost}. As root on Debian: apt-get install ${missing.join(" ")}`);
    return;
  }
  say(`installing ${missing.join(", ")} (apt-get)`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [
    ["update", "-qq"],
    ["install", "-y", "-qq", "--no-install-recommends", ...missing],
  ]) {
    const result = spawnSync("apt-get", args, { stdio: ["ignore", "ignore", 2], env: environment });
    if (result.status !== 0) say(`apt-get ${args[0]} ended with ${result.status}: ${missing.join(", ")} may be missing; ${cost}`);
  }
}

process.chdir(root);
checkNode();
installPackages();
compileTypeScript();
buildNative();
if (wanted.kernel) installKernelTools();
buildKernel();
buildPage();
if (wanted.servers) await installServers();

/**
 * Neo4j for development and tests: its jars, fetched once by Maven into a cache folder outside of the checkout, and an archive of its
 * loaded classes, without which it takes three times as long to start. Neo4j is GPLv3; it runs as a server beside us and is never linked.
 */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { LabError, textOf } from "./lab-error.ts";

/** The line with long-term support; it runs on Java 17 and newer. */
const neo4jVersion = "5.26.30";
/** Maven's first run also fetches its own plugins. */
const fetchWaitMs = 600_000;
/** A folder with fewer is not what Maven made. */
const jarsMin = 100;

/** How Neo4j comes to be here, for messages. */
export const neo4jRemedy =
  "it needs Java 17 and jars that Maven fetches (Debian: apt-get install openjdk-17-jre-headless maven; then: node scripts/setup.mjs --servers)";

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headwater</groupId><artifactId>neo4j-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>${neo4jVersion}</version></dependency></dependencies>
</project>
`;

/** What Neo4j needs here; null where it is missing. */
export interface Neo4jInstallation {
  /** The program `java`. */
  readonly java: string;
  /** The folder of jars. */
  readonly lib: string;
  /** The archive of classes for this `java`; the file may not exist. */
  readonly archive: string;
}

function cacheFolder(): string {
  const { XDG_CACHE_HOME: cache } = process.env;
  return join(cache === undefined || cache === "" ? join(homedir(), ".cache") : cache, "headwater", `neo4j-${neo4jVersion}`);
}

function onPath(name: string): string | null {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The programs that are missing, as Debian's packages are called. */
export function neo4jPackagesMissing(): string[] {
  const needed = [
    { name: "openjdk-17-jre-headless", program: "java" },
    // Maven is for the fetching only.
    ...(hasJars() ? [] : [{ name: "maven", program: "mvn" }]),
  ];
  return needed.filter(({ program }) => onPath(program) === null).map(({ name }) => name);
}

function hasJars(): boolean {
  const lib = join(cacheFolder(), "lib");
  return existsSync(lib) && readdirSync(lib).length >= jarsMin;
}

/** Neo4j as it is installed here, or null. */
export function findNeo4j(): Neo4jInstallation | null {
  const java = onPath("java");
  if (java === null || !hasJars()) return null;
  return { java, lib: join(cacheFolder(), "lib"), archive: archiveOf(java) };
}

/** An archive is of use to the one Java that wrote it. */
function archiveOf(java: string): string {
  const { size, mtimeMs } = statSync(realpathSync(java));
  return join(cacheFolder(), `classes-${size.toString(36)}-${Math.round(mtimeMs).toString(36)}.jsa`);
}

/**
 * Fetches the jars where they are not there yet, calling `say` with what takes long. Two that do it at once do not disturb each other: each
 * fills a folder of its own, and the first to be done gives it its name. Throws LAB_FAILED when Maven fails.
 */
export function fetchNeo4jJars(say: (text: string) => void): void {
  if (hasJars()) return;
  const maven = onPath("mvn");
  if (maven === null) throw new LabError("Neo4j's jars are missing, and there is no mvn to fetch them (Debian: apt-get install maven)");
  const target = cacheFolder();
  mkdirSync(join(target, ".."), { recursive: true });
  const folder = mkdtempSync(`${target}.part-`);
  try {
    say(`fetching Neo4j ${neo4jVersion} with Maven (120 MB, about 30 s the first time)`);
    writeFileSync(join(folder, "pom.xml"), pom);
    copyDependencies(maven, folder);
    publish(folder, target);
    say(`Neo4j is in ${target}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function copyDependencies(maven: string, folder: string): void {
  const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
  const flags = ["-q", "-B", goal, "-DincludeScope=runtime", `-DoutputDirectory=${join(folder, "lib")}`];
  const result = spawnSync(maven, flags, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], timeout: fetchWaitMs });
  if (result.error !== undefined) throw new LabError(`mvn could not be run: ${result.error.message}`);
  const said = `${result.stdout}${result.stderr}`.trim().slice(-1_000);
  if (result.status !== 0) throw new LabError(`mvn could not fetch Neo4j (${result.signal ?? `exit code ${result.status}`}): ${said}`);
}

function publish(folder: string, target: string): void {
  try {
    renameSync(folder, target);
  } catch (error) {
    if (hasJars()) return;
    throw new LabError(`Neo4j's jars could not be put into ${target}: ${textOf(error)}`);
  }
}

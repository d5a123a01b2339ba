import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { allRoles, refuseUnshared } from "../../services/role.ts";
import { until, useTemporaryFolder } from "../conformance/temporary.ts";
import { loadEmbedded, namesOf, readText, root, variablesOf } from "./deployment.ts";

const folder = useTemporaryFolder();

describe("deploy/compose/make-env.sh", () => {
  function makeEnv(): ReturnType<typeof spawnSync> {
    return spawnSync("sh", [join(root, "deploy/compose/make-env.sh")], { cwd: folder.path, encoding: "utf8" });
  }

  it("writes every variable with a random value of its own, readable by its owner alone", () => {
    expect(makeEnv().status).toBe(0);
    const text = readFileSync(join(folder.path, ".env"), "utf8");
    expect(namesOf(text)).toEqual(namesOf(readText("deploy/compose/.env.example")));
    const values = [...text.matchAll(/^HEADWATER_\w+=(.*)$/gm)].map((match) => match[1] ?? "");
    for (const value of values) expect(value).toMatch(/^[0-9a-f]{48}$/);
    expect(new Set(values).size).toBe(values.length);
    expect(statSync(join(folder.path, ".env")).mode & 0o777).toBe(0o600);
  });

  it("writes values that the configuration accepts", () => {
    makeEnv();
    const text = readFileSync(join(folder.path, ".env"), "utf8");
    const values = Object.fromEntries([...text.matchAll(/^(HEADWATER_\w+)=(.*)$/gm)].map((match) => [match[1] ?? "", match[2] ?? ""]));
    const config = loadEmbedded(readText("deploy/compose/headwater.yaml"), values);
    expect(config.tokens[0]?.token).toBe(values.HEADWATER_ADMIN_TOKEN);
    expect(new URL(config.urls.events ?? "").password).toBe(values.HEADWATER_POSTGRES_PASSWORD);
  });

  it("never overwrites secrets", () => {
    writeFileSync(join(folder.path, ".env"), "mine\n");
    const result = makeEnv();
    expect(result.status).toBe(1);
    expect(result.stderr).toContain("is there already");
    expect(readFileSync(join(folder.path, ".env"), "utf8")).toBe("mine\n");
  });
});

/** Ends what a failed test left behind: the script and its children are a group of their own. */
function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

describe("deploy/local", () => {
  const started: ChildProcess[] = [];
  afterEach(() => {
    for (const { pid } of started.splice(0)) if (pid !== undefined) killGroup(pid);
  });

  const urls = {
    HEADWATER_QUEUE_URL: "redis://127.0.0.1:1",
    HEADWATER_GRAPH_URL: "bolt://127.0.0.1:2",
    HEADWATER_EVENTS_URL: "postgres://127.0.0.1:3/headwater",
  };

  it("has a configuration that every role accepts, of the three URLs that start-roles.sh asks for", () => {
    const text = readText("deploy/local/headwater.yaml");
    expect(variablesOf(text)).toEqual(Object.keys(urls).sort());
    const config = loadEmbedded(text, urls);
    for (const role of allRoles) expect(() => refuseUnshared(config, [role])).not.toThrow();
    expect(new URL(config.urls.telemetry ?? "").port).toBe(String(config.store.port));
  });

  it("start-roles.sh names the variable that is missing", () => {
    const { HEADWATER_GRAPH_URL: _, ...others } = urls;
    const result = spawnSync("sh", [join(root, "deploy/local/start-roles.sh")], {
      env: { PATH: process.env.PATH, ...others },
      encoding: "utf8",
    });
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain("HEADWATER_GRAPH_URL");
  });

  it("start-roles.sh starts a process per role with a health port each, and ends each with one SIGTERM", async () => {
    // The script starts what lies beside it: here a program that writes down how it was started and ended.
    mkdirSync(join(folder.path, "deploy"), { recursive: true });
    mkdirSync(join(folder.path, "dist/services"), { recursive: true });
    cpSync(join(root, "deploy/local"), join(folder.path, "deploy/local"), { recursive: true });
    writeFileSync(
      join(folder.path, "dist/services/main.js"),
      `const say = (text) => require("node:fs").appendFileSync("told", text + "\\n");
       process.on("SIGTERM", () => { say("SIGTERM " + process.argv[4]); setTimeout(() => process.exit(0), 50); });
       process.on("SIGINT", () => say("SIGINT " + process.argv[4]));
       setInterval(() => {}, 1000);
       say(process.argv.slice(2).join(" "));`,
    );
    const child = spawn("sh", [join(folder.path, "deploy/local/start-roles.sh")], {
      env: { PATH: process.env.PATH, ...urls },
      detached: true,
    });
    started.push(child);
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const file = join(folder.path, "told");
    const told = (): string[] => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []);
    await until("every role is started", () => told().length === allRoles.length);
    const order = ["store", "ranking", "incident", "topology", "detection", "ingest", "gateway", "api"];
    expect(order.toSorted()).toEqual([...allRoles].sort());
    expect(told().sort()).toEqual(
      order.map((role, index) => `start --role ${role} --config deploy/local/headwater.yaml --health-port ${9464 + index}`).sort(),
    );
    child.kill("SIGTERM");
    expect(await ended).toBe(143);
    expect(
      told()
        .filter((line) => line.startsWith("SIG"))
        .sort(),
    ).toEqual(allRoles.map((role) => `SIGTERM ${role}`).sort());
  });
});

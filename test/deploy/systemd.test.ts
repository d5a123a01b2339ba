import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { allRoles, refuseUnshared } from "../../services/role.ts";
import { useTemporaryFolder } from "../conformance/temporary.ts";
import { directive, loadEmbedded, namesOf, readText, variablesOf } from "./deployment.ts";

const folder = useTemporaryFolder();
const embedded = readText("deploy/systemd/headwater.service");
const template = readText("deploy/systemd/headwater@.service");
const agent = readText("deploy/systemd/headwater-agent.service");
const configurationText = readText("deploy/systemd/headwater.yaml.example");

const analyze = existsSync("/usr/bin/systemd-analyze") ? "/usr/bin/systemd-analyze" : null;
if (analyze === null)
  process.stdout.write("test/deploy/systemd.test.ts: systemd-analyze is not installed; the units are not verified by it\n");

/** Writes the units as they would be installed, with this machine's Node, so that the program they name is there. */
function install(): readonly string[] {
  mkdirSync(folder.path, { recursive: true });
  const place = (name: string, text: string): string => {
    const file = join(folder.path, name);
    writeFileSync(file, text.replace("/usr/bin/node", process.execPath));
    return file;
  };
  place("headwater@.service", template);
  return [place("headwater.service", embedded), place("headwater@gateway.service", template), place("headwater-agent.service", agent)];
}

it.skipIf(analyze === null)("systemd finds nothing to say about the units", () => {
  for (const unit of install()) {
    const result = spawnSync(analyze ?? "", ["verify", "--man=no", unit], { encoding: "utf8" });
    // Units of the machine itself may be named too; only ours are ours.
    const about = result.stderr.split("\n").filter((line) => line.includes("headwater"));
    expect(about).toEqual([]);
    expect(result.status).toBe(0);
  }
});

it.skipIf(analyze === null)("systemd judges the exposure of the units as low", () => {
  for (const unit of install()) {
    const result = spawnSync(analyze ?? "", ["security", "--offline=true", "--no-pager", "--threshold=20", unit], { encoding: "utf8" });
    expect(result.stdout + result.stderr).toContain("OK");
    expect(result.status).toBe(0);
  }
});

it("both units start the command line's own options and restart for ever", () => {
  expect(directive(embedded, "ExecStart")).toBe(
    "/usr/bin/node /opt/headwater/dist/services/main.js start --config /etc/headwater/headwater.yaml --data /var/lib/headwater",
  );
  expect(directive(template, "ExecStart")).toBe(
    `/usr/bin/node /opt/headwater/dist/services/main.js start --role %i --config /etc/headwater/headwater.yaml --data /var/lib/headwater/%i --health-port \${HEADWATER_HEALTH_PORT}`,
  );
  const commands = readText("services/main.ts");
  for (const option of ["--role <", "--config <", "--data <", "--health-port <"]) expect(commands).toContain(option);
  for (const unit of [embedded, template]) {
    expect(directive(unit, "Restart")).toBe("always");
    expect(directive(unit, "StartLimitIntervalSec")).toBe("0");
    expect(directive(unit, "KillSignal")).toBe("SIGTERM");
    expect(Number(directive(unit, "TimeoutStopSec"))).toBeGreaterThanOrEqual(30);
  }
});

it("neither unit runs as root or may write outside of its state", () => {
  for (const unit of [embedded, template]) {
    expect(directive(unit, "DynamicUser")).toBe("yes");
    expect(directive(unit, "User")).toBe("headwater");
    expect(directive(unit, "NoNewPrivileges")).toBe("yes");
    expect(directive(unit, "ProtectSystem")).toBe("strict");
    expect(directive(unit, "CapabilityBoundingSet")).toBe("");
  }
  expect(directive(embedded, "StateDirectory")).toBe("headwater");
  expect(directive(template, "StateDirectory")).toBe("headwater/%i");
});

it("the configuration for systemd is accepted for every role, and names the variables of the environment file", () => {
  const config = loadEmbedded(configurationText);
  for (const role of allRoles) expect(() => refuseUnshared(config, [role])).not.toThrow();
  expect(namesOf(readText("deploy/systemd/headwater.env.example"))).toEqual(variablesOf(configurationText));
});

import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseConfig } from "../../config/config.ts";
import { productVersion } from "../../services/version.ts";
import { deploymentFiles, readCompose, readText, root } from "./deployment.ts";

const dockerfile = readText("Dockerfile");
const instructions = dockerfile.split("\n").filter((line) => /^[A-Z]+ /.test(line));
const last = instructions.slice(instructions.findLastIndex((line) => line.startsWith("FROM ")));

it("the image comes from official ones with a tag, and its last stage holds nothing of the first but what runs", () => {
  const bases = instructions.filter((line) => line.startsWith("FROM "));
  expect(bases).toEqual(["FROM node:20-bookworm-slim AS build", "FROM node:20-bookworm-slim"]);
  expect(last.filter((line) => line.startsWith("COPY "))).toEqual([
    "COPY --from=build /src/package.json ./",
    "COPY --from=build /src/node_modules ./node_modules",
    "COPY --from=build /src/dist ./dist",
  ]);
  expect(dockerfile).toContain("npm prune --omit=dev");
});

it("the image runs as a user that is not root, and starts the platform", () => {
  expect(last.filter((line) => line.startsWith("USER "))).toEqual(["USER 1000:1000"]);
  expect(last).toContain('ENTRYPOINT ["node", "/opt/headwater/dist/services/main.js", "start"]');
  expect(last).toContain("WORKDIR /opt/headwater");
});

it("the image exposes the default ports of the configuration, and asks for health there", () => {
  const { gateway, store, api, health } = parseConfig({});
  expect(last).toContain(`EXPOSE ${gateway.port} ${store.port} ${api.port} ${health.port}`);
  expect(dockerfile).toContain(`Promise.any([${health.port}, ${api.port}]`);
  expect(dockerfile).toContain("/livez`");
});

it("the image is built with what the set-up needs for the kernel, fails without it, and runs with the library alone", () => {
  const setup = readText("scripts/setup.mjs");
  const needed = Number(/kernelTools\.slice\(0, (\d+)\)/.exec(setup)?.[1]);
  const tools = [...setup.matchAll(/^ {2}\{ name: "([\w+-]+)", isThere/gm)].map((match) => match[1] ?? "").slice(0, needed);
  expect(tools.length).toBe(4);
  const installs = instructions.filter((line) => line.includes("apt-get install"));
  const packages = installs.map((line) => (/--no-install-recommends ([^&]*) &&/.exec(line)?.[1] ?? "").split(" ").sort());
  expect(packages).toEqual([tools.sort(), ["libbpf1"]]);
  for (const line of installs) expect(line).toContain("rm -rf /var/lib/apt/lists/*");
  expect(instructions).toContain("RUN test -f dist/native/kernel.node && test -f dist/bpf/connection.bpf.o");
  expect(last.indexOf(installs[1] ?? "")).toBeGreaterThan(0);
});

it("nothing in the image is a secret: no build argument, no variable but NODE_ENV", () => {
  expect(instructions.filter((line) => line.startsWith("ARG ") || line.startsWith("ENV "))).toEqual(["ENV NODE_ENV=production"]);
});

it("the builder is sent every folder that the set-up compiles, and nothing that may hold a secret", () => {
  const ignore = readText(".dockerignore").split("\n");
  const allowed = ignore.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  const compiled = /const sourceFolders = \[([^\]]*)\]/.exec(readText("scripts/setup.mjs"))?.[1]?.match(/"[\w-]+"/g) ?? [];
  expect(compiled.length).toBeGreaterThan(5);
  expect([...compiled.map((name) => name.replaceAll('"', "")), "web", "bpf"].filter((folder) => !allowed.includes(folder))).toEqual([]);
  expect(ignore).toContain("*");
  expect(ignore).toContain("**/.env*");
  expect(allowed.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

it("every file names the version of the product", () => {
  const versions = deploymentFiles().flatMap((path) => [...readText(path).matchAll(/headwater:(\d+\.\d+\.\d+)/g)].map((match) => match[1]));
  expect(new Set(versions)).toEqual(new Set([productVersion]));
  expect(readCompose().services.api?.image).toBe(`headwater:${productVersion}`);
});

it("no file holds a secret", () => {
  const found = deploymentFiles().flatMap((path) =>
    readText(path)
      .split("\n")
      .filter((line) => isSecret(line))
      .map((line) => `${path}: ${line}`),
  );
  expect(found).toEqual([]);
});

/** A value where only the name of a variable, or nothing, may stand; or a long run of letters and digits that looks like a key. */
function isSecret(line: string): boolean {
  const assigned = /^\s*-?\s*"?([A-Z_]*(?:PASSWORD|TOKEN|SECRET)[A-Z_]*|token|password)"?\s*[:=]\s*"?([^"]*)"?$/.exec(line)?.[2] ?? "";
  if (assigned !== "" && !assigned.startsWith("${")) return true;
  const password = /[a-z0-9+]+:\/\/[^/@\s:]*:([^@\s]+)@/.exec(line)?.[1] ?? "";
  if (password !== "" && !password.startsWith("${") && password !== "…") return true;
  return /\b[0-9a-f]{32,}\b|-----BEGIN/.test(line);
}

it.each([
  ["HEADWATER_ADMIN_TOKEN=hunter2hunter2", true],
  ['  token: "abcdefghijklmnop"', true],
  ['queue: "redis://:hunter2@redis:6379"', true],
  ["0123456789abcdef0123456789abcdef", true],
  ["HEADWATER_ADMIN_TOKEN=", false],
  [`  token: "\${HEADWATER_STORE_TOKEN}"`, false],
  [`queue: "redis://:\${HEADWATER_REDIS_PASSWORD}@redis:6379"`, false],
])("the search for secrets judges %j: %s", (line, secret) => {
  expect(isSecret(line)).toBe(secret);
});

/** A real nginx on a free loopback port, with everything of its own in a temporary folder: never the machine's. */
import { chownSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { dataFolder, freePort, type RunningServer, startGuarded, unprivilegedAccount } from "./guarded-server.ts";
import { LabError } from "./lab-error.ts";
import { answers, attempt, isExecutable } from "./servers.ts";

const readyWaitMs = 15_000;
/** Debian's is outside of an ordinary account's PATH. */
const systemFolders = ["/usr/sbin", "/usr/local/sbin"];

export interface NginxOptions {
  /** Of the `server` block: `location` and whatever else answers. */
  readonly server: string;
  /** A line of this `log_format` for each request, in `log`; null writes none. */
  readonly logFormat: string | null;
  readonly workers: number;
}

export interface RunningNginx extends RunningServer {
  readonly port: number;
  /** Where its access log is. */
  readonly log: string;
}

/** The path of `nginx`, or null. */
export function findNginx(): string | null {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== ""), ...systemFolders];
  return folders.map((folder) => join(folder, "nginx")).find(isExecutable) ?? null;
}

/** Starts nginx. Throws LAB_FAILED where it is not installed or does not start. */
export async function startNginx(options: NginxOptions): Promise<RunningNginx> {
  const file = findNginx();
  if (file === null) throw new LabError("nginx is missing (Debian: apt-get install nginx-light)");
  return attempt(async () => {
    const port = await freePort();
    const account = unprivilegedAccount();
    const folder = dataFolder("nginx", account);
    const configuration = join(folder, "nginx.conf");
    writeFileSync(configuration, configurationOf(options, port));
    if (account !== null) chownSync(configuration, account.uid, account.gid);
    const running = await startGuarded({
      name: "nginx",
      file,
      arguments: ["-p", folder, "-c", configuration, "-e", "stderr"],
      folder,
      account,
      isReady: () => answers(port, { question: "HEAD / HTTP/1.0\r\n\r\n", expected: "HTTP/1.1" }),
      readyWaitMs,
      url: `http://127.0.0.1:${port}`,
    });
    return { ...running, port, log: join(folder, "access.log") };
  });
}

function configurationOf({ server, logFormat, workers }: NginxOptions, port: number): string {
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `  ${name}_temp_path ${name};`);
  const log = logFormat === null ? ["  access_log off;"] : [`  log_format truth '${logFormat}';`, "  access_log access.log truth;"];
  return `${[
    "daemon off;",
    `worker_processes ${workers};`,
    "pid nginx.pid;",
    "error_log stderr warn;",
    "events { worker_connections 1024; }",
    "http {",
    ...folders,
    ...log,
    "  keepalive_requests 1000000000;",
    `  server { listen 127.0.0.1:${port}; ${server} }`,
    "}",
  ].join("\n")}\n`;
}

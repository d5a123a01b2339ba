/**
 * Run as `node --import tsx live-service.ts <plan as JSON>`: an HTTP server without instrumentation, until its standard input ends. Says its port.
 * `/fail…` is answered with 500, `/run` starts a program; everything else asks its callee or Redis first.
 */
import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { connect } from "node:net";

export interface LiveServicePlan {
  /** `http://host:port` of the service that is asked for each request. */
  readonly callee?: string;
  readonly redisPort?: number;
  /** Where it sends telemetry of its own for each request, as an instrumented service would. */
  readonly gateway?: string;
}

const ping = "*2\r\n$3\r\nGET\r\n$4\r\ncart\r\n";

/** One command, on one connection that stays. */
function openRedis(port: number): () => Promise<void> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  const waiting: (() => void)[] = [];
  socket.on("data", () => waiting.shift()?.());
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      socket.write(ping);
    });
}

function run(plan: LiveServicePlan): void {
  let redis: (() => Promise<void>) | null = null;
  const askRedis = async (): Promise<void> => {
    if (plan.redisPort === undefined) return;
    redis ??= openRedis(plan.redisPort);
    await redis();
  };
  const work = async (path: string): Promise<number> => {
    if (path === "/run") spawnSync("/bin/false");
    if (plan.gateway !== undefined) {
      const headers = { "content-type": "application/json" };
      await (await fetch(`${plan.gateway}/v1/traces`, { method: "POST", headers, body: '{"resourceSpans":[]}' })).text();
    }
    await askRedis();
    if (plan.callee === undefined) return path.startsWith("/fail") ? 500 : 200;
    const answer = await fetch(`${plan.callee}${path}`);
    await answer.text();
    return answer.status;
  };
  const server = createServer((request, response) => {
    void work(request.url ?? "/").then((status) => response.writeHead(status).end("done"));
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    process.stdout.write(`${typeof address === "object" ? address?.port : 0}\n`);
  });
}

process.stdin.once("end", () => process.exit(0));
process.stdin.resume();
run(JSON.parse(process.argv[2] ?? "{}") as LiveServicePlan);

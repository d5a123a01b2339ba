/** The lab's own cache service, a process that stands in for Redis where that is not installed: PING, GET, SET (EX), DEL. */
import { createServer } from "node:net";
import { answerParent, endWithParent } from "./child.ts";
import { encodeBulk, RespReader, type RespValue } from "./resp.ts";

/** Keys at most; the oldest one makes room. */
const keysMax = 10_000;

interface Stored {
  readonly value: string;
  readonly expiresAtMs: number;
}

const stored = new Map<string, Stored>();

function answerTo(command: RespValue): string {
  if (!Array.isArray(command)) return "-ERR a command is a list\r\n";
  const [name, key = "", value = "", unit, amount] = command.map((part) => (typeof part === "string" ? part : ""));
  switch (name?.toUpperCase()) {
    case "PING":
      return "+PONG\r\n";
    case "GET":
      return encodeBulk(lookUp(key));
    case "SET": {
      const seconds = unit?.toUpperCase() === "EX" ? Number(amount) : Number.POSITIVE_INFINITY;
      if (Number.isNaN(seconds) || seconds <= 0) return "-ERR value is not an integer or out of range\r\n";
      keep(key, { value, expiresAtMs: Date.now() + seconds * 1_000 });
      return "+OK\r\n";
    }
    case "DEL":
      return `:${stored.delete(key) ? 1 : 0}\r\n`;
    default:
      return "-ERR unknown command\r\n";
  }
}

function lookUp(key: string): string | null {
  const found = stored.get(key);
  if (found === undefined) return null;
  if (found.expiresAtMs > Date.now()) return found.value;
  stored.delete(key);
  return null;
}

function keep(key: string, entry: Stored): void {
  stored.delete(key);
  const oldest = stored.size >= keysMax ? stored.keys().next().value : undefined;
  if (oldest !== undefined) stored.delete(oldest);
  stored.set(key, entry);
}

endWithParent();
const server = createServer((socket) => {
  const reader = new RespReader();
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    const commands = reader.push(chunk);
    if (commands === "malformed") socket.end("-ERR Protocol error\r\n");
    else socket.write(commands.map(answerTo).join(""));
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  answerParent({ type: "ready", port: typeof address === "object" && address !== null ? address.port : 0 });
});

/** Run as `node --import tsx announcing-process.ts <url> <prefix> [role]`: announces itself until it is killed, and whom it sees. */
import { StageName } from "../../contract/topic.ts";
import { SystemClock } from "../../services/platform.ts";
import { createAnnouncer } from "../../services/presence/announcer.ts";
import { openRedisPresence } from "../../services/presence/redis-presence.ts";
import { aStatus } from "./sample-process.ts";

const [url, prefix, role] = process.argv.slice(2) as [string, string, string | undefined];
const clock = new SystemClock();
const presence = await openRedisPresence({ url, prefix, clock, onCounted: () => undefined });
const roles = [StageName.parse(role ?? "ingest")];
let sees: string[] = [];
const announcer = createAnnouncer({
  presence,
  clock,
  status: () => aStatus(`other-${process.pid}`, { roles, pid: process.pid, reasons: sees.length === 0 ? [] : [`sees ${sees.join(", ")}`] }),
  onError: (error) => console.error(error.message),
});
await announcer.start();
setInterval(async () => {
  sees = (await presence.list()).map(({ id }) => id);
}, 200);

// Nobody is left to kill this process when the test that started it is gone.
setTimeout(() => process.exit(1), 60_000);

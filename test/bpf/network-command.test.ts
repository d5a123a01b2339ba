import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { InterfaceRow } from "../../services/agent/live-interfaces.ts";
import { runNetwork } from "../../services/command/network.ts";
import { noKernelPrograms as skipReason } from "../native/bpf-object.ts";
import { useLiveRuns } from "./live-run.ts";

if (skipReason !== null) process.stdout.write(`test/bpf/network-command.test.ts: ${skipReason}\n`);
const live = useLiveRuns(["interface"]);

interface Reading {
  readonly at: string;
  readonly rows: readonly InterfaceRow[];
}

it.skipIf(skipReason !== null)("packets and bytes of both directions, of every interface of this namespace", async () => {
  const run = live.start();
  const ended = runNetwork({ seconds: null, format: "json" }, run.surroundings);
  await run.untilObserving();
  const lo = () => run.rows<Reading>().map(({ rows }) => rows.find(({ name }) => name === "lo"));
  await run.until("a reading", () => lo().length > 0);
  const socket = createSocket("udp4");
  for (let packet = 0; packet < 200; packet += 1) await new Promise((resolve) => socket.send(Buffer.alloc(1_000), 9, "127.0.0.1", resolve));
  socket.close();
  // Over all readings: the packets may fall into two, and others use the interface as well.
  const total = (of: (row: InterfaceRow) => number): number => lo().reduce((sum, row) => sum + (row === undefined ? 0 : of(row)), 0);
  await run.until("the packets", () => total((row) => row.rates.bytesReceived.perSecond) >= 180 * 1_000);
  run.stop();
  expect(await ended).toBe(0);
  expect(total((row) => row.rates.bytesSent.perSecond)).toBeGreaterThanOrEqual(180 * 1_000);
  expect(total((row) => row.rates.packetsSent.perSecond)).toBeGreaterThanOrEqual(180);
  expect(total((row) => row.rates.packetsReceived.perSecond)).toBeGreaterThanOrEqual(180);
  const names =
    run
      .rows<Reading>()
      .at(-1)
      ?.rows.map(({ name }) => name) ?? [];
  const here = readFileSync("/proc/self/net/dev", "utf8").matchAll(/^\s*([^\s:]+):/gm);
  for (const [, name] of here) expect(names).toContain(name);
});

it.skipIf(skipReason !== null)("people get a table, and the end after so many seconds", async () => {
  const run = live.start();
  expect(await runNetwork({ seconds: 2.5, format: "text" }, run.surroundings)).toBe(0);
  expect(run.lines.find((line) => line.startsWith("INTERFACE"))).toMatch(/PACKETS\/S +MEAN +SIGMA +Z +BYTES\/S +MEAN +SIGMA +Z/);
  expect(run.lines.some((line) => /^lo +in +\d/.test(line))).toBe(true);
  expect(run.told.at(-1)).toMatch(/^[12] readings; nothing was lost$/);
});

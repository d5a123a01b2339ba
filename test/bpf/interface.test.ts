import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { statSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { decodeDrops, decodeInterfaces, type InterfaceCounter } from "../../services/agent/decode-counters.ts";
import { dropReasons } from "../../services/agent/kernel-enum.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { type OpenProbe, useProbe } from "./open-probe.ts";

const skipReason = noKernelPrograms ?? (spawnSync("ip", ["-V"]).status === 0 ? null : "iproute2 is not installed");
if (skipReason !== null) process.stdout.write(`test/bpf/interface.test.ts: ${skipReason}\n`);
const hasNft = spawnSync("nft", ["--version"]).status === 0;
const open = useProbe("interface");
const space = `hwtest${process.pid}`;
const outside = `hwo${process.pid}`;
const inside = `hwi${process.pid}`;
const outsideAddress = "10.211.7.1";
const insideAddress = "10.211.7.2";
let netns = 0;

function ip(...args: readonly string[]): string {
  const result = spawnSync("ip", args, { encoding: "utf8" });
  if (result.status !== 0) expect.fail(`ip ${args.join(" ")}: ${result.stderr}`);
  return result.stdout;
}

function indexOf(json: string): number {
  return (JSON.parse(json) as { ifindex: number }[])[0]?.ifindex ?? 0;
}

beforeAll(() => {
  if (skipReason !== null) return;
  ip("netns", "add", space);
  netns = statSync(`/run/netns/${space}`).ino;
  ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space);
  ip("addr", "add", `${outsideAddress}/24`, "dev", outside);
  ip("link", "set", outside, "up");
  ip("-n", space, "addr", "add", `${insideAddress}/24`, "dev", inside);
  ip("-n", space, "link", "set", inside, "up");
});
afterAll(() => {
  if (skipReason === null) spawnSync("ip", ["netns", "del", space]);
});

/** Sends datagrams of so many bytes into the namespace, where nobody listens. */
async function send(count: number, bytes: number): Promise<void> {
  const socket = createSocket("udp4");
  await new Promise<void>((done) => socket.bind(0, outsideAddress, done));
  socket.on("error", () => undefined);
  for (let index = 0; index < count; index += 1) {
    await new Promise<void>((done) => socket.send(Buffer.alloc(bytes), 9, insideAddress, () => done()));
  }
  await new Promise<void>((done) => socket.close(done));
}

function rowOf(probe: OpenProbe, index: number, space: number): InterfaceCounter | undefined {
  return probe.rows("interfaces", decodeInterfaces).find((row) => row.interface === index && row.netns === space);
}

function drops(probe: OpenProbe): Map<string, number> {
  const reasons = dropReasons();
  const own = probe.rows("drops", decodeDrops).filter((row) => row.netns === netns);
  return new Map(own.map((row) => [reasons.get(row.reason) ?? `reason-${row.reason}`, row.count]));
}

it.skipIf(skipReason !== null)("every program loads and is attached", () => {
  const probe = open();
  expect(probe.programs.map((program) => [program.name, program.attached, program.verifierLog])).toEqual([
    ["interface_receive", true, ""],
    ["interface_send", true, ""],
    ["interface_drop", true, ""],
  ]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)(
  "packets and bytes of both ends of a veth agree with each other and with the kernel's own counters",
  async () => {
    const statistics = (): { packets: number; bytes: number } => {
      const json = ip("-n", space, "-s", "-j", "link", "show", inside);
      return (JSON.parse(json) as { stats64: { rx: { packets: number; bytes: number } } }[])[0]?.stats64.rx ?? { packets: 0, bytes: 0 };
    };
    const probe = open();
    const before = statistics();
    await send(200, 400);
    const after = statistics();
    const insideRow = rowOf(probe, indexOf(ip("-n", space, "-j", "link", "show", inside)), netns);
    const outsideRow = rowOf(probe, indexOf(ip("-j", "link", "show", outside)), statSync("/proc/self/ns/net").ino);
    expect(insideRow?.packetsReceived).toBeGreaterThanOrEqual(200);
    expect(insideRow?.packetsReceived).toBe(after.packets - before.packets);
    expect(insideRow?.bytesReceived).toBe(after.bytes - before.bytes);
    expect(outsideRow?.packetsSent).toBe(insideRow?.packetsReceived);
    expect(outsideRow?.bytesSent).toBe(insideRow?.bytesReceived);
    expect(probe.lost("HW_LOSS_INTERFACES")).toBe(0);
    probe.kernel.close();
  },
);

it.skipIf(skipReason !== null)("a datagram for which nobody listens is a drop with its reason", async () => {
  const probe = open();
  await send(50, 100);
  expect(drops(probe).get("no_socket")).toBe(50);
  probe.kernel.close();
});

it.skipIf(skipReason !== null || !hasNft)("packets that a firewall drops are drops by netfilter", async () => {
  const rules = `table ip hw { chain input { type filter hook input priority 0; udp dport 9 drop; }; };\n`;
  const nft = spawnSync("ip", ["netns", "exec", space, "nft", "-f", "-"], { input: rules, encoding: "utf8" });
  expect(nft.stderr).toBe("");
  const probe = open();
  await send(50, 100);
  expect(drops(probe).get("netfilter_drop")).toBe(50);
  expect(drops(probe).get("no_socket")).toBeUndefined();
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("frees that are no drops are not counted, and a full map is", async () => {
  const probe = open({ mapEntriesMax: { interfaces: 1, drops: 1 } });
  await send(20, 100);
  const known = dropReasons();
  const counted = probe.rows("drops", decodeDrops).map((row) => known.get(row.reason));
  for (const none of ["not_dropped_yet", "consumed", "not_specified"]) expect(counted).not.toContain(none);
  expect(probe.lost("HW_LOSS_INTERFACES")).toBeGreaterThan(0);
  probe.kernel.close();
});

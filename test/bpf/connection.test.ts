import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { expect, it } from "vitest";
import { eventNumbers } from "../../services/agent/event-layout.generated.ts";
import { noKernelPrograms } from "../native/bpf-object.ts";
import { closing, connected, listening, portOf, read, type SocketProbe, until, useSocketProbe } from "./socket-probe.ts";

const skipReason = noKernelPrograms;
if (skipReason !== null) process.stdout.write(`test/bpf/connection.test.ts: ${skipReason}\n`);
const open = useSocketProbe("connection", "socket-iterator");
const connectionRefused = 111;
const connectionReset = 104;
const hasNft = spawnSync("nft", ["--version"]).status === 0;

/** Echoes, and closes when the other end has closed. */
async function echo(host = "127.0.0.1") {
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  await listening(server, { host });
  return { server, port: portOf(server) };
}

/** Records of one port, whichever end it is at. */
function ofPort(probe: SocketProbe, port: number) {
  probe.drain();
  const isOf = (event: { local: { port: number }; remote: { port: number } }) => event.local.port === port || event.remote.port === port;
  return { opened: probe.opened.filter(isOf), closed: probe.closed.filter((event) => isOf(event) && event.remote.port !== 0) };
}

async function closedOf(probe: SocketProbe, port: number, count: number) {
  await until(() => ofPort(probe, port).closed.length >= count, `${count} closed`);
  const closed = ofPort(probe, port).closed;
  expect(closed).toHaveLength(count);
  return { client: closed.filter((event) => event.role === "client"), server: closed.filter((event) => event.role === "server") };
}

it.skipIf(skipReason !== null)("every program loads, and all but the iterators are attached", () => {
  const probe = open();
  const refused = probe.programs.filter((program) => !program.loaded).map((program) => [program.name, program.verifierLog]);
  expect(refused).toEqual([]);
  expect(probe.programs.map((program) => [program.name, program.attached])).toEqual([
    ["hw_connection_state", true],
    ["hw_connection_retransmit", true],
    ["hw_connection_reset_received", true],
    ["hw_connection_reset_sent", true],
    ["hw_read_flows", false],
    ["hw_list_listeners", false],
    ["hw_list_connections", false],
  ]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null).each(["127.0.0.1", "::1"])("both ends of a connection to %s are told, with exact bytes", async (host) => {
  const probe = open();
  const { server, port } = await echo(host);
  const socket = await connected({ port, host });
  socket.write("x".repeat(1234));
  await read(socket, 1234);
  const clientPort = socket.localPort;
  await closing(socket);
  const { client, server: accepted } = await closedOf(probe, port, 2);
  await closing(server);
  const { opened } = ofPort(probe, port);
  expect(opened.map((event) => event.role).sort()).toEqual(["client", "server"]);
  const clientEnd = { local: { ip: host, port: clientPort }, remote: { ip: host, port } };
  expect(opened.find((event) => event.role === "client")).toMatchObject({ ...clientEnd, tgid: process.pid, transport: "tcp", flags: 0 });
  expect(client[0]).toMatchObject({ ...clientEnd, bytesSent: 1234, bytesReceived: 1234, outcome: "closed", error: 0, tgid: process.pid });
  expect(accepted[0]).toMatchObject({ local: { port }, bytesSent: 1234, bytesReceived: 1234, outcome: "closed", tgid: process.pid });
  expect(accepted[0]?.openedNs).toBe(opened.find((event) => event.role === "server")?.atNs);
  expect(client[0]?.roundTripUs).toBeGreaterThan(0);
  expect(new Set([client[0]?.cookie, accepted[0]?.cookie, 0n]).size).toBe(3);
  expect(probe.listeners.filter((event) => event.local.port === port)).toMatchObject([{ local: { ip: host }, tgid: process.pid }]);
  expect(probe.closed.filter((event) => event.local.port === port && event.remote.port === 0)).toHaveLength(1);
  expect(probe.losses()).toEqual([]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("IPv4 to a listener of both families is IPv4 at both ends", async () => {
  const probe = open();
  const { server, port } = await echo("::");
  await closing(await connected({ port }));
  const { client, server: accepted } = await closedOf(probe, port, 2);
  expect([client[0]?.remote.ip, accepted[0]?.local.ip, accepted[0]?.remote.ip]).toEqual(["127.0.0.1", "127.0.0.1", "127.0.0.1"]);
  expect(accepted[0]?.tgid).toBe(process.pid);
  await closing(server);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a refused connection failed, with its errno", async () => {
  const probe = open();
  const { server, port } = await echo();
  await closing(server);
  await expect(connected({ port })).rejects.toThrow("ECONNREFUSED");
  const { client } = await closedOf(probe, port, 1);
  expect(client[0]).toMatchObject({ outcome: "failed", error: connectionRefused, remote: { ip: "127.0.0.1", port }, bytesSent: 0 });
  expect(probe.flows().filter((flow) => flow.remote.port === port)).toMatchObject([{ failed: 1, opened: 0, closed: 0, role: "client" }]);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a reset is told by who sent it and by who got it", async () => {
  const probe = open();
  const { server, port } = await echo();
  const socket = await connected({ port });
  socket.write("x");
  await read(socket, 1);
  socket.resetAndDestroy();
  const { client, server: accepted } = await closedOf(probe, port, 2);
  expect(client[0]).toMatchObject({ outcome: "reset-here", error: 0 });
  expect(accepted[0]).toMatchObject({ outcome: "reset-by-peer", error: connectionReset });
  expect(probe.flows().filter((flow) => flow.remote.port === port || flow.local.port === port)).toMatchObject([{ reset: 1 }, { reset: 1 }]);
  await closing(server);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a server that is killed closes its connections and its listener", async () => {
  const probe = open();
  const script = "const s=require('net').createServer(()=>{}).listen(0,'127.0.0.1',()=>console.log(s.address().port))";
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  probe.setScope({ tgid: child.pid ?? 0 }, "watch");
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(line.toString());
  const socket = await connected({ port });
  await until(() => ofPort(probe, port).opened.length === 2, "both ends opened");
  child.kill("SIGKILL");
  await once(child, "exit");
  socket.destroy();
  const { client, server: accepted } = await closedOf(probe, port, 2);
  expect([client[0]?.tgid, accepted[0]?.tgid]).toEqual([process.pid, child.pid]);
  expect(probe.closed.find((event) => event.local.port === port && event.remote.port === 0)?.tgid).toBe(child.pid);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("bytes of a connection that stays open are counted, each once", async () => {
  const probe = open();
  const { server, port } = await echo();
  const socket = await connected({ port });
  const client = () => probe.flows().find((flow) => flow.role === "client" && flow.remote.port === port);
  socket.write("x".repeat(500));
  await read(socket, 500);
  expect(client()).toMatchObject({ opened: 1, closed: 0, bytesSent: 500, bytesReceived: 500 });
  expect(client()).toMatchObject({ bytesSent: 500, bytesReceived: 500 });
  socket.write("y".repeat(70_000));
  await read(socket, 70_000);
  expect(client()).toMatchObject({ bytesSent: 70_500, bytesReceived: 70_500 });
  await closing(socket);
  await closedOf(probe, port, 2);
  expect(client()).toMatchObject({ opened: 1, closed: 1, failed: 0, reset: 0, bytesSent: 70_500, bytesReceived: 70_500 });
  const served = probe.flows().find((flow) => flow.role === "server" && flow.local.port === port);
  expect(served).toMatchObject({ opened: 1, closed: 1, bytesSent: 70_500, bytesReceived: 70_500, remote: { ip: "127.0.0.1", port: 0 } });
  await closing(server);
  probe.kernel.close();
});

it.skipIf(skipReason !== null || !hasNft)("retransmissions under loss are counted at their dependency", async () => {
  const probe = open();
  const { server, port } = await echo();
  const socket = await connected({ port });
  socket.write("x");
  await read(socket, 1);
  const table = `headwater_test_${process.pid}`;
  const rule = `add table ip ${table}\nadd chain ip ${table} in { type filter hook input priority 0; }\nadd rule ip ${table} in tcp dport ${port} drop\n`;
  expect(spawnSync("nft", ["-f", "-"], { input: rule }).status).toBe(0);
  try {
    socket.write("lost at first");
    await until(() => (probe.flows().find((flow) => flow.remote.port === port)?.retransmits ?? 0) >= 2, "two retransmissions");
  } finally {
    spawnSync("nft", ["delete", "table", "ip", table]);
  }
  await read(socket, 13);
  await closing(socket);
  const { client } = await closedOf(probe, port, 2);
  expect(client[0]?.retransmits).toBe(probe.flows().find((flow) => flow.remote.port === port)?.retransmits);
  await closing(server);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("a thousand short connections are each opened and closed once", async () => {
  const probe = open();
  const { server, port } = await echo();
  for (let round = 0; round < 100; round++) {
    const sockets = await Promise.all(Array.from({ length: 10 }, () => connected({ port })));
    await Promise.all(sockets.map(closing));
  }
  const { client, server: accepted } = await closedOf(probe, port, 2_000);
  expect([client.length, accepted.length, ofPort(probe, port).opened.length]).toEqual([1_000, 1_000, 2_000]);
  expect(new Set(probe.opened.map((event) => event.cookie)).size).toBe(2_000);
  for (const flow of probe.flows()) expect([flow.opened, flow.closed]).toEqual([1_000, 1_000]);
  expect(probe.losses()).toEqual([]);
  await closing(server);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("what does not fit into ring and map is counted as lost", async () => {
  const probe = open({ ringBytes: { lifecycle_ring: 4096 }, mapEntriesMax: { flows: 1 } });
  const { server, port } = await echo();
  for (let count = 0; count < 50; count++) await closing(await connected({ port }));
  await closing(server);
  await until(() => {
    probe.drain();
    const told = probe.opened.length + probe.closed.length + probe.listeners.length;
    return told + probe.lost("HW_LOSS_LIFECYCLE_RING") === 50 * 4 + 2;
  }, "told and lost make up all");
  expect(probe.lost("HW_LOSS_LIFECYCLE_RING")).toBeGreaterThan(0);
  expect(probe.lost("HW_LOSS_FLOWS")).toBe(100);
  expect(probe.flows()).toHaveLength(1);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("processes out of scope and the agent itself are not told", async () => {
  const probe = open();
  probe.setScope({ tgid: process.pid }, "ignore");
  const { server, port } = await echo();
  await closing(await connected({ port }));
  probe.configure({ scope: "all", selfTgid: process.pid });
  await closing(await connected({ port }));
  probe.configure({ selfTgid: 0 });
  probe.setScope({ tgid: process.pid }, "watch");
  await closing(await connected({ port }));
  await closedOf(probe, port, 2);
  expect(probe.listeners.filter((event) => event.local.port === port)).toEqual([]);
  probe.configure({ level: 0 });
  await closing(await connected({ port }));
  await closing(server);
  expect(ofPort(probe, port).closed).toHaveLength(2);
  probe.kernel.close();
});

it.skipIf(skipReason !== null)("listeners and connections of before are listed with role and owner, and closed later", async () => {
  const { server, port } = await echo();
  const socket = await connected({ port });
  socket.write("before");
  await read(socket, 6);
  const probe = open();
  expect(probe.iterate("hw_list_listeners")).toBeGreaterThan(0);
  expect(probe.iterate("hw_list_connections")).toBeGreaterThanOrEqual(2);
  const { opened } = ofPort(probe, port);
  expect(probe.listeners.filter((event) => event.local.port === port)).toMatchObject([{ tgid: process.pid, local: { ip: "127.0.0.1" } }]);
  expect(opened.map((event) => [event.role, event.tgid, event.flags]).sort()).toEqual([
    ["client", process.pid, eventNumbers.HW_FLAG_EXISTING],
    ["server", process.pid, eventNumbers.HW_FLAG_EXISTING],
  ]);
  expect(probe.flows().filter((flow) => flow.bytesSent > 0 && flow.remote.port === port)).toEqual([]);
  socket.write("after!!");
  await read(socket, 7);
  expect(probe.flows().find((flow) => flow.remote.port === port)).toMatchObject({ bytesSent: 7, bytesReceived: 7, role: "client" });
  await closing(socket);
  const { client, server: accepted } = await closedOf(probe, port, 2);
  expect([client[0], accepted[0]]).toMatchObject([
    { bytesSent: 13, openedNs: 0, cookie: opened.find((event) => event.role === "client")?.cookie },
    { bytesSent: 13, openedNs: 0, cookie: opened.find((event) => event.role === "server")?.cookie },
  ]);
  const second = await connected({ port });
  await until(() => ofPort(probe, port).opened.length === 4, "a new connection to the old listener");
  expect(ofPort(probe, port).opened.at(-1)?.tgid).toBe(process.pid);
  await closing(second);
  await closing(server);
  probe.kernel.close();
});

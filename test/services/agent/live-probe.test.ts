import { setTimeout as pause } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { type LiveProbeOptions, openLiveProbe } from "../../../services/agent/live-probe.ts";
import { quietSettings } from "../../../services/agent/probe-settings.ts";

/** A reading thread without a kernel: it has records until its programs are detached, as many at a time as there are buffers. */
const flooding = `
const { parentPort, workerData } = require("node:worker_threads");
const clock = { atMs: 1, clockOffsetNs: 0 };
let isAttached = true;
let sent = 0;
let left = 3;
const program = { ...workerData.program, object: "syscall" };
function send(batch, owner) {
  const buffer = new ArrayBuffer(8);
  parentPort.postMessage({ kind: "batch", batch: { ...clock, ...batch }, buffer, byteCount: 8, owner }, [buffer]);
}
function record() {
  sent += 1;
  send({ kind: "records", name: "detail_ring", keyBytes: 0, valueBytes: 0, cpus: 0 }, "pool");
}
const answers = {
  programs: () => [program],
  objects: () => [],
  detach: () => { isAttached = false; },
  counts: () => sent,
  readNow: () => {
    // What stands in the ring at the end comes in several readings.
    if (!isAttached && left > 0) { left -= 1; record(); }
    send({ kind: "entries", name: "losses", keyBytes: 8, valueBytes: 8, cpus: 1 }, "map");
  },
};
parentPort.on("message", (message) => {
  if (message.kind === "close") parentPort.close();
  else if (message.kind === "returned") { if (isAttached && message.owner === "pool") record(); }
  else parentPort.postMessage({ kind: "answer", id: message.id, value: answers[message.call.method]?.() });
});
parentPort.postMessage({ kind: "ready", objects: [], programs: [program] });
for (let batch = 0; batch < 8; batch += 1) record();
`;

const program = {
  ...{ name: "syscall_exit", section: "tp_btf/sys_exit", wanted: true, loaded: true, attached: true },
  ...{ errno: 0, reason: "", verifierLog: "", runCount: 0, runNs: 0, missed: 0 },
};

const options: LiveProbeOptions = {
  ...{ needed: ["syscall"], further: [], programs: null, settings: quietSettings, ringBytes: {}, mapEntriesMax: {} },
  ...{ rings: ["detail_ring"], maps: [], iterators: [] },
};

function open(change: Partial<typeof program> = {}, objectPath: (name: string) => string | null = (name) => `/x/${name}.bpf.o`) {
  const startWorker = () => new Worker(flooding, { eval: true, workerData: { program: { ...program, ...change } } });
  return openLiveProbe(options, { objectPath, startWorker });
}

describe("the kernel for a live command", () => {
  it("ends when it is told to, though there is always a next batch, and hands over what is left", async () => {
    const opened = await open();
    if (!opened.ok) expect.fail(opened.reason);
    let stop: () => void = () => undefined;
    const until = new Promise<void>((resolve) => {
      stop = resolve;
    });
    let taken = 0;
    await opened.probe.read(until, async () => {
      taken += 1;
      if (taken === 20) stop();
      await pause(2);
    });
    expect(taken).toBe(await opened.probe.source.counts());
    expect(taken).toBeLessThan(60);
    await opened.probe.close();
  });

  it("says that an object is not compiled, or that a program that is needed does not work, and keeps nothing open", async () => {
    expect(await open({}, () => null)).toEqual({
      ok: false,
      reason: "syscall is not compiled: node scripts/setup.mjs --kernel builds it",
    });
    const refused = await open({ loaded: false, attached: false, errno: 22, reason: "the verifier refused it: words; libbpf: more" });
    expect(refused.ok ? "" : refused.reason).toMatch(
      /^(program syscall_exit is not loaded on kernel \S+: the verifier refused it: words|this process lacks )/,
    );
  });
});

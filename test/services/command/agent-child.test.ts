import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../config/config.ts";
import { AgentChild, type AgentProcess, runsAgent } from "../../../services/command/agent-child.ts";
import { ManualClock } from "../../../services/platform.ts";
import { bootMs, silentPlatform } from "../agent/agent-world.ts";

/** A child that does what the test says. */
class FakeAgent implements AgentProcess {
  readonly pid: number;
  exit: string | null = null;
  errorText = "";
  readonly ended: Promise<void>;
  #end: () => void = () => undefined;
  #ready: () => void = () => undefined;
  readonly #readyLine: Promise<void>;

  constructor(pid: number) {
    this.pid = pid;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#readyLine = new Promise((resolve) => {
      this.#ready = resolve;
    });
  }

  becomeReady(): void {
    this.#ready();
  }

  die(exit: string, errorText = ""): void {
    this.exit = exit;
    this.errorText = errorText;
    this.#end();
  }

  async line(): Promise<string> {
    await Promise.race([this.#readyLine, this.ended]);
    if (this.exit !== null) throw new Error("it ended");
    return "ready";
  }

  async stop(): Promise<void> {
    this.die("signal SIGTERM");
    await this.ended;
  }
}

function child(enabled: "auto" | "yes") {
  const clock = new ManualClock(bootMs);
  const platform = silentPlatform(clock);
  const spawned: FakeAgent[] = [];
  const spawn = () => {
    const made = new FakeAgent(spawned.length + 1);
    spawned.push(made);
    return made;
  };
  const agent = new AgentChild({ spawn, clock, logger: platform.logger, enabled });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return { agent, clock, spawned, turn };
}

describe("the agent as a child", () => {
  it("has no reason while it observes, and is ended with the platform", async () => {
    const { agent, spawned, turn } = child("yes");
    agent.start();
    expect(agent.reasons()).toEqual(["the agent is starting"]);
    spawned[0]?.becomeReady();
    await turn();
    expect([agent.reasons(), agent.pid]).toEqual([[], 1]);
    await agent.stop();
    expect([spawned[0]?.exit, agent.pid, spawned.length]).toEqual(["signal SIGTERM", null, 1]);
  });

  it("is started again when it is killed, later each time, and says so meanwhile", async () => {
    const { agent, clock, spawned, turn } = child("auto");
    agent.start();
    spawned[0]?.becomeReady();
    await turn();
    spawned[0]?.die("signal SIGKILL");
    await turn();
    expect(agent.reasons()).toEqual(["the agent ended (signal SIGKILL): what only the kernel tells is missing; it is started again"]);
    clock.advanceTo(clock.nowMs() + 1_000);
    await turn();
    expect(spawned).toHaveLength(2);
    spawned[1]?.die("exit code 1", "boom");
    await turn();
    clock.advanceTo(clock.nowMs() + 1_999);
    await turn();
    expect(spawned).toHaveLength(2);
    clock.advanceTo(clock.nowMs() + 1);
    await turn();
    expect(spawned).toHaveLength(3);
    spawned[2]?.becomeReady();
    await turn();
    expect(agent.reasons()).toEqual([]);
    await agent.stop();
  });

  it("is not started again where it cannot run, which is a reason only to who asked for it", async () => {
    for (const enabled of ["auto", "yes"] as const) {
      const { agent, clock, spawned, turn } = child(enabled);
      agent.start();
      spawned[0]?.die("exit code 3", "headwater: the kernel cannot be observed: no CAP_BPF\n");
      await turn();
      clock.advanceTo(clock.nowMs() + 600_000);
      await turn();
      expect(spawned).toHaveLength(1);
      expect(agent.reasons()).toEqual(enabled === "yes" ? ["the agent cannot run: the kernel cannot be observed: no CAP_BPF"] : []);
      await agent.stop();
    }
  });

  it("that observed and then cannot any more is a reason, whoever asked for it", async () => {
    const { agent, clock, spawned, turn } = child("auto");
    agent.start();
    spawned[0]?.becomeReady();
    await turn();
    spawned[0]?.die("signal SIGKILL");
    await turn();
    clock.advanceTo(clock.nowMs() + 1_000);
    await turn();
    spawned[1]?.die("exit code 3", "headwater: the kernel cannot be observed: lockdown\n");
    await turn();
    expect(agent.reasons()).toEqual(["the agent cannot run: the kernel cannot be observed: lockdown"]);
    await agent.stop();
  });

  it("runs where all roles run, or where it is asked for beside a gateway", () => {
    const config = (enabled: string) => parseConfig({ agent: { enabled } });
    expect(runsAgent(config("auto"), null)).toBe(true);
    expect(runsAgent(config("no"), null)).toBe(false);
    expect(runsAgent(config("auto"), ["gateway"])).toBe(false);
    expect(runsAgent(config("yes"), ["gateway"])).toBe(true);
    expect(runsAgent(config("yes"), ["ingest"])).toBe(false);
  });
});

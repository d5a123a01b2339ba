import { describe, expect, it } from "vitest";
import { changeText, leftTables, noRules, tableOf, tableText } from "../../lab/firewall.ts";

const callee = { host: "127.40.1.11", port: 4_000 };
const rules = {
  detours: [{ caller: "127.40.1.10", callee, relayPort: 5_000, standIn: "127.40.1.130" }],
  losses: [{ address: "127.40.1.12", share: 0.25 }],
  refusals: [{ host: "127.40.1.13", port: 6_000 }],
};

describe("the text of the rules", () => {
  it("leads a caller's connections to one callee through the relay, and gives them the caller's address back behind it", () => {
    const lines = changeText("t", rules).split("\n");
    expect(lines).toContain("add rule ip t detour ip saddr 127.40.1.10 ip daddr 127.40.1.11 tcp dport 4000 redirect to :5000");
    expect(lines).toContain("add rule ip t disguise ip saddr 127.40.1.130 ip daddr 127.40.1.11 tcp dport 4000 snat to 127.40.1.10");
  });

  it("loses packets in both directions, and refuses at one port", () => {
    const lines = changeText("t", rules).split("\n");
    expect(lines).toContain("add rule ip t arrival ip daddr 127.40.1.12 numgen random mod 1000 < 250 drop");
    expect(lines).toContain("add rule ip t arrival ip saddr 127.40.1.12 numgen random mod 1000 < 250 drop");
    expect(lines).toContain("add rule ip t arrival ip daddr 127.40.1.13 tcp dport 6000 reject with tcp reset");
  });

  it("empties every chain first, so that what is not named any more is gone", () => {
    const lines = changeText("t", noRules).split("\n").filter(Boolean);
    expect(lines.slice(0, 3)).toEqual(["detour", "disguise", "arrival"].map((chain) => `flush chain ip t ${chain}`));
    expect(lines.filter((line) => line.includes("arrival"))).toEqual(["flush chain ip t arrival"]);
  });

  it("makes the kernel follow connections from the beginning, by a rule that fits nothing", () => {
    for (const text of [tableText("t"), changeText("t", noRules)]) expect(text).toMatch(/detour ip daddr 0\.0\.0\.0 tcp dport 1 redirect/);
  });
});

describe("tables of labs that were killed", () => {
  it("are told from those of labs that run, and from everybody else's", () => {
    const gone = 4_194_304;
    const listing = ["filter", "nat", tableOf(process.pid), tableOf(gone), "headwater_lab_x"].map((name) => `table ip ${name}\n`).join("");
    expect(leftTables(listing)).toEqual([tableOf(gone)]);
  });
});

import { describe, expect, it } from "vitest";
import { parseCommand } from "../../lab/protocol.ts";

describe("a command on standard input", () => {
  it("is understood with its defaults", () => {
    expect(parseCommand(`{"command":"cycle","fault":"crash","cycle":3}`)).toEqual({
      command: "cycle",
      fault: "crash",
      cycle: 3,
      settleSeconds: 30,
      durationSeconds: null,
    });
    expect(parseCommand(`{"command":"quiet","minutes":10}`)).toEqual({ command: "quiet", minutes: 10 });
    expect(parseCommand(`{"command":"quit"}`)).toEqual({ command: "quit" });
  });

  it.each([
    ["crash", "the line is not JSON"],
    ["[]", `"command" must be one of`],
    ["null", "not a JSON object"],
    [`{"command":"stop"}`, `"command" must be one of cycle, quiet, quit`],
    [`{"command":"cycle","fault":"fire","cycle":1}`, `"fault" must be one of slow-code`],
    [`{"command":"cycle","fault":"crash"}`, `"cycle" must be a whole number`],
    [`{"command":"cycle","fault":"crash","cycle":1.5}`, `"cycle" must be a whole number`],
    [`{"command":"cycle","fault":"crash","cycle":1,"settleSeconds":-1}`, `"settleSeconds" must be`],
    [`{"command":"cycle","fault":"crash","cycle":1,"durationSeconds":"9"}`, `"durationSeconds" must be`],
    [`{"command":"quiet","minutes":1e9}`, `"minutes" must be`],
  ])("is refused with a reason: %s", (line, reason) => {
    expect(parseCommand(line)).toContain(reason);
  });
});

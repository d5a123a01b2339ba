import { beforeEach, describe, expect, it } from "vitest";
import { HeadwaterError } from "../../contract/error.ts";
import { Outages } from "../../contract/outage.ts";
import { ManualClock } from "../../services/platform.ts";

let clock: ManualClock;
let lines: { readonly level: string; readonly fields: object; readonly message: string }[];
let failures: number;
let outages: Outages;
beforeEach(() => {
  clock = new ManualClock(0);
  lines = [];
  failures = 0;
  const line = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message });
  const onFailed = (): void => {
    failures += 1;
  };
  outages = new Outages({ name: "detection", clock, logger: { info: line("info"), warn: line("warn") }, onFailed });
});

const store = (text = "the store is away") => new HeadwaterError("STORE_UNAVAILABLE", text);
const log = () => new HeadwaterError("LOG_UNAVAILABLE", "the log is away");
const pass = (ms: number) => clock.advanceTo(clock.nowMs() + ms);

describe("an outage", () => {
  it("is one line at its beginning and one at its end, however many steps fail however often, with whatever texts", () => {
    for (let second = 0; second < 60; second += 1) {
      for (const step of ["a", "b", "c"]) outages.failed(step, store(second % 2 === 0 ? "refused" : "closed"));
      pass(1_000);
    }
    for (const step of ["a", "b"]) outages.passed(step);
    pass(10_000);
    expect(outages.reasons()).toEqual(["detection has waited for 70 s: closed"]);
    outages.passed("c");
    expect(outages.reasons()).toEqual([]);
    pass(2_000);
    outages.passed("c");
    expect(lines).toEqual([
      { level: "warn", fields: { code: "STORE_UNAVAILABLE", reason: "refused" }, message: "detection waits and tries again" },
      {
        level: "info",
        fields: { code: "STORE_UNAVAILABLE", seconds: 70, repeated: 180 },
        message: "detection goes on: what it waited for is back",
      },
    ]);
    expect(failures).toBe(180);
  });

  it("that comes and goes is one outage until it has been calm for two seconds", () => {
    for (let times = 0; times < 100; times += 1) {
      outages.failed("a", store());
      pass(500);
      outages.passed("a");
      pass(1_000);
    }
    expect(lines).toHaveLength(1);
    pass(1_000);
    expect(outages.reasons()).toEqual([]);
    expect(lines).toHaveLength(2);
    outages.failed("a", store());
    expect(lines).toHaveLength(3);
  });

  it("ends when the step fails for another reason instead, which is another outage", () => {
    outages.failed("a", store());
    outages.failed("a", log());
    expect(outages.reasons()).toEqual(["detection has waited for 0 s: the log is away"]);
    expect(lines).toHaveLength(2);
  });

  it("that does not pass by itself tells each different text once, ten at most", () => {
    for (let times = 0; times < 100; times += 1) outages.failed("a", new HeadwaterError("DATA_VERSION_UNKNOWN", `chunk ${times % 30}`));
    expect(lines).toHaveLength(10);
  });

  it("of which nobody has heard has no end", () => {
    outages.passed("a");
    expect(outages.reasons()).toEqual([]);
    expect(lines).toEqual([]);
  });
});

describe("waiting for somebody who is behind", () => {
  it("is a reason after five seconds, once however many wait, and one line when it is over", async () => {
    const ends: (() => void)[] = [];
    const work = () => new Promise<void>((resolve) => ends.push(resolve));
    const waits = ["a", "b", "c"].map(() => outages.waiting("the log is full", work));
    pass(4_999);
    expect(outages.reasons()).toEqual([]);
    pass(3_001);
    expect(outages.reasons()).toEqual(["detection has waited for 8 s: the log is full"]);
    for (const end of ends) end();
    await Promise.all(waits);
    expect(outages.reasons()).toEqual([]);
    expect(lines).toEqual([
      { level: "info", fields: { reason: "the log is full", seconds: 8 }, message: "detection goes on after waiting" },
    ]);
  });

  it("that fails or is short leaves nothing behind", async () => {
    await expect(outages.waiting("the log is full", () => Promise.reject(log()))).rejects.toMatchObject({ code: "LOG_UNAVAILABLE" });
    pass(10_000);
    expect(outages.reasons()).toEqual([]);
    expect(lines).toEqual([]);
  });
});

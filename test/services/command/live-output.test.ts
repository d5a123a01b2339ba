import { expect, it } from "vitest";
import { withProbe } from "../../../services/command/live-output.ts";

it("a kernel that cannot be observed is an error of its own, told by no command itself", async () => {
  const told: string[] = [];
  const surroundings = {
    write: () => Promise.resolve(),
    tell: (text: string) => told.push(text),
    until: Promise.resolve(),
    screen: "file",
    places: { objectPath: () => null },
  } as const;
  const work = () => expect.fail("there is nothing to work on");
  await expect(withProbe({ ok: false, reason: "no BTF" }, surroundings, work)).rejects.toMatchObject({
    code: "KERNEL_UNAVAILABLE",
    retriable: false,
    message: "the kernel cannot be observed: no BTF",
  });
  expect(told).toEqual([]);
});

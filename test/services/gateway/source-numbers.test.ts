import { describe, expect, it } from "vitest";
import { SourceNumbers } from "../../../services/gateway/source-numbers.ts";

describe("source numbers", () => {
  it("forgets the source that was silent longest, and gives it another id when it comes back", async () => {
    let forgotten = 0;
    const numbers = new SourceNumbers({ gatewayId: "g", sourcesMax: 2, onForgotten: () => (forgotten += 1) });
    const seen: string[] = [];
    const send = (name: string) => numbers.inOrder([name], async (source, sequence) => void seen.push(`${name} ${source} ${sequence}`));
    await send("a");
    await send("b");
    await send("a");
    await send("c");
    await send("a");
    await send("b");
    expect(forgotten).toBe(2);
    const rows = seen.map((row) => row.split(" ") as [string, string, string]);
    const idsOf = (name: string) => new Set(rows.filter(([row]) => row === name).map(([, id]) => id));
    expect(rows.filter(([name]) => name === "a").map(([, , sequence]) => sequence)).toEqual(["0", "1", "2"]);
    expect(idsOf("a").size).toBe(1);
    // `b` was forgotten for `c`: its numbers begin again, so it must be another source to whoever keeps watermarks.
    expect(idsOf("b").size).toBe(2);
    expect(rows.filter(([name]) => name === "b").map(([, , sequence]) => sequence)).toEqual(["0", "0"]);
  });

  it("publishes one after another within a source, in the order asked for, and side by side between sources", async () => {
    const numbers = new SourceNumbers({ gatewayId: "g", sourcesMax: 10, onForgotten: () => undefined });
    const order: string[] = [];
    let letGo: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const first = numbers.inOrder(["a"], async (_source, sequence) => {
      await gate;
      order.push(`a${sequence}`);
    });
    const second = numbers.inOrder(["a"], async (_source, sequence) => void order.push(`a${sequence}`));
    await numbers.inOrder(["b"], async (_source, sequence) => void order.push(`b${sequence}`));
    letGo();
    await Promise.all([first, second]);
    expect(order).toEqual(["b0", "a0", "a1"]);
  });

  it("goes on after a failure with the number that was not used", async () => {
    const numbers = new SourceNumbers({ gatewayId: "g", sourcesMax: 10, onForgotten: () => undefined });
    const sequences: number[] = [];
    const failing = numbers.inOrder(["a"], () => Promise.reject(new Error("full")));
    const next = numbers.inOrder(["a"], async (_source, sequence) => void sequences.push(sequence));
    await expect(failing).rejects.toThrow("full");
    await next;
    expect(sequences).toEqual([0]);
  });
});

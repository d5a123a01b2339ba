import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lineMessage, lineShape } from "../../native/line-shape.ts";
import { boundedText, hash64Hex } from "../../native/text.ts";

describe("line shapes", () => {
  it.each([
    ["user 17 logged in after 3.5 s", "user <number> logged in after <number> s"],
    ["GET /orders/123/items/abcdef0123456789 200", "GET /orders/<number>/items/<id> <number>"],
    ["id 550e8400-e29b-41d4-a716-446655440000 gone", "id <id> gone"],
    ["connect ECONNREFUSED 10.0.0.5:5432", "connect ECONNREFUSED <address>"],
    ["at 2026-11-25T10:58:01.123Z started", "at <time> started"],
    [`key "a b" isn't 'c d'`, "key <text> isn't <text>"],
    ["pointer 0xdeadBEEF", "pointer <id>"],
    ["deadline exceeded, effaced facade", "deadline exceeded, effaced facade"],
    ["worker-12 v3", "worker-<number> v<number>"],
    ["two\nlines\t  here", "two lines here"],
  ])("masks %s", (line, text) => {
    expect(lineShape(line).text).toBe(text);
  });

  it("gives lines that differ in masked places one shape, others another", () => {
    expect(lineShape("order 1 failed").shape).toBe(lineShape("order 22 failed").shape);
    expect(lineShape("order 1 failed").shape).not.toBe(lineShape("order 1 paid").shape);
  });

  it("takes time in proportion to the line whatever it holds", () => {
    for (const text of ['"'.repeat(100_000), "'a".repeat(50_000), "a1".repeat(50_000), "1.".repeat(50_000), "0".repeat(100_000)]) {
      const startedAt = performance.now();
      expect(lineShape(text).text.length).toBeLessThanOrEqual(512);
      expect(performance.now() - startedAt).toBeLessThan(500);
    }
  });

  it("finds the sentence of a structured body", () => {
    expect(lineMessage('{"level":"error","msg":"boom"}')).toBe("boom");
    expect(lineMessage("{not json}")).toBe("{not json}");
    expect(lineMessage('{"a":1}')).toBe('{"a":1}');
  });
});

describe("bounded text", () => {
  it("never exceeds its length, is well-formed, and keeps different texts apart", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        const bounded = boundedText(text, 20);
        expect(bounded.length).toBeLessThanOrEqual(20);
        expect(Buffer.from(bounded, "utf8").toString("utf8")).toBe(bounded);
        expect(bounded).not.toContain("\0");
      }),
    );
    expect(boundedText(`${"a".repeat(50)}1`, 20)).not.toBe(boundedText(`${"a".repeat(50)}2`, 20));
  });

  it("hashes as FNV-1a of 64 bits does", () => {
    expect(hash64Hex("")).toBe("cbf29ce484222325");
    expect(hash64Hex("a")).toBe("af63dc4c8601ec8c");
    expect(hash64Hex("foobar")).toBe("85944171f73967e8");
  });
});

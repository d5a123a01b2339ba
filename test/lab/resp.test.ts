import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeBulk, encodeCommand, RespReader } from "../../lab/resp.ts";

describe("the cache's protocol", () => {
  it("reads what it wrote, however the bytes are cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.string(), { minLength: 1, maxLength: 5 }), { maxLength: 5 }),
        fc.integer({ min: 1, max: 7 }),
        (commands, cut) => {
          const bytes = Buffer.from(commands.map(encodeCommand).join(""));
          const reader = new RespReader();
          const read: unknown[] = [];
          for (let at = 0; at < bytes.length; at += cut) {
            const values = reader.push(bytes.subarray(at, at + cut));
            expect(values).not.toBe("malformed");
            read.push(...values);
          }
          expect(read).toEqual(commands);
        },
      ),
    );
  });

  it("tells nothing from an empty value", () => {
    expect(new RespReader().push(Buffer.from(encodeBulk(null) + encodeBulk("")))).toEqual([null, ""]);
  });

  it.each(["hello", "*1\r\n*1\r\n", "$99999999\r\n", "*1000\r\n", "$-2\r\n", `+${" ".repeat(1_100)}`])(
    "gives up on malformed bytes: %#",
    (text) => {
      expect(new RespReader().push(Buffer.from(text))).toBe("malformed");
    },
  );
});

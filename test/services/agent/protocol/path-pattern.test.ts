import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pathPattern } from "../../../../services/agent/protocol/path-pattern.ts";

function pattern(path: string): string {
  const data = Buffer.from(path, "latin1");
  const found = pathPattern(data, 0, data.length);
  return Buffer.from(found.bytes.subarray(0, found.length)).toString("latin1");
}

describe("a path's pattern", () => {
  it.each([
    ["/", "/"],
    ["*", "*"],
    ["/orders", "/orders"],
    ["/orders/", "/orders/"],
    ["/orders/17", "/orders/{id}"],
    ["/orders/17/items/3", "/orders/{id}/items/{id}"],
    ["/v2/orders", "/v2/orders"],
    ["/api/v1.3/list", "/api/v1.3/list"],
    ["/u/0f8fad5b-d9cb-469f-a165-70867728950e", "/u/{id}"],
    ["/u/deadbeef1", "/u/{id}"],
    ["/cafe/face", "/cafe/face"],
    ["/search?q=secret", "/search"],
    ["/search#secret", "/search"],
    ["/a;session=1/b", "/a/b"],
    ["/user/joe@example.org", "/user/{id}"],
    ["/user/%4a%4b", "/user/{id}"],
    ["http://host:80/a/12", "/a/{id}"],
    ["http://host", "/"],
    [`/${"x".repeat(40)}/y`, "/{id}/y"],
    ["/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"],
  ])("of %s is %s", (path, expected) => {
    expect(pattern(path)).toBe(expected);
  });

  it("is bounded and holds no number of three digits, whatever the path", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (path) => {
        const found = pattern(`/${Buffer.from(path).toString("latin1")}`);
        expect(found.length).toBeLessThanOrEqual(104);
        expect(found).not.toMatch(/\d{3}|[?#@%]/);
      }),
      { numRuns: 50 },
    );
  });
});

import { isIPv4 } from "node:net";
import { describe, expect, it } from "vitest";
import { addressOf, standInOf } from "../../lab/address.ts";
import { drawShop } from "../../lab/draw-shop.ts";

const shops = Array.from({ length: 20 }, (_, seed) => drawShop({ seed, namespace: null }));

describe("addresses of a shop", () => {
  it("stay the same while the lab runs, one for each service and one for the relay in its name, all on loopback", () => {
    for (const shop of shops) {
      const names = shop.services.map(({ name }) => name);
      const all = names.flatMap((name) => [addressOf(shop, name), standInOf(shop, name)]);
      expect(new Set(all).size).toBe(names.length * 2);
      expect(all.every((address) => isIPv4(address) && address.startsWith("127."))).toBe(true);
      expect(names.map((name) => addressOf(drawShop({ seed: shop.seed, namespace: null }), name))).toEqual(
        names.map((name) => addressOf(shop, name)),
      );
    }
  });

  it("leave out those that systems use themselves, and are others for other seeds", () => {
    const first = shops.map((shop) => addressOf(shop, shop.services[0]!.name));
    expect(first.every((address) => Number(address.split(".")[1]) >= 16)).toBe(true);
    expect(new Set(first).size).toBeGreaterThan(shops.length * 0.9);
  });

  it("are of services of the shop only", () => {
    expect(() => addressOf(shops[0]!, "nobody")).toThrow("the shop has no service nobody");
  });
});

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { dropDeadLetter, listDeadLetters, retryDeadLetter, showDeadLetter } from "../../../services/command/dead-letters.ts";
import { aChange } from "../../conformance/sample-messages.ts";
import { openShop, type Shop } from "../api/fixture/shop.ts";

const tokens = [
  { token: "a-viewer-of-this-shop", roles: ["viewer"] },
  { token: "the-admin-of-this-shop", roles: ["viewer", "admin"] },
];

let shop: Shop;
let printed: string[];

beforeEach(async () => {
  shop = await openShop({ tokens });
  printed = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed.push(String(text).trimEnd());
    return true;
  });
  for (const id of ["c/1", "c/2"]) await shop.queue.publish("change", aChange(id));
  const handler = async ({ id }: { id: string }) => {
    throw new HeadwaterError("REQUEST_INVALID", `cannot handle ${id}\nin two lines`);
  };
  const unsubscribe = await shop.queue.subscribe("change", "incident", handler, { concurrency: 1 });
  await shop.queue.drain();
  await unsubscribe();
});

afterEach(async () => {
  vi.restoreAllMocks();
  await shop.close();
});

function as(role: "viewer" | "admin", format: "text" | "json" = "text") {
  return { baseUrl: shop.api.url(), token: (role === "viewer" ? tokens[0] : tokens[1])?.token ?? null, format };
}

test("list prints a line a letter, newest first, and all of it as JSON", async () => {
  await listDeadLetters(as("viewer"));
  expect(printed).toHaveLength(2);
  expect(printed[0]).toMatch(/^change\.incident\.\d+ {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}REQUEST_INVALID {2}cannot handle c\/2$/);
  expect(printed[1]).toContain("cannot handle c/1");
  await listDeadLetters(as("viewer", "json"));
  const { items } = JSON.parse(printed[2] ?? "");
  expect(items).toMatchObject([{ topic: "change", reader: "incident", json: { id: "c/2" } }, { json: { id: "c/1" } }]);
});

test("show prints one with its message", async () => {
  const id = await newestId();
  await showDeadLetter(id, as("viewer"));
  const text = printed.join("\n");
  expect(text).toContain(`${id}: a message of the topic change that incident could not handle`);
  expect(text).toContain("after 1 attempt\n");
  expect(text).toContain('"summary": "v2"');
  await expect(showDeadLetter("change.incident.99", as("viewer"))).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("retry hands one out again, drop forgets one; both need an admin", async () => {
  const id = await newestId();
  await expect(retryDeadLetter(id, as("viewer"))).rejects.toMatchObject({ code: "FORBIDDEN" });
  await expect(dropDeadLetter(id, as("viewer"))).rejects.toMatchObject({ code: "FORBIDDEN" });
  await retryDeadLetter(id, as("admin"));
  expect(printed).toEqual([`${id} is handed out again`]);
  expect(await shop.queue.depth("change", "incident")).toBe(1);
  const rest = await newestId();
  await dropDeadLetter(rest, as("admin", "json"));
  expect(printed[1]).toBe(JSON.stringify({ dropped: rest }));
  expect(await shop.queue.deadLetters({ lettersMax: 10 })).toEqual([]);
  await expect(dropDeadLetter(rest, as("admin"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  await listDeadLetters(as("viewer"));
  expect(printed[2]).toBe("no dead letter: every message so far was handled, or still will be");
});

async function newestId(): Promise<string> {
  return (await shop.queue.deadLetters({ lettersMax: 1 }))[0]?.id ?? "";
}

import { expect, test } from "vitest";
import { HeadwaterError } from "../../../contract/error.ts";
import { createIdempotencyKeys } from "../../../services/api/idempotency.ts";

test("a refusal that may end by itself is not remembered, a final one is", async () => {
  const keys = createIdempotencyKeys<string>({ onForgotten: () => undefined });
  const call = { scope: "me acknowledge", key: "k", request: {} };
  const away = async (): Promise<string> => {
    throw new HeadwaterError("STORE_UNAVAILABLE", "away");
  };
  await expect(keys.once(call, away)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  const refuse = async (): Promise<string> => {
    throw new HeadwaterError("TRANSITION_REFUSED", "no");
  };
  await expect(keys.once(call, refuse)).rejects.toMatchObject({ code: "TRANSITION_REFUSED" });
  await expect(keys.once(call, async () => "late")).rejects.toMatchObject({ code: "TRANSITION_REFUSED" });
  expect(await keys.once({ ...call, scope: "you acknowledge" }, async () => "other")).toEqual({ answer: "other", replayed: "no" });
});

test("the oldest of more than a thousand keys is forgotten and counted, one used again is kept", async () => {
  let forgotten = 0;
  const keys = createIdempotencyKeys<number>({
    onForgotten: () => {
      forgotten += 1;
    },
  });
  const call = (key: number) => ({ scope: "me", key: `k${key}`, request: {} });
  for (let key = 0; key < 1_000; key += 1) await keys.once(call(key), async () => key);
  await keys.once(call(0), async () => -1);
  await keys.once(call(1_000), async () => 1_000);
  expect(forgotten).toBe(1);
  expect(await keys.once(call(0), async () => -1)).toEqual({ answer: 0, replayed: "yes" });
  expect(await keys.once(call(1), async () => -1)).toEqual({ answer: -1, replayed: "no" });
});

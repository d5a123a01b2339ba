import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { createEventStreamParser } from "../../client/event-stream-parser.ts";
import { type ConnectionState, subscribeLive } from "../../client/live.ts";
import { eventually } from "../services/api/fixture/shop.ts";

test("events come out whole, however the stream was cut into chunks", () => {
  const text =
    'retry: 2000\n: welcome\n\nevent: window\ndata: {"newestWindowMs":1}\n\nevent: incident\r\ndata: {\r\ndata: }\r\n\r\ndata: plain\n\n';
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
      const places = [...new Set([0, ...cuts, text.length])].sort((left, right) => left - right);
      const parser = createEventStreamParser();
      const events = places.slice(1).flatMap((place, index) => parser.push(text.slice(places[index], place)));
      expect(events).toEqual([
        { event: "window", data: '{"newestWindowMs":1}' },
        { event: "incident", data: "{\n}" },
        { event: "message", data: "plain" },
      ]);
    }),
  );
});

test("an event that never ends is refused instead of filling memory", () => {
  const parser = createEventStreamParser();
  expect(() => {
    for (let chunk = 0; chunk < 20; chunk += 1) parser.push("data: ".padEnd(100_000, "x"));
  }).toThrow(RangeError);
});

function streamOf(text: string): Response {
  return new Response(text, { status: 200, headers: { "content-type": "text/event-stream" } });
}

test("a stream that ends is opened again, and each state is told once", async () => {
  const states: ConnectionState[] = [];
  const windows: number[] = [];
  let opened = 0;
  const stop = subscribeLive(
    {
      url: "http://api.invalid/api/v1/events",
      headers: { authorization: "Bearer x" },
      fetch: async (_url, init) => {
        expect(new Headers(init?.headers).get("authorization")).toBe("Bearer x");
        opened += 1;
        if (opened === 2) throw new TypeError("network down");
        return streamOf(`event: window\ndata: {"newestWindowMs":${opened}}\n\n`);
      },
    },
    { onState: (state) => states.push(state), onWindow: (window) => windows.push(window.newestWindowMs) },
  );
  await eventually("two streams were read", () => windows.length >= 2);
  stop();
  await eventually("closed", () => states.at(-1) === "closed");
  expect(windows.slice(0, 2)).toEqual([1, 3]);
  expect(states.slice(0, 4)).toEqual(["connecting", "live", "reconnecting", "live"]);
});

test("a refused token is not tried again", async () => {
  const states: ConnectionState[] = [];
  let asked = 0;
  const stop = subscribeLive(
    {
      url: "http://api.invalid",
      headers: {},
      fetch: async () => {
        asked += 1;
        return new Response("{}", { status: 401 });
      },
    },
    { onState: (state) => states.push(state) },
  );
  await eventually("refused", () => states.at(-1) === "refused");
  stop();
  expect(asked).toBe(1);
});

test("a stream that falls silent is given up after 8 s, as that of a paused API, and a heartbeat keeps it", async () => {
  vi.useFakeTimers();
  try {
    const states: ConnectionState[] = [];
    let say = (_text: string): void => undefined;
    const stop = subscribeLive(
      {
        url: "http://api.invalid/api/v1/events",
        headers: {},
        fetch: async (_url, init) => {
          const body = new ReadableStream<Uint8Array>({
            start(controller) {
              say = (text) => controller.enqueue(new TextEncoder().encode(text));
              init?.signal?.addEventListener("abort", () => controller.error(new Error("aborted")));
            },
          });
          return new Response(body, { status: 200 });
        },
      },
      { onState: (state) => states.push(state) },
    );
    await vi.advanceTimersByTimeAsync(7_000);
    say(": heartbeat\n\n");
    await vi.advanceTimersByTimeAsync(7_000);
    expect(states).toEqual(["connecting", "live"]);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(states).toEqual(["connecting", "live", "reconnecting"]);
    stop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(states.at(-1)).toBe("closed");
  } finally {
    vi.useRealTimers();
  }
});

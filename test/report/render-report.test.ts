import fc from "fast-check";
import { expect, test } from "vitest";
import { renderReport } from "../../report/render-report.ts";
import { markdownCode, markdownText } from "../../report/text.ts";
import { durationText, relativeText, timeText } from "../../report/time-text.ts";
import { valueText } from "../../report/value-text.ts";
import { onsetMs, sampleIncident, sampleSnapshot } from "./sample-incident.ts";

function rendered(names?: Parameters<typeof sampleSnapshot>[0]) {
  const snapshot = sampleSnapshot(names);
  return renderReport({ ...sampleIncident(snapshot, names), snapshot, generatedFrom: "incident/i42" });
}

test("the first line of HTML and Markdown is the cause in a sentence, the second who is hurt", () => {
  const { html, markdown, json } = rendered();
  const [first, , second] = markdown.split("\n");
  expect(first).toMatch(/^# payment /);
  expect(second).toContain("checkout: 34 % of requests failing");
  expect(html.indexOf("<h1>payment ")).toBeGreaterThan(0);
  expect(html.indexOf("34 % of requests failing")).toBeGreaterThan(html.indexOf("<h1>"));
  expect(JSON.parse(json)).toMatchObject({ schemaVersion: 1, title: "INC-42", conclusion: "cause", cause: { id: "payment" } });
});

test("all formats tell evidence, counter-evidence, changes with their undo, steps, timeline, blind spots, ranking and the inputs' hash", () => {
  const { html, markdown, json } = rendered();
  const { inputs } = JSON.parse(json) as { inputs: { hash: string } };
  for (const text of [html, markdown]) {
    for (const part of [
      "PoolTimeoutError",
      "stayed normal",
      "kubectl rollout undo",
      "flags off new-banner",
      "95 s after onset",
      "Acknowledged by grace",
    ]) {
      expect(text).toContain(part);
    }
    for (const heading of ["Why", "Against", "What changed", "What to do", "Ranking", "Timeline", "Blind spots"])
      expect(text).toContain(heading);
    expect(text).toContain(inputs.hash);
    expect(text).toContain("2023-11-14 22:13:20 UTC");
  }
});

test("the report says by which way the verdict came: adapters in the order of the flow, queries of the graph with their times", () => {
  const { html, markdown, json } = rendered();
  expect(markdown).toContain(`## How it came

- Queue: BullMQ on Redis
- Ordered log: Redis Streams
- Graph: Neo4j
- Telemetry: DuckDB behind the role store
- Queries of the graph: entities-of 2.5 ms, neighbours 4 times 12.3 ms
- Time: 40 ms to gather the evidence, 6 ms to rank it`);
  expect(html).toContain("<dt>Queries of the graph</dt><dd>entities-of 2.5 ms, neighbours 4 times 12.3 ms</dd>");
  expect(JSON.parse(json).operational.path.engines.graph).toBe("Neo4j");
  const snapshot = sampleSnapshot();
  const { incident } = sampleIncident(snapshot);
  expect(renderReport({ incident, snapshot, events: [], generatedFrom: "x" }).markdown).not.toContain("How it came");
});

test("the report is pure, and wall times of the answer do not change its hash", () => {
  expect(rendered()).toEqual(rendered());
  const snapshot = sampleSnapshot();
  const { incident, events } = sampleIncident(snapshot);
  const later = events.map((event) =>
    event.type === "verdict-added" ? { ...event, operational: { gatheredInMs: 1, rankedInMs: 1, answeredAtMs: 1 } } : event,
  );
  const hashOf = (from: typeof events) =>
    (JSON.parse(renderReport({ incident, snapshot, events: from, generatedFrom: "x" }).json) as { inputs: { hash: string } }).inputs.hash;
  expect(hashOf(later)).toBe(hashOf(events));
  expect(hashOf(events.slice(0, -1))).not.toBe(hashOf(events));
});

test("the HTML asks for nothing, runs nothing and forbids both", () => {
  const { html } = rendered();
  expect(html).not.toMatch(/<script|<link|<img|<iframe|\son\w+=|url\(|@import|javascript:|src=|href=/i);
  expect(html).toContain("default-src 'none'");
});

test("charts have the onset once each, the changes as triangles, and a text alternative", () => {
  const { html } = rendered();
  const charts = html.match(/<svg/g) ?? [];
  expect(charts.length).toBeGreaterThanOrEqual(3);
  expect(html.match(/class="onset"/g)).toHaveLength(charts.length);
  expect(html.match(/class="change"/g)).toHaveLength(2 * charts.length);
  expect(html).toMatch(/aria-label="payment db\.client\.connection\.pending_requests: from /);
  expect(html).not.toMatch(/NaN|Infinity|undefined/);
});

test("names cannot become markup, whatever they are", () => {
  const hostile = {
    checkout: `checkout"><script>alert(1)</script>`,
    payment: `<img src=x onerror=alert(1)> [click](javascript:alert(1)) \`x\` | **b** http://evil.example \u202egnp`,
    deploy: `</style></title><svg onload=alert(1)>&#x3c;`,
  };
  const { html, markdown } = rendered(hostile);
  // Every tag that is there is one that the report writes itself.
  const tags = new Set([...html.matchAll(/<\/?([a-zA-Z!][a-zA-Z0-9]*)/g)].map((match) => match[1]));
  const known =
    "!doctype html head meta title style body main header section footer p h1 h2 dl dt dd span ul ol li small strong code br div figure figcaption svg rect path polyline text time table thead tbody tr th td";
  expect([...tags].filter((tag) => !known.split(" ").includes(tag!))).toEqual([]);
  expect(html).not.toMatch(/<(img|script)/);
  expect(html).not.toContain("onload=alert(1)>");
  expect(html).not.toContain("\u202e");
  expect(markdown).not.toContain("\u202e");
  expect(markdown.replaceAll("\\<", "")).not.toMatch(/<(img|script|svg)/);
  expect(markdown).not.toContain("[click](");
  expect(markdown).not.toContain("http://evil");
});

test("any text stays text in HTML and within one line of Markdown", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (name) => {
      const line = markdownText(name);
      expect(line).not.toMatch(/[\r\n]/);
      expect(line.replace(/\\./g, "")).not.toMatch(/[<>`*_[\]|]/);
      const code = markdownCode(name);
      const fence = /^`+/.exec(code)?.[0] ?? "";
      expect(code.slice(fence.length, -fence.length).split(/[^`]+/)).not.toContain(fence);
    }),
  );
});

test("without a verdict the report says so, with who is hurt as its first line", () => {
  const { html, markdown, json } = renderReport({ ...sampleIncident(null), snapshot: null, generatedFrom: "incident/i42" });
  expect(markdown.split("\n")[0]).toBe("# checkout: 34 % of requests failing");
  expect(html).toContain("No verdict yet");
  expect(JSON.parse(json)).toMatchObject({ conclusion: "pending", cause: null, charts: [], inputs: { snapshotHash: null } });
});

test("an inconclusive verdict names no cause and sends to the blind spots", () => {
  const quiet = { ...sampleSnapshot(), series: [], operations: [], templates: [], changes: [] };
  const { markdown, json } = renderReport({ ...sampleIncident(quiet), snapshot: quiet, generatedFrom: "x" });
  expect(JSON.parse(json)).toMatchObject({ conclusion: "inconclusive", cause: null, evidence: [] });
  expect(markdown).toContain("Begin with the blind spots");
});

test("times agree with the calendar", () => {
  fc.assert(
    fc.property(fc.integer({ min: -60_000_000_000_000, max: 250_000_000_000_000 }), (atMs) => {
      const iso = new Date(atMs).toISOString();
      if (!/^\d{4}-/.test(iso)) return;
      expect(timeText(atMs)).toBe(`${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`);
    }),
  );
  expect(timeText(951_782_400_000)).toBe("2000-02-29 00:00:00 UTC");
});

test("durations and relative times read like speech", () => {
  expect([4_000, 119_000, 150_000, 720_000, 7_200_000, 11_100_000, 172_800_000].map(durationText)).toEqual([
    "4 s",
    "119 s",
    "2 min 30 s",
    "12 min",
    "2 h",
    "3 h 5 min",
    "2 d",
  ]);
  expect(relativeText(onsetMs, onsetMs)).toBe("at onset");
  expect(relativeText(onsetMs + 15_000, onsetMs)).toBe("15 s after onset");
  expect(relativeText(onsetMs - 240_000, onsetMs)).toBe("4 min before onset");
});

test("values carry their unit", () => {
  const text = (unit: string, value: number, statistic: "value" | "error_ratio" | "rate" = "value") =>
    valueText({ unit, statistic }, value);
  expect([
    text("s", 0.0123),
    text("s", 1.4),
    text("By", 3_145_728),
    text("1", 0.34, "error_ratio"),
    text("1/s", 12.5, "rate"),
    text("{request}", 38),
  ]).toEqual(["12.3 ms", "1.4 s", "3 MiB", "34 %", "12.5/s", "38 request"]);
});

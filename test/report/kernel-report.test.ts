import { expect, test } from "vitest";
import type { Operational } from "../../contract/verdict.ts";
import { renderReport } from "../../report/render-report.ts";
import { onsetMs, sampleIncident, sampleSnapshot } from "./sample-incident.ts";

const series = "series:payment|kernel.cpu.wait.utilization|value|";
const kernel: NonNullable<Operational["kernel"]> = {
  samples: [{ id: series, fromMs: onsetMs, toMs: onsetMs + 30_000, windows: 30 }],
  events: [
    {
      entity: "payment",
      event: "headwater.process.exit",
      atMs: onsetMs + 1_000,
      text: "headwater.process.exit: node by signal 9",
      batch: "gateway-12",
    },
    { entity: "payment", event: "headwater.process.exec", atMs: onsetMs + 2_000, text: "headwater.process.exec: node", batch: null },
  ],
  left: 3,
};

/** The sample's report, with what the newest verdict's making left. */
function rendered(of: { kernel: Operational["kernel"] | null; source: "kernel" | null }) {
  const snapshot = sampleSnapshot();
  const { incident, events } = sampleIncident(snapshot);
  const marked = events.map((event) =>
    event.type === "verdict-added" && of.kernel !== null && of.kernel !== undefined
      ? { ...event, operational: { ...event.operational, kernel: of.kernel } }
      : event,
  );
  const verdicts = incident.verdicts.map((verdict) => ({
    ...verdict,
    result: {
      ...verdict.result,
      ranking: verdict.result.ranking.map((candidate) => ({
        ...candidate,
        claims: candidate.claims.map((claim, index) => (of.source === null || index > 0 ? claim : { ...claim, source: of.source })),
      })),
    },
  }));
  return renderReport({ incident: { ...incident, verdicts }, snapshot, events: marked, generatedFrom: "x" });
}

test("the report names the kernel's samples with their windows and its events with the batches that brought them, unhashed", () => {
  const { markdown, html, json } = rendered({ kernel, source: null });
  expect(markdown).toContain(`- Kernel samples: ${series.replaceAll("|", "\\|")}, 30 windows from 22:13:20 to 22:13:50`);
  expect(markdown).toContain("payment at 22:13:21: headwater.process.exit: node by signal 9 (batch gateway-12)");
  expect(markdown).toContain("headwater.process.exec: node (batch not kept)");
  expect(markdown).toContain("- Kernel: 3 more samples and events");
  expect(html).toContain("<dt>Kernel events</dt>");
  const hashOf = (text: string) => (JSON.parse(text) as { inputs: { hash: string } }).inputs.hash;
  expect(hashOf(json)).toBe(hashOf(rendered({ kernel: null, source: null }).json));
  expect(rendered({ kernel: null, source: null }).markdown).not.toContain("Kernel");
});

test("a claim that rests on the kernel alone says so in every format, others do not", () => {
  const { markdown, html, json } = rendered({ kernel: null, source: "kernel" });
  expect(markdown.match(/seen by the kernel/g)).toHaveLength(1);
  expect(html.match(/seen by the kernel/g)).toHaveLength(1);
  const { evidence } = JSON.parse(json) as { evidence: { source?: string }[] };
  expect(evidence.map(({ source }) => source).filter((source) => source === "kernel")).toHaveLength(1);
  expect(rendered({ kernel: null, source: null }).html).not.toContain("seen by the kernel");
});

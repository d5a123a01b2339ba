/** Everything that a running installation shows through its API, as the bytes in which it is answered. */
import { createClient } from "../../client/client.ts";

/** Event time of which telemetry and graph are read. */
export interface Stretch {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Answers by what was asked. Left out is what tells of this moment and not of the data: the first screen with its processes, and the API's
 * own address, which commands in blind spots name.
 */
export async function shownOn(apiUrl: string, { fromMs, toMs }: Stretch): Promise<ReadonlyMap<string, string>> {
  const { items } = await createClient({ baseUrl: apiUrl }).call("incidents", { query: { limit: 1_000 } });
  const middleMs = Math.floor((fromMs + toMs) / 2);
  const range = `fromMs=${fromMs}&toMs=${toMs}`;
  const whole = [
    ...["incidents?limit=1000", "services?limit=1000", "changes?limit=1000", "dead-letters?limit=1000"],
    ...["graph", `graph?atMs=${middleMs}`, `graph?atMs=${toMs}`, `graph/diff?fromMs=${fromMs}&toMs=${middleMs}`],
    ...[`graph/diff?${range}`, `series?${range}&limit=1000`, `spans?${range}&limit=1000`, `lines?${range}&limit=1000`],
  ];
  const parts = ["", "/events", "/verdicts", "/evidence", "/report.json", "/report.md"];
  const asked = [...whole, ...items.flatMap(({ id }) => parts.map((part) => `incidents/${id}${part}`))];
  const shown = new Map<string, string>();
  for (const path of asked) {
    const answer = await fetch(`${apiUrl}/api/v1/${path}`);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}: ${text.slice(0, 500)}`);
    shown.set(path, text.replaceAll(apiUrl, "http://api"));
  }
  return shown;
}

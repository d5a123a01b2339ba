/** `headwater incidents`: what is and was wrong, newest first. */
import { type ApiAddress, apiClient } from "./api-client.ts";
import { type OutputFormat, print } from "./output.ts";

export interface IncidentsOptions extends ApiAddress {
  readonly format: OutputFormat;
}

export async function runIncidents(options: IncidentsOptions): Promise<void> {
  const client = apiClient(options);
  const { items } = await client.call("incidents", { query: { limit: 100 } });
  if (options.format === "json") {
    print(JSON.stringify({ items }));
    return;
  }
  if (items.length === 0) print("no incident so far");
  for (const incident of items) {
    const opened = new Date(incident.openedMs).toISOString().slice(0, 19).replace("T", " ");
    print(`INC-${incident.number}  ${incident.severity}  ${incident.status.padEnd(12)}  ${opened} UTC  ${incident.sentence}`);
  }
}

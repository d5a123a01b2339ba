/** `headwater report`: one incident as HTML, Markdown or JSON, as the API renders it. */
import { writeFileSync } from "node:fs";
import { createClient } from "../../client/client.ts";
import { HeadwaterError } from "../../contract/error.ts";
import { reportFormats } from "../../contract/route.ts";
import { print } from "./output.ts";

export interface ReportOptions {
  /** Id, or the number with or without `INC-`. */
  readonly incident: string;
  readonly baseUrl: string;
  readonly token: string | null;
  readonly reportFormat: string;
  readonly outFile: string | null;
}

export async function runReport(options: ReportOptions): Promise<void> {
  const { baseUrl, token, reportFormat } = options;
  if (!reportFormats.some((format) => format === reportFormat)) {
    throw new HeadwaterError("REQUEST_INVALID", `unknown format ${reportFormat}; known are ${reportFormats.join(", ")}`);
  }
  const client = createClient({ baseUrl, ...(token === null ? {} : { token }) });
  const number = /^(?:INC-)?(\d{1,9})$/i.exec(options.incident)?.[1];
  const { items } = await client.call("incidents", { query: { limit: 1_000 } });
  const found = items.find((incident) => incident.id === options.incident || String(incident.number) === number);
  if (found === undefined)
    throw new HeadwaterError("NOT_FOUND", `there is no incident ${options.incident}; headwater incidents lists them`);
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${baseUrl}/api/v1/incidents/${found.id}/report.${reportFormat}`, { headers });
  const text = await response.text();
  if (!response.ok) throw new HeadwaterError("INTERNAL", `the API answered ${response.status}: ${text.slice(0, 500)}`);
  if (options.outFile === null) print(text);
  else writeFileSync(options.outFile, text);
}

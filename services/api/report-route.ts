/** Reports of an incident as files: the same content as HTML, Markdown and JSON. */
import type { Express } from "express";
import { incidentStream } from "../../contract/event-stream.ts";
import { type ReportFormat, reportFormats } from "../../contract/route.ts";
import { renderReport } from "../../report/render-report.ts";
import type { Access } from "./access.ts";
import { noIncident } from "./change-incident.ts";
import { reportPolicy } from "./guard.ts";
import type { ApiContext } from "./handler.ts";
import { onlyMethods } from "./mount.ts";
import { readSnapshot } from "./read-snapshot.ts";

const contentTypes: Record<ReportFormat, string> = {
  html: "text/html; charset=utf-8",
  md: "text/markdown; charset=utf-8",
  json: "application/json; charset=utf-8",
};

/** Adds `/api/v1/incidents/:incident/report.{html,md,json}`, for viewers. */
export function mountReports(app: Express, options: { access: Access; context: ApiContext }): void {
  for (const format of reportFormats) {
    const path = `/api/v1/incidents/:incident/report.${format}`;
    app.get(path, async (request, response) => {
      response.locals.route = "report";
      options.access.require(options.access.callerOf(request.headers.authorization), "viewer");
      const report = await reportOf(String(request.params.incident), options.context);
      response.setHeader("Content-Type", contentTypes[format]);
      response.setHeader("Cache-Control", "no-store");
      if (format === "html") response.setHeader("Content-Security-Policy", reportPolicy);
      response.end(format === "html" ? report.html : format === "md" ? report.markdown : report.json);
    });
    app.all(path, onlyMethods(["GET"]));
  }
}

async function reportOf(id: string, context: ApiContext): Promise<{ html: string; markdown: string; json: string }> {
  const incident = await context.incidents.load(id);
  const events = await context.incidents.events(id);
  if (incident === null || events === null) throw noIncident(id);
  return renderReport({ incident, snapshot: await readSnapshot(context.events, incident), events, generatedFrom: incidentStream(id) });
}

/** Log records to counts, shapes and kept lines. */
import { hash32 } from "../contract/canonical.ts";
import { kernelEvent, kernelEventText, kernelSourceAttribute } from "../contract/kernel-telemetry.ts";
import { derivedMetric } from "../contract/series.ts";
import type { KeptLine } from "../contract/window.ts";
import { fixedPoint } from "./exact.ts";
import { lineMessage, lineShape } from "./line-shape.ts";
import type { OtlpLogRecord } from "./otlp-model.ts";
import type { ReduceContext } from "./reduce-context.ts";
import { endedInOrder, isKernelScope } from "./reduce-kernel.ts";
import { addShape } from "./reduction.ts";
import { shortenedText } from "./text.ts";

const bodyLengthMax = 2_048;
const one = fixedPoint(1) ?? 0n;

type Severity = KeptLine["severity"];

/** Reduces one record, or counts why it is refused. */
export function reduceLogRecord(context: ReduceContext, record: OtlpLogRecord): void {
  const entity = context.entityOr(1);
  if (entity === null) return;
  const what = () => `log record "${record.body.slice(0, 80)}" of ${context.entityName}`;
  const told = severityOf(record);
  if (told === null) {
    context.reject("unknown-enum", () => `${what()} has the severity number ${record.severityNumber}`);
    return;
  }
  if (!isIdOrNone(record.traceId, 32) || !isIdOrNone(record.spanId, 16)) {
    context.reject("id-invalid", () => `${what()} has the trace id "${record.traceId}" and the span id "${record.spanId}"`);
    return;
  }
  const at = record.at.us === 0 && record.at.ns === 0 ? record.observedAt : record.at;
  if (!context.timeAccepted(at, what)) return;
  const window = context.windowAt(at.us);
  const windowStartMs = context.windowStartMs(at.us);
  const event = isKernelScope(context.scope) ? (record.attributes.get("event.name") ?? "") : "";
  const severity = event === kernelEvent.exit && endedInOrder(record.attributes) ? "INFO" : told;
  const attributes = `severity=${severity}${event === "" ? "" : `,${kernelSourceAttribute}`}`;
  context.add(window, { kind: "count", metric: derivedMetric.logRecords, attributes, count: 1, sum: one });
  const body = event === "" ? bodyOf(record) : kernelEventText(event, bodyOf(record));
  const { shape, text } = lineShape(body);
  addShape(window.shapes, { entity, shape, severity, text, windowStartMs, count: 1 });
  const traceId = idOrNull(record.traceId);
  const isKept = severity === "ERROR" || (event !== "" && severity === "WARN");
  if (!isKept && hash32(traceId ?? `${at.us} ${body}`) % context.options.lineSampleOneIn !== 0) return;
  const spanId = idOrNull(record.spanId);
  const batch = event === "" ? {} : { batch: context.reduction.batchId };
  const line: KeptLine = {
    ...{ entity, atUs: at.us, severity, body: shortenedText(body, bodyLengthMax), shape, traceId, spanId, windowStartMs },
    ...batch,
  };
  (severity === "ERROR" ? window.errorLines : window.sampledLines).push(line);
}

/** By number where there is one, else by text; null for a number that OTLP does not have. */
function severityOf(record: OtlpLogRecord): Severity | null {
  const number = record.severityNumber;
  if (number < 0 || number > 24) return null;
  if (number === 0) return severityByText(record.severityText);
  if (number >= 17) return "ERROR";
  if (number >= 13) return "WARN";
  return number >= 9 ? "INFO" : "DEBUG";
}

function severityByText(text: string): Severity {
  if (/^(?:err|fatal|crit|alert|emerg|panic|severe)/i.test(text)) return "ERROR";
  if (/^warn/i.test(text)) return "WARN";
  return /^(?:debug|trace|verbose|fine)/i.test(text) ? "DEBUG" : "INFO";
}

/** The message, with the exception that is recorded beside it unless the message tells it already. */
function bodyOf(record: OtlpLogRecord): string {
  const message = lineMessage(record.body);
  const parts = [record.attributes.get("exception.type"), record.attributes.get("exception.message")];
  const exception = parts.filter((part) => part !== undefined && part !== "" && !message.includes(part)).join(": ");
  if (exception === "") return message;
  return message === "" ? exception : `${message} [${exception}]`;
}

function isIdOrNone(text: string, length: number): boolean {
  return text === "" || (text.length === length && /^[0-9a-f]+$/.test(text));
}

function idOrNull(text: string): string | null {
  return text === "" || /^0+$/.test(text) ? null : text;
}

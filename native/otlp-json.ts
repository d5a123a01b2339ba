/** OTLP in JSON, read item by item into the same model as protobuf. */
import type { Signal } from "../contract/telemetry.ts";
import { parseJsonBody } from "./json-body.ts";
import {
  isJsonObject,
  type JsonObject,
  jsonAnyValue,
  jsonAttributes,
  jsonEnum,
  jsonHex,
  jsonInteger,
  jsonNumber,
  jsonString,
  jsonTime,
} from "./otlp-json-value.ts";
import {
  linksMax,
  type OtlpDistributionPoint,
  type OtlpLogRecord,
  type OtlpMetric,
  type OtlpNumberPoint,
  type OtlpSpan,
  type OtlpVisitor,
  quantilesMax,
} from "./otlp-model.ts";
import { signalNames } from "./otlp-schema.ts";

const spanKinds = [
  "SPAN_KIND_UNSPECIFIED",
  "SPAN_KIND_INTERNAL",
  "SPAN_KIND_SERVER",
  "SPAN_KIND_CLIENT",
  "SPAN_KIND_PRODUCER",
  "SPAN_KIND_CONSUMER",
];
const statusCodes = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const temporalities = ["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];
const severities = [
  "SEVERITY_NUMBER_UNSPECIFIED",
  ...["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].flatMap((name) =>
    ["", "2", "3", "4"].map((suffix) => `SEVERITY_NUMBER_${name}${suffix}`),
  ),
];

/** Reads a request body. Never throws; what has not the shape of an item is `malformed` with its path. */
export function visitJson(signal: Signal, body: Uint8Array, visitor: OtlpVisitor): void {
  const parsed = parseJsonBody(body);
  if (!parsed.ok) {
    visitor.malformed("body-malformed", `byte ${parsed.offset}: ${parsed.message}`);
    return;
  }
  const names = signalNames[signal];
  eachObject(parsed.value, names.resources, "", visitor, (group, groupPath) => {
    const resource = group.resource;
    visitor.resource(jsonAttributes(isJsonObject(resource) ? resource.attributes : undefined));
    eachObject(group, names.scopes, groupPath, visitor, (scopeGroup, scopePath) => {
      const scope = scopeGroup.scope;
      visitor.scope(isJsonObject(scope) ? jsonString(scope.name) : "");
      eachObject(scopeGroup, names.items, scopePath, visitor, (item) => {
        if (signal === "traces") visitor.span(spanOf(item));
        else if (signal === "metrics") visitor.metric(metricOf(item, visitor));
        else visitor.log(logRecordOf(item));
      });
    });
  });
}

function eachObject(
  parent: unknown,
  field: string,
  path: string,
  visitor: OtlpVisitor,
  handle: (value: JsonObject, path: string) => void,
): void {
  const list = isJsonObject(parent) ? parent[field] : undefined;
  if (list === undefined || list === null) return;
  const listPath = path === "" ? field : `${path}.${field}`;
  if (!Array.isArray(list)) {
    visitor.malformed("item-malformed", listPath);
    return;
  }
  list.forEach((value, index) => {
    if (isJsonObject(value)) handle(value, `${listPath}[${index}]`);
    else visitor.malformed("item-malformed", `${listPath}[${index}]`);
  });
}

function objects(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

function spanOf(item: JsonObject): OtlpSpan {
  const status = isJsonObject(item.status) ? item.status : {};
  const exception = objects(item.events).findLast((event) => event.name === "exception");
  return {
    traceId: jsonHex(item.traceId),
    spanId: jsonHex(item.spanId),
    parentSpanId: jsonHex(item.parentSpanId),
    name: jsonString(item.name),
    kind: jsonEnum(item.kind, spanKinds),
    startAt: jsonTime(item.startTimeUnixNano),
    endAt: jsonTime(item.endTimeUnixNano),
    attributes: jsonAttributes(item.attributes),
    exception: exception === undefined ? null : jsonAttributes(exception.attributes),
    links: objects(item.links)
      .slice(0, linksMax)
      .map((link) => ({ traceId: jsonHex(link.traceId), spanId: jsonHex(link.spanId) })),
    statusCode: jsonEnum(status.code, statusCodes),
    statusMessage: jsonString(status.message),
  };
}

function metricOf(item: JsonObject, visitor: OtlpVisitor): OtlpMetric {
  const name = jsonString(item.name);
  for (const type of ["gauge", "sum", "histogram", "exponentialHistogram", "summary"] as const) {
    const data = item[type];
    if (!isJsonObject(data)) continue;
    const points = data.dataPoints;
    if (points !== undefined && points !== null && !Array.isArray(points))
      visitor.malformed("item-malformed", `metric "${name}": ${type}.dataPoints`);
    return {
      name,
      type,
      temporality: jsonEnum(data.aggregationTemporality, temporalities),
      monotonic: data.isMonotonic === true,
      numbers: type === "gauge" || type === "sum" ? objects(points).map(numberPointOf) : [],
      distributions: type === "gauge" || type === "sum" ? [] : objects(points).map(distributionPointOf),
    };
  }
  return { name, type: "none", temporality: 0, monotonic: false, numbers: [], distributions: [] };
}

function numberPointOf(point: JsonObject): OtlpNumberPoint {
  return {
    attributes: jsonAttributes(point.attributes),
    startAt: jsonTime(point.startTimeUnixNano),
    at: jsonTime(point.timeUnixNano),
    value: jsonNumber(point.asDouble) ?? jsonInteger(point.asInt),
    flags: jsonInteger(point.flags) ?? 0,
  };
}

function distributionPointOf(point: JsonObject): OtlpDistributionPoint {
  return {
    attributes: jsonAttributes(point.attributes),
    startAt: jsonTime(point.startTimeUnixNano),
    at: jsonTime(point.timeUnixNano),
    count: integerOf(point.count),
    sum: point.sum === undefined || point.sum === null ? 0 : (jsonNumber(point.sum) ?? Number.NaN),
    bounds: numbersOf(point.explicitBounds, (value) => jsonNumber(value) ?? Number.NaN),
    counts: numbersOf(point.bucketCounts, integerOf),
    quantiles: objects(point.quantileValues)
      .slice(0, quantilesMax)
      .map((row) => ({ quantile: jsonNumber(row.quantile) ?? 0, value: jsonNumber(row.value) ?? 0 })),
    flags: jsonInteger(point.flags) ?? 0,
  };
}

/** Missing is 0, as in proto3; what is no integer is NaN, which is refused later. */
function integerOf(value: unknown): number {
  return value === undefined || value === null ? 0 : (jsonInteger(value) ?? Number.NaN);
}

function numbersOf(value: unknown, read: (value: unknown) => number): number[] {
  return Array.isArray(value) ? value.map(read) : [];
}

function logRecordOf(item: JsonObject): OtlpLogRecord {
  return {
    at: jsonTime(item.timeUnixNano),
    observedAt: jsonTime(item.observedTimeUnixNano),
    severityNumber: jsonEnum(item.severityNumber, severities),
    severityText: jsonString(item.severityText),
    body: jsonAnyValue(item.body, 0),
    attributes: jsonAttributes(item.attributes),
    traceId: jsonHex(item.traceId),
    spanId: jsonHex(item.spanId),
  };
}

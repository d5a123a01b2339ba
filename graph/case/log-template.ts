/** Which lines are the same but for their numbers and names: a line with its variable tokens masked. */
const lengthMax = 300;

const masks: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, "<id>"],
  [/\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?/g, "<time>"],
  [/\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b/g, "<address>"],
  [/\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b/gi, "<id>"],
  [/\b0x[0-9a-f]+\b/gi, "<number>"],
  [/\d+(?:[.,:]\d+)*/g, "<number>"],
];

/** The template of a line, at most 300 characters. */
export function templateOf(body: string): string {
  let text = body.slice(0, lengthMax * 4);
  for (const [pattern, mask] of masks) text = text.replace(pattern, mask);
  return text.replace(/\s+/g, " ").trim().slice(0, lengthMax);
}

/** One of our four severities from what others call theirs; an empty one is read off the line. */
export function severityOf(severity: string, body: string): "ERROR" | "WARN" | "INFO" | "DEBUG" {
  const name = severity.trim().toUpperCase();
  if (/^(ERR|FATAL|CRIT|SEVERE|EMERG|ALERT|PANIC)/.test(name)) return "ERROR";
  if (name.startsWith("WARN")) return "WARN";
  if (name.startsWith("DEBUG") || name.startsWith("TRACE") || name.startsWith("FINE")) return "DEBUG";
  if (name !== "") return "INFO";
  if (/\b(error|fatal|exception|panic)\b/i.test(body.slice(0, 500))) return "ERROR";
  return /\bwarn(ing)?\b/i.test(body.slice(0, 500)) ? "WARN" : "INFO";
}

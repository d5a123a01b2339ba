/** Entities as nodes: the newest attributes for people and queries, and all that is kept of them as JSON. */
import type { Entity } from "../../contract/entity.ts";
import { attributeNames, entityAt, type KeptEntity, mergeEntity, newKeptEntity } from "../merge/kept-entity.ts";
import type { Row } from "./neo4j-connection.ts";
import { changedProperties, openEndMs, whole, wholeOrNull } from "./whole.ts";

/** What has to be written so that an entity's node also holds these sights of it; null when nothing. */
export function entityChange(text: string | undefined, sights: readonly Entity[]): { id: string; properties: Row } | null {
  const [first] = sights;
  if (first === undefined) return null;
  const kept = text === undefined ? newKeptEntity(first.id, first) : (JSON.parse(text) as KeptEntity);
  const before = text === undefined ? {} : propertiesOf(kept);
  for (const sight of sights) mergeEntity(kept, sight);
  const properties = changedProperties(before, propertiesOf(kept));
  return Object.keys(properties).length === 0 ? null : { id: kept.id, properties };
}

/** A row of a query that reads entities as of a moment. */
export function entityOf(row: Row, atMs: number): Entity {
  // It was different then from what it is now.
  if (typeof row.kept === "string") return entityAt(JSON.parse(row.kept) as KeptEntity, atMs);
  const text = (value: unknown): string | null => (typeof value === "string" ? value : null);
  return {
    id: String(row.id),
    type: (row.type ?? "service") as Entity["type"],
    namespace: text(row.namespace),
    name: text(row.name) ?? String(row.id),
    version: text(row.version),
    host: text(row.host),
    zone: text(row.zone),
    alias: text(row.alias),
    entry: typeof row.entrySinceMs === "number" && row.entrySinceMs <= atMs,
    firstSeenMs: Number(row.firstSeenMs),
    lastSeenMs: Math.min(Number(row.lastSeenMs), atMs),
  };
}

/** The same entity gives the same text, so that what did not change is not written. */
function keptText({ id, firstSeenMs, lastSeenMs, entrySinceMs, attributes }: KeptEntity): string {
  const inOrder = Object.fromEntries(attributeNames.flatMap((name) => (attributes[name] === undefined ? [] : [[name, attributes[name]]])));
  return JSON.stringify({ id, firstSeenMs, lastSeenMs, entrySinceMs, attributes: inOrder });
}

function propertiesOf(kept: KeptEntity): Row {
  const { id: _id, entry: _entry, firstSeenMs: _first, lastSeenMs: _last, ...newest } = entityAt(kept, openEndMs);
  const begun = attributeNames.flatMap((name) => {
    const history = kept.attributes[name] ?? [];
    return history.length > 1 ? [history.at(-1)?.fromMs ?? 0] : [];
  });
  return {
    ...newest,
    firstSeenMs: whole(kept.firstSeenMs),
    lastSeenMs: whole(kept.lastSeenMs),
    entrySinceMs: wholeOrNull(kept.entrySinceMs),
    changedMs: begun.length === 0 ? null : whole(Math.max(...begun)),
    kept: keptText(kept),
  };
}

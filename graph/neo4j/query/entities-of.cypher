// These entities as of a moment.
// Parameters: $prefix text, $atMs integer, $ids list of text
// Returns: id, type, namespace, name, version, host, zone, alias, entrySinceMs, firstSeenMs, lastSeenMs; kept text (JSON) when it was different then
UNWIND $ids AS id
MATCH (entity:HeadwaterEntity {prefix: $prefix, id: id})
USING INDEX SEEK entity:HeadwaterEntity(prefix, id)
WHERE entity.firstSeenMs <= $atMs
RETURN entity.id AS id, entity.type AS type, entity.namespace AS namespace, entity.name AS name, entity.version AS version,
  entity.host AS host, entity.zone AS zone, entity.alias AS alias, entity.entrySinceMs AS entrySinceMs,
  entity.firstSeenMs AS firstSeenMs, entity.lastSeenMs AS lastSeenMs,
  CASE WHEN entity.changedMs > $atMs THEN entity.kept END AS kept

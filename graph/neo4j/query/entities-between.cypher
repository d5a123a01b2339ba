// Entities first seen after a moment and up to another.
// Parameters: $prefix text, $afterMs, $atMs integer
// Returns: id, type, namespace, name, version, host, zone, alias, entrySinceMs, firstSeenMs, lastSeenMs; kept text (JSON) when it was different then
MATCH (entity:HeadwaterEntity)
USING INDEX SEEK entity:HeadwaterEntity(prefix, firstSeenMs)
WHERE entity.prefix = $prefix AND entity.firstSeenMs > $afterMs AND entity.firstSeenMs <= $atMs
RETURN entity.id AS id, entity.type AS type, entity.namespace AS namespace, entity.name AS name, entity.version AS version,
  entity.host AS host, entity.zone AS zone, entity.alias AS alias, entity.entrySinceMs AS entrySinceMs,
  entity.firstSeenMs AS firstSeenMs, entity.lastSeenMs AS lastSeenMs,
  CASE WHEN entity.changedMs > $atMs THEN entity.kept END AS kept

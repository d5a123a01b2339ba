// Forgets the entities seen longest ago; one at which dependencies end stays as their end, without what was known of it.
// Parameters: $prefix text, $count integer
// Returns: nothing
MATCH (entity:HeadwaterEntity)
USING INDEX SEEK entity:HeadwaterEntity(prefix, firstSeenMs)
WHERE entity.prefix = $prefix AND entity.firstSeenMs IS NOT NULL
WITH entity
ORDER BY entity.lastSeenMs, entity.id
LIMIT $count
SET entity = {prefix: $prefix, id: entity.id}
WITH entity
WHERE NOT EXISTS { (entity)--() }
DELETE entity

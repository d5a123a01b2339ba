// Which of these entities had been seen by a moment.
// Parameters: $prefix text, $atMs integer, $ids list of text
// Returns: id
UNWIND $ids AS id
MATCH (entity:HeadwaterEntity {prefix: $prefix, id: id})
USING INDEX SEEK entity:HeadwaterEntity(prefix, id)
WHERE entity.firstSeenMs <= $atMs
RETURN entity.id AS id

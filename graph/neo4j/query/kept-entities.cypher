// What is kept of these entities, to merge more into it. Those that are only ends of dependencies have not been seen themselves.
// Parameters: $prefix text, $ids list of text
// Returns: id, kept text (JSON)
UNWIND $ids AS id
MATCH (entity:HeadwaterEntity {prefix: $prefix, id: id})
USING INDEX SEEK entity:HeadwaterEntity(prefix, id)
WHERE entity.kept IS NOT NULL
RETURN entity.id AS id, entity.kept AS kept

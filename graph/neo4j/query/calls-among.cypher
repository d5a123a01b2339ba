// Ends of the dependencies among these entities that are valid at a moment.
// Parameters: $prefix text, $atMs integer, $ids list of text
// Returns: source, target
UNWIND $ids AS id
MATCH (source:HeadwaterEntity {prefix: $prefix, id: id})-[dependency:HEADWATER_DEPENDS_ON]->(target)
USING INDEX SEEK source:HeadwaterEntity(prefix, id)
WHERE dependency.validFromMs <= $atMs AND dependency.validToMs > $atMs AND target.id IN $ids
RETURN source.id AS source, target.id AS target

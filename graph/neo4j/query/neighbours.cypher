// What is one hop away along dependencies valid at a moment, whichever way they point.
// Parameters: $prefix text, $atMs integer, $ids list of text
// Returns: id; seen boolean, whether the entity had been seen by then
UNWIND $ids AS id
MATCH (entity:HeadwaterEntity {prefix: $prefix, id: id})-[dependency:HEADWATER_DEPENDS_ON]-(other)
USING INDEX SEEK entity:HeadwaterEntity(prefix, id)
WHERE dependency.validFromMs <= $atMs AND dependency.validToMs > $atMs
WITH DISTINCT other
RETURN other.id AS id, coalesce(other.firstSeenMs <= $atMs, false) AS seen

// What reaches something along calls valid at a moment, with the least hops from it.
// Parameters: $prefix text, $atMs integer, $id text
// Returns: id, hops integer
MATCH (end:HeadwaterEntity {prefix: $prefix, id: $id})
USING INDEX SEEK end:HeadwaterEntity(prefix, id)
MATCH way = (end)<-[dependencies:HEADWATER_DEPENDS_ON*0..8]-(other)
WHERE all(dependency IN dependencies WHERE dependency.validFromMs <= $atMs AND dependency.validToMs > $atMs)
WITH other, min(length(way)) AS hops
RETURN other.id AS id, hops

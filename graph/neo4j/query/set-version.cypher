// Notes that a migration has run; a version never goes back.
// Parameters: $prefix text, $version integer
// Returns: nothing
MATCH (graph:HeadwaterGraph {prefix: $prefix})
USING INDEX SEEK graph:HeadwaterGraph(prefix)
WHERE graph.version < $version
SET graph.version = $version

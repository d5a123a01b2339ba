// Keeps how complete the graph is, and how much is in it.
// Parameters: $prefix text, $watermarksMs list of integer, $entities, $intervals, $precedents integer
// Returns: nothing
MATCH (graph:HeadwaterGraph {prefix: $prefix})
USING INDEX SEEK graph:HeadwaterGraph(prefix)
SET graph.watermarksMs = $watermarksMs, graph.entities = $entities, graph.intervals = $intervals, graph.precedents = $precedents

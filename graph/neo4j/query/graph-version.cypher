// The root of an installation, made where there is none.
// Parameters: $prefix text, $watermarksMs list of 0, one for each partition
// Returns: version integer, the last migration that has run
MERGE (graph:HeadwaterGraph {prefix: $prefix})
ON CREATE SET graph.version = 0, graph.watermarksMs = $watermarksMs, graph.entities = 0, graph.intervals = 0, graph.precedents = 0
RETURN graph.version AS version

// How complete the graph is.
// Parameters: $prefix text
// Returns: watermarksMs list of integer, one for each partition
MATCH (graph:HeadwaterGraph {prefix: $prefix})
USING INDEX SEEK graph:HeadwaterGraph(prefix)
RETURN graph.watermarksMs AS watermarksMs

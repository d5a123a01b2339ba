// Dependencies valid at a moment and not at an earlier one.
// Parameters: $prefix text, $otherMs, $atMs integer, $whole boolean, whether all intervals are asked for
// Returns: id, source, target, protocol, validFromMs, lastSeenMs, learnedFrom, confidence, addresses; intervals text (JSON) when they knew less then, or are asked for
MATCH (source)-[dependency:HEADWATER_DEPENDS_ON]->(target)
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, validFromMs)
WHERE dependency.prefix = $prefix AND dependency.validFromMs > $otherMs AND dependency.validFromMs <= $atMs AND dependency.validToMs > $atMs
  AND NOT EXISTS {
    MATCH ()-[other:HEADWATER_DEPENDS_ON {prefix: $prefix, id: dependency.id}]->()
    USING INDEX SEEK other:HEADWATER_DEPENDS_ON(prefix, id, validFromMs)
    WHERE other.validFromMs <= $otherMs AND other.validToMs > $otherMs
  }
RETURN dependency.id AS id, source.id AS source, target.id AS target, dependency.protocol AS protocol,
  dependency.validFromMs AS validFromMs, dependency.lastSeenMs AS lastSeenMs, dependency.learnedFrom AS learnedFrom,
  dependency.confidence AS confidence, dependency.addresses AS addresses,
  CASE WHEN $whole OR dependency.changedMs > $atMs THEN dependency.intervals END AS intervals

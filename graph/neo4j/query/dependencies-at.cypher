// Dependencies valid at a moment.
// Parameters: $prefix text, $atMs integer
// Returns: id, source, target, protocol, validFromMs, lastSeenMs, learnedFrom, confidence, addresses; intervals text (JSON) when they knew less then
MATCH (source)-[dependency:HEADWATER_DEPENDS_ON]->(target)
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, validToMs)
WHERE dependency.prefix = $prefix AND dependency.validToMs > $atMs AND dependency.validFromMs <= $atMs
RETURN dependency.id AS id, source.id AS source, target.id AS target, dependency.protocol AS protocol,
  dependency.validFromMs AS validFromMs, dependency.lastSeenMs AS lastSeenMs, dependency.learnedFrom AS learnedFrom,
  dependency.confidence AS confidence, dependency.addresses AS addresses,
  CASE WHEN dependency.changedMs > $atMs THEN dependency.intervals END AS intervals

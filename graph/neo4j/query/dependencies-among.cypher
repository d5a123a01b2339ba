// Dependencies among these entities that are valid at a moment.
// Parameters: $prefix text, $atMs integer, $ids list of text
// Returns: id, source, target, protocol, validFromMs, lastSeenMs, learnedFrom, confidence, addresses; intervals text (JSON) when they knew less then
UNWIND $ids AS id
MATCH (source:HeadwaterEntity {prefix: $prefix, id: id})-[dependency:HEADWATER_DEPENDS_ON]->(target)
USING INDEX SEEK source:HeadwaterEntity(prefix, id)
WHERE dependency.validFromMs <= $atMs AND dependency.validToMs > $atMs AND target.id IN $ids
RETURN dependency.id AS id, source.id AS source, target.id AS target, dependency.protocol AS protocol,
  dependency.validFromMs AS validFromMs, dependency.lastSeenMs AS lastSeenMs, dependency.learnedFrom AS learnedFrom,
  dependency.confidence AS confidence, dependency.addresses AS addresses,
  CASE WHEN dependency.changedMs > $atMs THEN dependency.intervals END AS intervals

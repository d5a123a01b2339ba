// Dependencies that a partition has begun and not ended.
// Parameters: $prefix text, $openEndMs integer, `validToMs` of those that are still in use
// Returns: intervals text (JSON)
MATCH ()-[dependency:HEADWATER_DEPENDS_ON]->()
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, validToMs)
WHERE dependency.prefix = $prefix AND dependency.validToMs = $openEndMs
RETURN dependency.intervals AS intervals

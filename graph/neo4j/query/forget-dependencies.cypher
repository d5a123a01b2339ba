// Forgets the dependencies seen longest ago.
// Parameters: $prefix text, $count integer
// Returns: intervals integer, how many intervals of partitions they were made of
MATCH ()-[dependency:HEADWATER_DEPENDS_ON]->()
USING INDEX SEEK dependency:HEADWATER_DEPENDS_ON(prefix, validFromMs)
WHERE dependency.prefix = $prefix AND dependency.validFromMs IS NOT NULL
WITH dependency
ORDER BY dependency.lastSeenMs, dependency.id
LIMIT $count
WITH dependency, dependency.intervalCount AS intervals
DELETE dependency
RETURN sum(intervals) AS intervals

// Forgets the precedents closed first, and the tokens that nothing shows any more.
// Parameters: $prefix text, $count integer
// Returns: nothing
MATCH (precedent:HeadwaterPrecedent)
USING INDEX SEEK precedent:HeadwaterPrecedent(prefix, closedMs)
WHERE precedent.prefix = $prefix AND precedent.closedMs IS NOT NULL
WITH precedent
ORDER BY precedent.closedMs, precedent.incident
LIMIT $count
OPTIONAL MATCH (precedent)-[:HEADWATER_SHOWED]->(token)
WITH collect(DISTINCT precedent) AS precedents, collect(DISTINCT token) AS tokens
FOREACH (precedent IN precedents | DETACH DELETE precedent)
WITH tokens
UNWIND tokens AS token
WITH token
WHERE NOT EXISTS { (token)<-[:HEADWATER_SHOWED]-() }
DELETE token

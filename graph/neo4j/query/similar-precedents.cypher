// Precedents by shared tokens over all tokens (Jaccard), best first, ties by incident.
// Parameters: $prefix text, $tokens list of different texts, $countMax integer
// Returns: incident, closedMs, causeType, causeId, causeKind, signature list of text, shared integer
UNWIND $tokens AS text
MATCH (token:HeadwaterToken {prefix: $prefix, token: text})<-[:HEADWATER_SHOWED]-(precedent)
USING INDEX SEEK token:HeadwaterToken(prefix, token)
WITH precedent, count(*) AS shared
ORDER BY toFloat(shared) / (size($tokens) + size(precedent.signature) - shared) DESC, precedent.incident
LIMIT $countMax
RETURN precedent.incident AS incident, precedent.closedMs AS closedMs, precedent.causeType AS causeType, precedent.causeId AS causeId,
  precedent.causeKind AS causeKind, precedent.signature AS signature, shared

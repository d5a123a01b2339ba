/** Prepared statements, or portals, remembered per connection at most. */
const preparedMax = 1_000;

/** Remembers the value under its key as the newest; beyond the bound the oldest is forgotten. */
export function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  if (map.size >= preparedMax) {
    const oldest = map.keys().next().value;
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(key, value);
}

#!/bin/sh
# Starts every role as a process of its own, each with a health port (9464, 9465, …) and a log file, and waits; Ctrl-C or SIGTERM stops them.
#
#   sh deploy/local/start-roles.sh [ROLE…]      all roles without arguments; a role may be named more than once
set -eu
: "${HEADWATER_QUEUE_URL:?the URL of Redis, as npm run servers prints it}"
: "${HEADWATER_GRAPH_URL:?the URL of Neo4j, as npm run servers prints it}"
: "${HEADWATER_EVENTS_URL:?the URL of PostgreSQL, as npm run servers prints it}"
root="$(cd "$(dirname "$0")/../.." && pwd)"
logs="${HEADWATER_LOGS:-$root/data/distributed/logs}"
[ $# -gt 0 ] || set -- store ranking incident topology detection ingest gateway api
cd "$root"
mkdir -p "$logs"

pids=""
# Each process gets one signal: a second one would end it before it has handed over. At Ctrl-C the terminal has signalled all of them.
trap 'trap - INT TERM; wait; exit 130' INT
trap 'trap - INT TERM; kill -TERM $pids 2>/dev/null || true; wait; exit 143' TERM

port="${HEADWATER_HEALTH_PORT:-9464}"
for role in "$@"; do
  node dist/services/main.js start --role "$role" --config deploy/local/headwater.yaml --health-port "$port" > "$logs/$role-$port.log" 2>&1 &
  pids="$pids $!"
  echo "$role: process $!, http://127.0.0.1:$port/readyz, $logs/$role-$port.log"
  port=$((port + 1))
done
wait

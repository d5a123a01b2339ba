#!/bin/sh
# Writes .env in the current directory: the names of .env.example, each with 48 random hexadecimal digits. Never overwrites one.
set -eu
example="$(dirname "$0")/.env.example"
if [ -e .env ]; then
  echo "make-env: .env is there already; remove it to make new secrets (servers that have started keep their old passwords)" >&2
  exit 1
fi
umask 077
while IFS= read -r line; do
  case "$line" in
    HEADWATER_*=) printf '%s%s\n' "$line" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
    *) printf '%s\n' "$line" ;;
  esac
done < "$example" > .env
echo "make-env: .env written" >&2

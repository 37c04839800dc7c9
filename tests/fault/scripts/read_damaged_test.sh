#!/usr/bin/env bash
# read-flip, 12 cases, and read-wrong, 10: what a command reads is right or refused (docs/testing.md).
set -euo pipefail
fault=$(dirname -- "$RETORT")/retort-fault
"$fault" --fault read-flip --count 12 --seed 1 --json
exec "$fault" --fault read-wrong --count 10 --seed 1 --json

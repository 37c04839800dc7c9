#!/usr/bin/env bash
# read-flip, 20 cases, and read-wrong, 15: what a command reads is right or refused (docs/testing.md).
set -euo pipefail
fault=$(dirname -- "$RETORT")/retort-fault
"$fault" --fault read-flip --count 20 --seed 1 --json
exec "$fault" --fault read-wrong --count 15 --seed 1 --json

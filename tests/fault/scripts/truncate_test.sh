#!/usr/bin/env bash
# truncate, 5 cases: the damage is refused or made good, never passed on (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault truncate --count 5 --seed 1 --json

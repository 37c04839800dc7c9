#!/usr/bin/env bash
# bit-flip, 7 cases: the damage is refused or made good, never passed on (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault bit-flip --count 7 --seed 1 --json

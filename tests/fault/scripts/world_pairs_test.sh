#!/usr/bin/env bash
# world-pairs, 1 of its 12: stopped on 2 ranks, resumed on 3 (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault world-pairs --count 1 --seed 2 --json

#!/usr/bin/env bash
# poison, 1 case: a sample kills each start: the last one names it (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault poison --count 1 --seed 1 --json

#!/usr/bin/env bash
# nan, 2 cases: a loss or gradient on one rank is no number: refused, and nothing of it stays (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault nan --count 2 --seed 1 --json

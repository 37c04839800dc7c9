#!/usr/bin/env bash
# power-loss, 2 cases: the power goes at a random moment: what was acknowledged is there, and the run goes on (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault power-loss --count 2 --seed 1 --json

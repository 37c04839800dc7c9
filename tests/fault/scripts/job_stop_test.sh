#!/usr/bin/env bash
# job-stop, 1 case: asked to stop inside a place, exit code 75, at most one step lost (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault job-stop --count 1 --seed 2 --json

#!/usr/bin/env bash
# stale-heartbeat, 1 case: a heart whose clock is ten minutes behind beats: refused, and the run goes
# on once it has ended (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault stale-heartbeat --count 1 --seed 1 --json

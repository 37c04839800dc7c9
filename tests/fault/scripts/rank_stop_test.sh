#!/usr/bin/env bash
# rank-stop, 3 cases, and rank-pause, 2: the watchdog names the rank, the job is down within 5 s, the
# run goes on to the undisturbed result; a short stop is no fault (docs/testing.md).
set -euo pipefail
fault=$(dirname -- "$RETORT")/retort-fault
"$fault" --fault rank-stop --count 3 --seed 1 --json
exec "$fault" --fault rank-pause --count 2 --seed 1 --json

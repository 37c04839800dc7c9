#!/usr/bin/env bash
# write-error, 6 of its cases: refused by a line that names the path, nothing half-written, and the
# run goes on (docs/testing.md).
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault write-error --count 6 --seed 1 --json

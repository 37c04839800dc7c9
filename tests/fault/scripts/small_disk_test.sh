#!/usr/bin/env bash
# small-disk, 1 size: refused, nothing half-written, and the run goes on with room (docs/testing.md).
# Needs root, to mount file systems of its own.
set -euo pipefail
exec "$(dirname -- "$RETORT")/retort-fault" --fault small-disk --count 1 --seed 1 --json
